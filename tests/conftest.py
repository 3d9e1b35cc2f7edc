"""What every test shares: a clean Keras, full float32, and both data formats."""

import os
import tempfile

# Before Keras is imported: a user's own keras.json must not reach the tests.
os.environ["KERAS_HOME"] = tempfile.mkdtemp(prefix="keras_home_")

import hypothesis
import keras
import numpy as np
import pytest

BACKEND = keras.backend.backend()

# The machine may be slow and shared: no deadline. Fixed examples: a run can be repeated.
hypothesis.settings.register_profile(
    "suite", deadline=None, derandomize=True, max_examples=20, database=None
)
hypothesis.settings.load_profile("suite")

# Agreement is meant at full float32; on GPUs the backends use TF32 by default.
if BACKEND == "tensorflow":
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(False)
elif BACKEND == "jax":
    import jax

    jax.config.update("jax_default_matmul_precision", "highest")
elif BACKEND == "torch":
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


@pytest.fixture(autouse=True)
def _fresh_keras():
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)


@pytest.fixture(params=["channels_last", "channels_first"])
def data_format(request):
    return request.param


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def backend():
    return BACKEND


def pytest_collection_modifyitems(items):
    """One process has all tests of an example, so that its quick run is made once (xdist)."""
    for item in items:
        if item.path.parent.name == "examples":
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
