"""`fix`: what it promises of every model, and what its report says."""

import json
import re
import warnings

import keras
import numpy as np
import pytest
from keras import layers

import networks
from keras_cnnfix import fix, rules
from test_graph import NETWORKS

GROUPS = ("exact", "upsampling", "downsampling", "all")


def answers(model, seed=0):
    return networks.outputs_of(model, networks.inputs_of(model, seed))


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_survives_every_group(name, group, tmp_path):
    model = networks.filled(NETWORKS[name]())
    before = answers(model)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="fix: no rule matches")
        fixed, report = fix(model, rules=group)
    assert not report.failed
    after = answers(fixed)
    assert [y.shape for y in after] == [y.shape for y in before]
    assert all(np.isfinite(y).all() for y in after)
    if group == "exact":
        for old, new in zip(before, after, strict=True):
            np.testing.assert_allclose(new, old, rtol=0, atol=1e-5 * np.abs(old).max())
    for old, new in zip(before, answers(model), strict=True):
        np.testing.assert_array_equal(old, new)  # The original is as it was.
    fixed.save(tmp_path / "fixed.keras")
    custom = {"PixelShuffle": networks.PixelShuffle}
    loaded = keras.saving.load_model(tmp_path / "fixed.keras", custom_objects=custom)
    for one, other in zip(after, answers(loaded), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6 * np.abs(one).max())
    x = networks.inputs_of(fixed)
    fixed.compile("sgd", "mse")
    fixed.train_on_batch(x, fixed(x))


def test_models_and_layers_in_a_model_are_mended_where_they_are():
    model = networks.filled(networks.everything())
    fixed, report = fix(model, rules="all")
    assert {(change.layer, change.rule) for change in report.changed} == {
        ("block/up + block/smooth", "resize_conv"),
        ("block/down", "strided_conv"),
        ("tail/grow", "even_transposed_conv"),
        ("shared_up + shared", "resize_conv"),
    }
    # What was shared is: once, at both places.
    assert len([layer for layer in fixed.layers if layer.name == "shared"]) == 1
    assert len([c for c in report.changed if c.layer == "shared_up + shared"]) == 2
    assert type(fixed.get_layer("block").get_layer("smooth")).__name__ == "ResizeConv2D"


def test_a_shared_layer_with_two_uses_is_left():
    conv = layers.Conv2D(3, 3, padding="same", name="both")
    x = keras.Input((8, 8, 3))
    model = keras.Model(x, conv(layers.UpSampling2D(2)(conv(x))))
    _, report = fix(model)
    assert not report.changed
    assert "'both' is called at 2 places, of which 1 are alike" in report.left[0].reason


def test_the_report_says_what_was_done_and_what_more_could_be():
    model = networks.filled(networks.pix2pix())
    _, report = fix(model, rules="upsampling", images=networks.inputs_of(model))
    assert len(report.changed) == 3
    assert "3 x Conv2D, DepthwiseConv2D or SeparableConv2D with strides" in report.hint
    assert "rules='downsampling'" in report.hint
    assert 0 < report.difference[0] <= 2  # of tanh
    assert all(0 < change.residual < 1 for change in report.changed)
    text = str(report)
    for change in report.changed:
        assert change.layer in text
    assert "3 changed, 0 left alone, 0 failed" in text
    assert "EvenConv2DTranspose" in report._repr_html_()


def test_the_report_is_plain_data():
    _, report = fix(networks.everything(), rules="all")
    data = json.loads(json.dumps(report.as_dict()))
    assert set(data) >= {"changed", "left", "failed"}
    assert set(data["changed"][0]) >= {"rule", "layer", "safety", "residual"}
    _, report = fix(keras.Sequential([keras.Input((4, 4, 1)), layers.UpSampling2D(2)]))
    assert set(report.as_dict()["left"][0]) == {"rule", "layer", "reason"}


