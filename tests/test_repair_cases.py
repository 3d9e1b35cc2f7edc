"""Models that `fix` and `diagnose` met and did wrong once: each stands for its kind."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops

import networks
from keras_cnnfix import SubPixelConv, diagnose, distill, fix, graph
from keras_cnnfix.diagnostics import phase_gains, phase_imbalance


def up(**settings):
    return layers.UpSampling2D(2, **settings)


def conv(filters=4, **settings):
    return layers.Conv2D(filters, 3, **{"padding": "same", **settings})


def model_of(inputs, outputs):
    return networks.filled(keras.Model(inputs, outputs))


def quietly(model, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fix(model, **settings)


def assert_same(model, fixed, x=None):
    x = networks.inputs_of(model) if x is None else x
    for old, new in zip(*(networks.outputs_of(m, x) for m in (model, fixed)), strict=True):
        assert old.shape == new.shape
        np.testing.assert_allclose(new, old, rtol=0, atol=1e-5 * np.abs(old).max())


@pytest.mark.parametrize("other", [{"interpolation": "bilinear"}, {"size": 3}])
def test_a_convolution_behind_unlike_upsamplings_is_not_replaced_by_one(other):
    x, shared = keras.Input((8, 8, 3)), conv(name="shared")
    second = layers.UpSampling2D(**{"size": 2, **other})
    model = model_of(x, [shared(up()(x)), shared(second(x))])
    fixed, report = fix(model)
    assert not report.changed
    assert_same(model, fixed)


@pytest.mark.parametrize("follows", ["pool", "norms"])
def test_a_shared_strided_convolution_with_unlike_followers_is_left(follows):
    x, shared = keras.Input((8, 8, 3)), conv(strides=2, name="shared")
    one, other = shared(x), shared(conv(3)(x))
    if follows == "pool":
        ends = [layers.ReLU()(one), layers.GlobalAveragePooling2D()(other)]
    else:
        ends = [layers.BatchNormalization()(one), layers.BatchNormalization()(other)]
    _, report = fix(model_of(x, ends), rules="downsampling")
    assert not report.changed
    assert "called at 2 places" in report.left[0].reason


@pytest.mark.parametrize("rules", ["exact", "upsampling"])
def test_an_activation_that_mixes_channels_stays_before_the_shuffle(rules):
    x = keras.Input((8, 8, 3))
    y = ops.depth_to_space(conv(12, activation="softmax")(x), 2, data_format="channels_last")
    _, report = fix(model_of(x, y), rules=rules)
    assert not report.changed
    assert not report.failed
    assert "mixes channels" in report.left[0].reason


def test_a_class_with_a_call_of_its_own_has_no_graph():
    class Own(keras.Model):
        def __init__(self):
            x = keras.Input((8, 8, 3))
            super().__init__(x, conv()(up()(x)))

        def call(self, x):
            return super().call(x * 2)

    class Chain(keras.Sequential):
        def call(self, x):
            return super().call(x) * 3

    for model in (Own(), Chain([keras.Input((8, 8, 3)), up(), conv()])):
        with pytest.warns(UserWarning, match="not applicable"):
            same, _ = fix(model)
        assert same is model


def test_a_class_that_is_lost_is_reported():
    class Built(keras.Model):
        def __init__(self):
            x = keras.Input((8, 8, 3))
            super().__init__(x, conv()(up()(x)))

    fixed, report = fix(Built())
    assert len(report.changed) == 1
    assert "no Built any more" in report.left[0].reason
    assert type(fixed) is type(keras.Model(fixed.inputs, fixed.outputs))


@pytest.mark.parametrize("computed", [False, True])
def test_a_weight_that_an_operation_takes_is_the_new_models_own(computed):
    x, dense = keras.Input((3,)), layers.Dense(3, use_bias=False)
    y = dense(x)
    dense.set_weights([np.random.default_rng(0).normal(size=(3, 3))])
    model = keras.Model(x, ops.matmul(y, dense.kernel + 0.0 if computed else dense.kernel))
    before = networks.outputs_of(model, networks.inputs_of(model))[0]
    new = graph.rebuilt(model)
    dense.kernel.assign(np.zeros((3, 3)))
    np.testing.assert_allclose(networks.outputs_of(new, networks.inputs_of(new))[0], before)


def test_asking_a_model_does_not_change_it():
    x = keras.Input((16, 16, 3))
    y = layers.RandomFlip(seed=1)(x)
    y = layers.Conv2DTranspose(4, 3, strides=2, padding="same")(y)
    y = layers.BatchNormalization()(y, training=True)
    model = model_of(x, conv(3)(y))
    before = [ops.convert_to_numpy(v) for v in model.variables]
    diagnose(model)
    quietly(model, rules="all")
    for old, new in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, new)


def test_every_kind_of_strided_convolution_is_measured():
    x = keras.Input((32, 32, 4))
    y = layers.DepthwiseConv2D(3, strides=2, padding="same")(x)
    y = layers.SeparableConv2D(4, 3, strides=2, padding="same")(y)
    findings = diagnose(keras.Model(x, conv(strides=2)(y))).findings
    assert [finding.rule for finding in findings] == ["strided_conv"] * 3
    assert all(0.5 < finding.value < 1 for finding in findings)


def test_a_loss_of_ones_own_is_reported_and_the_rest_goes_on():
    model = networks.dcgan()
    model.compile("adam", lambda y, z: ops.mean(ops.abs(y - z)))
    fixed, report = fix(model, rules="upsampling")
    assert not fixed.compiled
    assert "compile it anew" in report.left[0].reason


def test_functions_of_ones_own_need_not_be_registered():
    def twice(x):
        return 2 * x

    class Ones(keras.initializers.Initializer):
        def __call__(self, shape, dtype=None):
            return ops.ones(shape, dtype)

    x = keras.Input((8, 8, 3))
    y = conv(activation=twice, kernel_initializer=Ones())(up()(x))
    model = model_of(x, layers.Activation(twice)(y))
    fixed, report = fix(model)
    assert len(report.changed) == 1
    assert_same(model, fixed)


def test_a_layer_that_cannot_be_made_again_is_named():
    class Fussy(layers.Layer):
        def __init__(self, part, **kwargs):
            super().__init__(**kwargs)
            self.part = part.lower()

        def call(self, x):
            return x

        def get_config(self):
            return {"name": self.name}

    model = keras.Sequential([keras.Input((8, 8, 3)), Fussy("X", name="fussy"), up(), conv()])
    with pytest.raises(ValueError, match=r"fix: 'fussy' \(Fussy\) must be made again"):
        fix(model)


def test_what_takes_one_size_alone_is_not_recognised_and_does_no_harm():
    x = keras.Input(batch_shape=(4, 8, 8, 3))
    y = layers.Lambda(lambda t: ops.reshape(t, (4, 16, 16, 3)))(conv(12)(x))
    model = model_of(x, y)
    fixed, _ = quietly(model, rules="upsampling")
    given = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype("float32")
    assert_same(model, fixed, given)
    assert diagnose(model).settings["probes"] == "4 random images"


def test_whole_numbers_are_images_too():
    x = keras.Input((32, 32, 3), dtype="uint8")
    y = conv(strides=2)(layers.Rescaling(1 / 255)(x))
    diagnosis = diagnose(keras.Model(x, y))
    assert [finding.rule for finding in diagnosis.findings] == ["strided_conv"]
    x = keras.Input((16, 16, 3))
    model = keras.Model(x, layers.Conv2DTranspose(3, 3, strides=2, padding="same")(x))
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3)).astype("uint8")
    assert diagnose(model, images).findings[0].severity == "artifact"


def test_answers_that_are_not_finite_are_a_note():
    x = keras.Input((16, 16, 3))
    diagnosis = diagnose(keras.Model(x, ops.log(-ops.abs(up()(x)) - 1)))
    assert "its answers are not finite" in str(diagnosis)


def test_a_name_that_is_taken_is_not_given():
    x = keras.Input((8, 8, 3))
    y = layers.ReLU(name="c_blur")(conv(strides=2, name="c")(conv(3)(x)))
    fixed, report = fix(keras.Model(x, conv()(y)), rules="downsampling")
    assert len(report.changed) == 1
    names = [layer.name for layer in fixed.layers]
    assert len(set(names)) == len(names)


def test_outputs_keep_their_names():
    x = keras.Input((9, 9, 3))
    parts = {
        "strided": conv(strides=2, name="strided")(x),
        "active": layers.ReLU(name="active")(conv(strides=2)(x)),
        "cropped": layers.Conv2D(4, 3, name="cropped")(up()(x)),
        "shuffled": networks.PixelShuffle(2, name="shuffled")(conv(12)(x)),
    }
    model = keras.Model(x, list(parts.values()))
    fixed, report = fix(model, rules="all")
    assert len(report.changed) == 4
    assert fixed.output_names == list(parts)


def test_the_slopes_of_a_prelu_are_shared_over_the_axes_of_the_format():
    if keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow's convolutions on a CPU want channels_last")
    x = keras.Input((3, 8, 8))
    settings = {"data_format": "channels_first"}
    for shared, blurred in (([2, 3], "p_re_lu"), ([1, 2], "conv")):
        y = conv(strides=2, name="conv", **settings)(x)
        y = layers.PReLU(shared_axes=shared, name="p_re_lu")(y)
        model = keras.Model(x, conv(**settings)(y))
        fixed, _ = fix(model, rules="downsampling")
        names = [layer.name for layer in fixed.layers]
        assert names[names.index("conv_blur") - 1] in (blurred, "conv_shift")


def test_several_inputs_are_given_as_the_model_takes_them():
    model = networks.filled(networks.everything())
    x = networks.inputs_of(model)
    assert diagnose(model, x).settings["probes"] == "2 given"
    assert "Give `images`" in str(diagnose(model))
    fixed, _ = fix(model, rules="upsampling")
    history = distill(fixed, model, x, epochs=1, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


@pytest.mark.parametrize("layer", ["conv", "max", "average", "wide"])
def test_small_images_of_unknown_size_are_still_taken(layer):
    make = {
        "conv": lambda: conv(strides=2),
        "max": lambda: layers.MaxPooling2D(2),
        "average": lambda: layers.AveragePooling2D(2),
        "wide": lambda: layers.Conv2D(3, 7, strides=4, padding="same"),
    }[layer]
    model = keras.Sequential([keras.Input((None, None, 3)), make(), make()])
    fixed, report = fix(model, rules="downsampling")
    assert len(report.changed) == 2
    for side in (8, 9) if layer in ("max", "average") else (1, 2, 9):
        images = np.zeros((1, side, side, 3), "float32")
        assert fixed(images).shape == model(images).shape


def test_a_sub_pixel_convolution_of_this_package_becomes_even():
    model = networks.filled(
        keras.Sequential([keras.Input((12, 12, 3)), SubPixelConv(4, name="up")])
    )
    assert diagnose(model).findings[0].rule == "even_subpixel_layer"
    fixed, _ = fix(model, rules="upsampling")
    assert phase_imbalance(phase_gains(fixed.get_layer("up"))) < 1e-10


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "bfloat16"])
def test_exact_rules_hold_in_half_precision(policy):
    x = keras.Input((8, 8, 3))
    settings = {"dtype": policy}
    y = conv(12, **settings)(layers.UpSampling2D(2, **settings)(x))
    y = conv(12, name="shuffled", **settings)(y)
    y = networks.PixelShuffle(2, **settings)(y)
    _, report = quietly(model_of(x, y))
    assert not report.failed
    assert {change.rule for change in report.changed} == {"resize_conv", "subpixel_conv"}


def test_an_array_is_an_initializer_too():
    bias = keras.initializers.Constant(np.arange(12.0))
    x = keras.Input((8, 8, 3))
    y = conv(12, bias_initializer=bias)(x)
    model = model_of(x, ops.depth_to_space(y, 2, data_format="channels_last"))
    fixed, report = fix(model)
    assert len(report.changed) == 1
    assert_same(model, fixed)


def test_a_single_weight_that_is_frozen_stays_frozen():
    model = networks.dcgan()
    model.layers[0].bias.trainable = False
    assert not fix(model, rules="upsampling")[0].layers[0].bias.trainable


@pytest.mark.parametrize(
    "wrong", [np.zeros((0, 16)), np.zeros((4, 3)), np.zeros((4, 8, 8, 1))], ids=str
)
def test_images_that_the_model_does_not_take_are_an_error(wrong):
    with pytest.raises(ValueError, match="diagnose: `images` must"):
        diagnose(networks.dcgan(), wrong.astype("float32"))
