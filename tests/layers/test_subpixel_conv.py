import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import keras_cnnfix as kc
import oracle
from images import (
    DATA_FORMATS,
    answer_with_random_weights,
    apply,
    assert_close,
    pairwise,
    to_format,
)
from keras_cnnfix.checks import PADDING_MODES


@pytest.mark.parametrize(
    ("order", "padding", "smooth", "data_format"),
    pairwise(["dcr", "crd"], PADDING_MODES, [False, True], DATA_FORMATS),
)
def test_subpixel_conv_matches_the_oracle(order, padding, smooth, data_format, rng):
    images = rng.normal(size=(2, 5, 6, 3)).astype("float32")
    layer = kc.SubPixelConv(
        2,
        kernel_size=(3, 4),
        size=(2, 3),
        padding=padding,
        channel_order=order,
        smooth=smooth,
        activation="tanh",
        data_format=data_format,
    )
    y, (kernel, bias) = answer_with_random_weights(layer, images)
    assert kernel.shape == (3, 4, 3, 12)
    expected = oracle.sub_pixel_conv(
        images, kernel, bias, (2, 3), padding, order, smooth=smooth, activation=np.tanh
    )
    assert_close(y, expected, 5e-6)


def test_the_layer_is_torchs_pixel_shuffle_of_a_convolution(rng):
    torch = pytest.importorskip("torch")
    images = rng.normal(size=(2, 5, 6, 3)).astype("float32")
    y, (kernel, bias) = answer_with_random_weights(
        kc.SubPixelConv(2, padding="zeros", channel_order="crd"), images
    )
    conv = torch.nn.Conv2d(3, 8, 3, padding=1)
    with torch.no_grad():
        conv.weight.copy_(torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy()))
        conv.bias.copy_(torch.from_numpy(bias))
        expected = torch.nn.PixelShuffle(2)(
            conv(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
        ).numpy()
    assert_close(y, expected.transpose(0, 2, 3, 1), 2e-6)


@pytest.mark.parametrize(
    ("order", "size", "data_format"),
    pairwise(["dcr", "crd"], [2, 3, (1, 4)], DATA_FORMATS),
    ids=str,
)
def test_with_icnr_it_starts_as_nearest_resize_of_a_convolution(order, size, data_format, rng):
    images = rng.normal(size=(2, 5, 6, 3)).astype("float32")
    layer = kc.SubPixelConv(
        4, size=size, channel_order=order, data_format=data_format, bias_initializer="normal"
    )
    layer.build(to_format(images, data_format).shape)
    y = apply(layer, images, data_format)
    sy, sx = layer.size
    blocks = y.reshape(2, 5, sy, 6, sx, 4)
    np.testing.assert_allclose(blocks, np.broadcast_to(blocks[:, :, :1, :, :1], blocks.shape))
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    bias = keras.ops.convert_to_numpy(layer.bias)
    assert bias.shape == (4 * sy * sx,)
    assert np.unique(bias).size == 4
    phase = slice(4) if order == "dcr" else slice(None, None, sy * sx)
    padded = oracle.pad(images, ((1, 1), (1, 1)), "reflect")
    expected = oracle.conv2d(padded, kernel[..., phase], bias[phase])
    assert_close(blocks[:, :, 0, :, 0], expected, 2e-6)


def test_the_config_keeps_the_bias_initializer_that_was_given():
    layer = kc.SubPixelConv(4, bias_initializer=keras.initializers.RandomNormal(seed=3))
    twin = kc.SubPixelConv.from_config(layer.get_config())
    assert isinstance(twin.bias_initializer, keras.initializers.RandomNormal)
    for each in (layer, twin):
        each.build((None, None, None, 3))
    biases = [keras.ops.convert_to_numpy(each.bias) for each in (layer, twin)]
    np.testing.assert_array_equal(*biases)


@pytest.mark.parametrize("draws", [None, kc.ICNR("normal")], ids=["None", "ICNR"])
def test_a_bias_that_is_none_or_icnr_starts_even(draws):
    layer = kc.SubPixelConv(2, bias_initializer=draws)
    layer.build((None, None, None, 3))
    bias = keras.ops.convert_to_numpy(layer.bias).reshape(4, 2)
    np.testing.assert_array_equal(bias, bias[[0] * 4])
    assert np.std(bias) > 0


def test_values_that_are_given_are_taken_as_they_are(rng):
    kernel = rng.normal(size=(3, 3, 3, 8)).astype("float32")
    bias = rng.normal(size=8).astype("float32")
    layer = kc.SubPixelConv(
        2, kernel_initializer=kernel, bias_initializer=keras.ops.convert_to_tensor(bias)
    )
    layer.build((None, None, None, 3))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer.kernel), kernel)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer.bias), bias)


def test_with_another_initializer_it_starts_with_a_checkerboard():
    layer = kc.SubPixelConv(1, kernel_initializer="glorot_uniform")
    y = keras.ops.convert_to_numpy(layer(np.ones((1, 6, 6, 3), "float32")))
    assert np.ptp(y) > 0.05