def test_a_clean_model_is_copied_with_one_warning():
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(2, 3)], name="clean")
    with pytest.warns(UserWarning, match="no rule matches any layer of 'clean'. Looked for: Up"):
        fixed, report = fix(model)
    assert fixed is not model
    assert not report.changed
    assert str(report).startswith("0 changed")


def test_a_dry_run_changes_nothing():
    model = networks.everything()
    same, report = fix(model, rules="all", dry_run=True)
    assert same is model
    assert len(report.changed) == 5


@pytest.mark.parametrize(
    ("selection", "count"),
    [
        ({"include": "block/*"}, 2),
        ({"include": ["grow", "shared"]}, 3),
        ({"exclude": "block/*"}, 3),
        ({"exclude": keras.layers.Conv2DTranspose}, 4),
        ({"include": lambda layer: layer.name == "down"}, 1),
        ({"min_channels": 4}, 2),
        ({"skip_first": True}, 4),
    ],
)
def test_layers_are_selected(selection, count):
    _, report = fix(networks.everything(), rules="all", **selection)
    assert len(report.changed) == count
    assert len(report.left) == 5 - count


def test_what_names_no_layer_is_an_error():
    for name in ("include", "exclude"):
        with pytest.raises(
            ValueError, match=f"`{name}` must match a layer. Received: {name}='conv9'"
        ):
            fix(networks.dcgan(), **{name: "conv9"})


@pytest.mark.parametrize("wrong", ["all of it", 3, None, ["exact", 2]])
def test_unknown_rules_are_an_error(wrong):
    with pytest.raises(ValueError, match="`rules` must be 'exact', 'upsampling'"):
        fix(networks.dcgan(), rules=wrong)


def test_a_rule_of_ones_own_is_an_object():
    class Wider(rules.Rule):
        """Makes every 3x3 convolution's pool a larger one."""

        name = "wider"
        safety = rules.Safety.RETRAIN
        finds = "MaxPooling2D"

        def match(self, site):
            is_pool = isinstance(site.operation, layers.MaxPooling2D)
            return rules.Match((site,)) if is_pool else None

        def rewrite(self, match, inputs=None):
            return [(match.sites, [layers.AveragePooling2D(2, name="mean")])]

    fixed, report = fix(networks.classifier(), rules=["exact", Wider()])
    assert fixed.get_layer("mean")
    assert [change.rule for change in report.changed] == ["wider"]


def test_a_rule_that_fails_is_reported_and_the_others_go_on():
    class Fails(rules.Rule):
        """Never works."""

        name = "fails"

        def match(self, site):
            return rules.Match((site,)) if isinstance(site.operation, layers.ReLU) else None

        def rewrite(self, match, inputs=None):
            raise RuntimeError("no such thing")

    fixed, report = fix(networks.everything(), rules=[Fails(), "exact"])
    assert "RuntimeError: no such thing" in report.failed[0].reason
    assert len(report.changed) == 3
    assert fixed.get_layer("tail").layers[-1].__class__ is layers.ReLU


def test_a_model_of_its_own_code_is_not_applicable():
    class Decoder(keras.Model):
        def __init__(self):
            super().__init__()
            self.up = layers.Conv2DTranspose(3, 3, strides=2)

        def call(self, x):
            return self.up(x)

    model = Decoder()
    with pytest.warns(UserWarning, match="not applicable"):
        same, report = fix(model)
    assert same is model
    assert "keras.Model(inputs, outputs)" in report.left[0].reason


