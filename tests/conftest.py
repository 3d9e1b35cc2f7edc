"""What every test shares: a clean Keras, full float32, and both data formats."""

import atexit
import gc
import itertools
import os
import shutil
import tempfile

# Before Keras is imported: a user's own keras.json must not reach the tests.
os.environ["KERAS_HOME"] = tempfile.mkdtemp(prefix="keras_home_")
# Keras's own convolutions take channels first on a CPU through oneDNN alone, which TensorFlow 2.21
# does without where the CPU has no AVX-512 VNNI. This package's layers never need it.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import hypothesis
import keras
import numpy as np
import pytest

BACKEND = keras.backend.backend()
FOLDER = os.environ["KERAS_HOME"]
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
OPTIMIZED = ("examples", "benchmarks")

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
    # What is compiled twice, or is asked for again after `_free_programs`, comes from the disk.
    # A folder of each process: JAX 0.10 does not write whole files at once.
    jax.config.update("jax_compilation_cache_dir", FOLDER)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
elif BACKEND == "torch":
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


@pytest.fixture(autouse=True)
def _fresh_keras():
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True, scope="module")
def _optimizations(request):
    """On JAX, LLVM's are for what trains: it would take longer over a test than the test does."""
    if BACKEND == "jax":
        room = request.path.parent.name
        jax.config.update("jax_disable_most_optimizations", room not in OPTIMIZED)
    yield
    _free_programs()


_count = itertools.count(1)


@pytest.fixture(autouse=True)
def _little_memory():
    """Programs stay in memory, on JAX 5 GB of them after all tests."""
    yield
    if next(_count) % 50 == 0:
        _free_programs()


def _free_programs():
    keras.utils.clear_session(free_memory=False)
    if BACKEND == "jax":
        jax.clear_caches()
    gc.collect()


@pytest.fixture(params=["channels_last", "channels_first"])
def data_format(request):
    return request.param


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def backend():
    return BACKEND


@pytest.hookimpl(tryfirst=True)  # xdist reads the marks in the same hook.
def pytest_collection_modifyitems(items):
    """One process has all tests that share a training, so that it is made once (xdist)."""
    for item in items:
        if item.path.parent.name == "examples" or item.path.stem == "test_cross_backend":
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
