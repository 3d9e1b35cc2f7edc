import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracle
from images import DATA_FORMATS, apply, pairwise, to_format
from keras_cnnfix.checks import PADDING_MODES
from keras_cnnfix.ops.padding import pad2d

NUMPY_MODES = {
    "reflect": "reflect",
    "symmetric": "symmetric",
    "edge": "edge",
    "wrap": "wrap",
    "zeros": "constant",
}
DEEPEST = {"reflect": -1, "symmetric": 0, "wrap": 0, "edge": 3, "zeros": 3}


def _pad(images, pads, mode, data_format):
    return apply(lambda x: pad2d(x, pads, mode, data_format), images, data_format)


PADS = [((1, 1), (1, 1)), ((0, 3), (2, 0)), ((4, 1), (0, 0)), ((0, 0), (1, 4))]


@pytest.mark.parametrize(
    ("mode", "pads", "data_format"), pairwise(PADDING_MODES, PADS, DATA_FORMATS), ids=str
)
def test_pad2d_matches_the_oracle(mode, pads, data_format, rng):
    images = rng.normal(size=(2, 5, 6, 3)).astype("float32")
    np.testing.assert_array_equal(
        _pad(images, pads, mode, data_format), oracle.pad(images, pads, mode).astype("float32")
    )


@given(data=st.data(), mode=st.sampled_from(PADDING_MODES))
def test_pad2d_matches_numpy_up_to_the_deepest_border(data, mode):
    height, width = (data.draw(st.integers(1, 5)) for _ in range(2))
    pads = tuple(
        tuple(data.draw(st.integers(0, n + DEEPEST[mode])) for _ in range(2))
        for n in (height, width)
    )
    images = np.arange(height * width * 2, dtype="float32").reshape(1, height, width, 2)
    widths = ((0, 0), *pads, (0, 0))
    expected = np.pad(images, widths, mode=NUMPY_MODES[mode])  # type: ignore[call-overload]
    np.testing.assert_array_equal(_pad(images, pads, mode, "channels_last"), expected)


@pytest.mark.parametrize(
    ("mode", "dtype", "data_format"),
    pairwise(PADDING_MODES, ["float16", "bfloat16", "uint8", "int32"], DATA_FORMATS),
)
def test_pad2d_keeps_the_dtype(mode, dtype, data_format):
    x = keras.ops.cast(to_format(np.arange(24).reshape(1, 3, 4, 2), data_format), dtype)
    y = pad2d(x, ((1, 2), (2, 1)), mode, data_format)
    assert keras.backend.standardize_dtype(y.dtype) == dtype


@pytest.mark.parametrize(
    ("mode", "depth", "least"), [("reflect", 4, 5), ("symmetric", 5, 5), ("wrap", 5, 5)]
)
def test_a_border_deeper_than_the_image_is_refused(mode, depth, least, data_format):
    """Without the check JAX would bounce off the far side without a word."""
    x = keras.ops.convert_to_tensor(to_format(np.ones((1, 4, 9, 2)), data_format))
    with pytest.raises(
        ValueError,
        match=rf"pad2d: `mode` must fit the image: a '{mode}' border of {depth} pixels needs a "
        rf"height of at least {least}. Received: mode='{mode}', height=4. Use ",
    ):
        pad2d(x, ((0, depth), (0, 0)), mode, data_format)
    pad2d(x, ((0, depth - 1), (0, 0)), mode, data_format)
    for never in ("edge", "zeros"):
        pad2d(x, ((0, 40), (0, 0)), never, data_format)
