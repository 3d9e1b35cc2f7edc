"""A SavedModel of any size from JAX. (Of one size, and from TensorFlow: `test_contract.py`.)"""

import keras
import numpy as np
import pytest
from cases import CASES

from images import assert_close, at_once, to_format

tf = pytest.importorskip("tensorflow", reason="a SavedModel is TensorFlow's")

pytestmark = [
    pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX's sizes are symbols"),
    pytest.mark.filterwarnings("ignore"),  # Of jax2tf.
]


@pytest.mark.parametrize("case", sorted(CASES))
def test_a_saved_model_from_jax_takes_any_size(case, data_format, tmp_path):
    cls, settings, (_, _, channels) = CASES[case]
    sizes = (None, None, channels) if data_format == "channels_last" else (channels, None, None)
    model = keras.Sequential([keras.Input(sizes), cls(**settings, data_format=data_format)])
    # JAX has no gradient of a strided convolution of an unknown size, Keras's own included.
    extra = {"jax2tf_kwargs": {"with_gradient": False}} if "adaptive" in case else {}
    model.export(str(tmp_path), format="tf_saved_model", verbose=False, **extra)
    loaded = tf.saved_model.load(str(tmp_path))
    for size in [(5, 6), (8, 11)]:
        images = np.random.default_rng(7).normal(size=(2, *size, channels))
        images = to_format(images, data_format)
        expected = keras.ops.convert_to_numpy(at_once(model.layers[-1])(images))
        assert_close(loaded.serve(images).numpy(), expected, 1e-5)