def test_layers_held_by_a_layer_are_not_passed_over_in_silence():
    @keras.saving.register_keras_serializable("tests")
    class Block(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.up = layers.Conv2DTranspose(3, 3, strides=2, name="held")

        def build(self, shape):
            self.up.build(shape)

        def call(self, x):
            return self.up(x)

        def compute_output_shape(self, shape):
            return self.up.compute_output_shape(shape)

    model = networks.filled(keras.Sequential([keras.Input((8, 8, 3)), Block(name="block")]))
    fixed, report = fix(model, rules="upsampling")
    (left,) = report.left
    assert left.layer == "block"
    assert left.reason.startswith("not applicable: Block calls Conv2DTranspose 'held'")
    for one, other in zip(answers(model), answers(fixed), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_sequential_that_is_not_built_is_told_what_to_do():
    with pytest.warns(UserWarning, match="not built. Call it on a batch of images"):
        fix(keras.Sequential([layers.Conv2DTranspose(1, 3, strides=2)]))


def test_a_compiled_model_stays_compiled_and_its_optimizer_untouched():
    model = networks.dcgan()
    model.compile(keras.optimizers.Adam(0.25), "mae")
    x = networks.inputs_of(model)
    model.train_on_batch(x, model(x))
    state = [keras.ops.convert_to_numpy(v) for v in model.optimizer.variables]
    fixed, _ = fix(model, rules="upsampling")
    assert fixed.compiled
    assert fixed.optimizer is not model.optimizer
    assert float(fixed.optimizer.learning_rate) == 0.25
    before = networks.outputs_of(model, x)
    fixed.train_on_batch(x, fixed(x))
    np.testing.assert_array_equal(before[0], networks.outputs_of(model, x)[0])
    for before, after in zip(state, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(before, after)


def test_frozen_layers_and_policies_stay():
    with_policy = layers.Conv2DTranspose(4, 4, strides=2, dtype="mixed_float16", name="half")
    frozen = layers.Conv2DTranspose(4, 4, strides=2, name="frozen", kernel_regularizer="l1")
    model = keras.Sequential([keras.Input((6, 6, 3)), with_policy, frozen])
    frozen.trainable = False
    fixed, report = fix(model, rules="upsampling")
    assert len(report.changed) == 2
    assert fixed.get_layer("half").dtype_policy.name == "mixed_float16"
    assert not fixed.get_layer("frozen").trainable
    assert type(fixed.get_layer("frozen").kernel_regularizer) is keras.regularizers.L1


def test_a_lora_kernel_is_left():
    conv = layers.Conv2D(4, 3, padding="same", name="lora")
    model = keras.Sequential([keras.Input((6, 6, 3)), layers.UpSampling2D(2), conv])
    conv.enable_lora(2)
    networks.filled(model)
    fixed, report = fix(model)
    assert "LoRA" in report.left[0].reason
    for one, other in zip(answers(model), answers(fixed), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_images_may_come_in_batches():
    model = networks.filled(networks.super_resolution())
    x = networks.inputs_of(model)
    labels = np.zeros(len(x))
    reports = [
        fix(model, rules="upsampling", images=images)[1]
        for images in (x, [(x[:1], labels[:1]), (x[1:], labels[1:])], iter([x]), Batches(x))
    ]
    for report in reports:
        assert report.difference == pytest.approx(reports[0].difference)
        assert report.difference[0] > 0


class Batches(keras.utils.PyDataset):
    """Images without an end of their own, as Keras asks for them."""

    def __init__(self, x):
        super().__init__()
        self.x = x

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index % len(self.x)][None], np.zeros(1)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 8, 8, 4), "float32"), "`images` must be what the model takes. Received: "),
        ([], "`images` must hold one image or more"),
        (7, "`images` must be arrays, or an iterable of batches. Received: images=7"),
    ],
)
def test_images_that_the_model_does_not_take_are_an_error(images, message):
    with pytest.raises(ValueError, match="fix: " + re.escape(message)):
        fix(networks.super_resolution(), rules="upsampling", images=images)


def test_variables_in_another_order_are_matched_by_name():
    """A layer that was quantized to float8 after it was built, as its copy is before."""
    dense = layers.Dense(4)
    model = networks.filled(
        keras.Sequential([keras.Input((8, 8, 3)), layers.MaxPooling2D(2), dense])
    )
    dense.quantize("float8")
    fixed, report = fix(model, rules="downsampling")
    assert len(report.changed) == 1
    copy = fixed.layers[-1]
    for name in ("kernel", "bias", "kernel_scale"):
        np.testing.assert_array_equal(getattr(copy, name), getattr(dense, name))
