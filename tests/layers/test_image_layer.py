"""What every layer says to an input that it cannot take, eagerly and in a symbolic model."""

import inspect

import keras
import numpy as np
import pytest
from cases import CASES

from images import to_format


@pytest.fixture(params=sorted(CASES))
def case(request):
    return request.param


def _layer(case, data_format="channels_last"):
    cls, settings, _ = CASES[case]
    return cls(**settings, data_format=data_format)


def _refuses(layer, images, message):
    """Fresh, built, and symbolic calls raise the same."""
    message = f"{type(layer).__name__}: {message}"
    with pytest.raises(ValueError, match=message):
        layer(images)
    with pytest.raises(ValueError, match=message):
        layer(keras.KerasTensor(images.shape, dtype=str(images.dtype)))


def test_the_config_names_every_argument(case):
    cls, settings, _ = CASES[case]
    arguments = set(inspect.signature(cls.__init__).parameters) - {"self", "kwargs"}
    layer = cls(**settings, activity_regularizer="l2")
    assert arguments | {"activity_regularizer"} <= set(layer.get_config())


@pytest.mark.parametrize("shape", [(6, 6, 4), (1, 1, 6, 6, 4)], ids=str)
def test_a_wrong_rank_is_refused(case, shape):
    _refuses(_layer(case), np.ones(shape, "float32"), r"`inputs` must have 4 dimensions .* Recei")


def test_integer_images_are_refused_where_floats_are_needed(case, data_format):
    layer = _layer(case, data_format)
    images = to_format(np.ones((1, *CASES[case][2])), data_format).astype("uint8")
    if "padding" in case:
        assert layer(images).dtype is not None
        return
    _refuses(layer, images, r"`inputs` must be floating point\. Received: dtype='uint8'\. Convert")


def test_an_empty_image_is_refused(case):
    channels = CASES[case][2][2]
    images = np.ones((1, 0, 4, channels), "float32")
    _refuses(_layer(case), images, r"`inputs` must have at least 1 pixel a side")


def test_channels_must_be_known_where_there_are_weights(case):
    layer = _layer(case)
    unknown = keras.KerasTensor((None, 8, 8, None))
    if any(name in case for name in ("blur_pool", "padding")):
        assert layer(unknown).shape[-1] is None
        return
    with pytest.raises(ValueError, match=r"the number of channels of `inputs` must be known\. Rec"):
        layer(unknown)


def test_other_channels_than_those_of_the_weights_are_refused(case):
    layer = _layer(case)
    height, width, channels = CASES[case][2]
    layer(np.ones((1, height, width, channels), "float32"))
    other = np.ones((1, height, width, 2 * channels), "float32")
    if any(name in case for name in ("blur_pool", "padding")):
        assert layer(other).shape[-1] == 2 * channels
        return
    _refuses(layer, other, rf"`inputs` must have the {channels} channels that the layer was built")


def test_a_border_deeper_than_the_image_is_refused(case):
    cls, settings, (_, _, channels) = CASES[case]
    border = "mode" if "padding" in case else "padding"
    mode = settings.get(border, "reflect")
    if mode in ("edge", "zeros"):
        return
    extra = {border: mode, "kernel_size": 9} if border == "padding" else {"padding": 9}
    extra |= {"filters": 4} if cls.__name__ == "NIB" else {}
    layer = cls(**{**settings, **extra})
    if getattr(layer, "output_size", None):
        layer = cls(**{**settings, **extra, "output_size": 3})
    images = np.ones((1, 1, 1, channels), "float32")
    _refuses(layer, images, rf"`{border}` must fit the image: a '{mode}' border of \d pixels need")