@given(
    sy=st.integers(1, 3),
    sx=st.integers(1, 3),
    kernel=st.integers(1, 4),
    padding=st.sampled_from([mode for mode in PADDING_MODES if mode != "zeros"]),
)
def test_smooth_keeps_a_constant_constant_up_to_the_border(sy, sx, kernel, padding):
    """Sugawara's condition: whatever the weights, the bias and the activation."""
    layer = kc.SubPixelConv(
        2, kernel, (sy, sx), padding=padding, smooth=True, activation="relu", use_bias=True
    )
    y, _ = answer_with_random_weights(layer, np.full((1, 4, 5, 3), 0.7, "float32"))
    np.testing.assert_allclose(y, np.broadcast_to(y[:, :1, :1], y.shape), atol=1e-5)


def test_icnr_by_name_is_kept_by_name_and_by_object_as_an_object():
    named = kc.SubPixelConv(4, size=(1, 3), channel_order="crd")
    assert named.get_config()["kernel_initializer"] == "icnr"
    same = kc.ICNR("glorot_uniform", (1, 3), "crd")
    assert named.kernel_initializer.get_config() == same.get_config()
    layer = kc.SubPixelConv(4, size=3, kernel_initializer=kc.ICNR("he_normal", 3))
    twin = kc.SubPixelConv.from_config(layer.get_config())
    assert isinstance(twin.kernel_initializer, kc.ICNR)
    assert isinstance(twin.kernel_initializer.initializer, keras.initializers.HeNormal)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"filters": -1}, r"SubPixelConv: `filters` must be an integer of at least 1"),
        ({"size": 0}, r"SubPixelConv: `size` must be an integer of at least 1"),
        ({"size": 1.5}, r"SubPixelConv: `size` must be an integer of at least 1, .* size=1\.5"),
        ({"channel_order": "rcd"}, r"SubPixelConv: `channel_order` must be one of 'dcr', 'crd'"),
        ({"padding": "valid"}, r"SubPixelConv: `padding` must be one of"),
        (
            {"kernel_initializer": kc.ICNR(size=3)},
            r"SubPixelConv: `kernel_initializer` must be an ICNR of the layer's own size and "
            r"channel order\. Received: ICNR\(size=\(3, 3\), channel_order='dcr', "
            r"transposed=False\) for size=\(2, 2\), channel_order='dcr'\. "
            r"Use kernel_initializer='icnr'\.",
        ),
        (
            {"kernel_initializer": kc.ICNR(transposed=True)},
            r"must be an ICNR of .* transposed=True",
        ),
        (
            {"bias_initializer": kc.ICNR(size=3)},
            r"SubPixelConv: `bias_initializer` must be an ICNR of the layer's own size .* Leave "
            r"ICNR out: the bias starts even without it\.",
        ),
        ({"kernel_initializer": kc.ICNR(channel_order="crd")}, r"must be an ICNR of the layer's o"),
    ],
)
def test_bad_arguments_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        kc.SubPixelConv(**{"filters": 4, **settings})


@pytest.mark.parametrize(("order", "data_format"), pairwise(["dcr", "crd"], DATA_FORMATS))
def test_even_phases_answer_a_constant_with_a_constant(order, data_format):
    """Whatever the weights, the bias included; without a blur, which moves the image."""
    images = np.full((1, 5, 6, 2), 0.7, "float32")
    layer = kc.SubPixelConv(
        3, (2, 3), (3, 2), channel_order=order, even=True, data_format=data_format
    )
    y, _ = answer_with_random_weights(layer, images)
    assert np.abs(y).min() > 1e-3
    assert_close(y, np.broadcast_to(y[:, :1, :1], y.shape), 5e-6)
    assert kc.diagnostics.phase_imbalance(kc.diagnostics.phase_gains(layer)) < 1e-10
    plain = kc.SubPixelConv(3, (2, 3), (3, 2), channel_order=order, data_format=data_format)
    y, _ = answer_with_random_weights(plain, images)
    assert np.std(y, axis=(1, 2)).min() > 0.1


def test_an_even_start_is_drawn_with_the_variance_of_the_plain_one(rng):
    x = rng.normal(size=(1, 16, 16, 32)).astype("float32")
    stds = []
    for even in (False, True):
        draw = keras.initializers.HeNormal(1)
        layer = kc.SubPixelConv(16, kernel_initializer=draw, even=even)
        stds.append(np.std(keras.ops.convert_to_numpy(layer(x))))
    assert stds[1] == pytest.approx(stds[0], rel=0.05)
    stored = kc.diagnostics.phase_gains(layer.get_weights()[0], 2, "dcr")
    assert kc.diagnostics.phase_imbalance(stored) < 1e-10
    # ICNR is even already, and stays what it is.
    for even in (False, True):
        keras.utils.set_random_seed(3)
        layer = kc.SubPixelConv(16, even=even)
        layer.build(x.shape)
        stds.append(layer.get_weights()[0])
    np.testing.assert_allclose(stds[2], stds[3], atol=1e-6)
