import keras
import numpy as np
import pytest

import oracle
from images import apply
from keras_cnnfix.ops.shuffle import CHANNEL_ORDERS, depth_to_space, space_to_depth


@pytest.mark.parametrize("order", CHANNEL_ORDERS)
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 2), (1, 4)], ids=str)
def test_depth_to_space_matches_the_oracle_and_has_an_inverse(order, size, data_format, rng):
    images = rng.normal(size=(2, 3, 5, 3 * size[0] * size[1])).astype("float32")
    spread = apply(lambda x: depth_to_space(x, size, order, data_format), images, data_format)
    np.testing.assert_array_equal(
        spread, oracle.depth_to_space(images, size, order).astype("float32")
    )
    back = apply(lambda x: space_to_depth(x, size, order, data_format), spread, data_format)
    np.testing.assert_array_equal(back, images)


def test_dcr_is_tensorflows_depth_to_space(data_format, rng):
    tf = pytest.importorskip("tensorflow")
    images = rng.normal(size=(2, 3, 5, 12)).astype("float32")
    y = apply(lambda x: depth_to_space(x, (2, 2), "dcr", data_format), images, data_format)
    np.testing.assert_array_equal(y, tf.nn.depth_to_space(images, 2).numpy())


def test_crd_is_torchs_pixel_shuffle(data_format, rng):
    torch = pytest.importorskip("torch")
    images = rng.normal(size=(2, 3, 5, 18)).astype("float32")
    y = apply(lambda x: depth_to_space(x, (3, 3), "crd", data_format), images, data_format)
    channels_first = torch.from_numpy(np.moveaxis(images, -1, 1).copy())
    expected = torch.nn.PixelShuffle(3)(channels_first).numpy()
    np.testing.assert_array_equal(y, np.moveaxis(expected, 1, -1))


@pytest.mark.parametrize("dtype", ["float16", "int32"])
def test_depth_to_space_keeps_the_dtype(dtype, data_format):
    x = keras.ops.ones((1, 4, 4, 4), dtype)
    y = depth_to_space(x, (2, 2), "dcr", data_format)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
