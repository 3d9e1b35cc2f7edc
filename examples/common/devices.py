"""Data-parallel training on several devices, by the engine that each backend brings.

JAX: `keras.distribution.DataParallel`. TensorFlow: `tf.distribute.MirroredStrategy`. PyTorch: a
process a device and `DistributedDataParallel`. Each device gets an equal part of every batch; the
gradients are averaged. Without enough accelerators the devices are virtual ones of the CPU, which
shows that a program is right, not that it is fast.
"""

import contextlib
import functools
import json
import os
import signal
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np

from common.program import InputError


def add_option(parser):
    """Adds `--devices` to an example's options."""
    parser.add_argument(
        "--devices", type=int, default=1, help="train data-parallel on so many (%(default)s)"
    )


def check(count, parts):
    """Raises unless `count` devices can share equally the `parts` that a batch has."""
    if count < 1 or parts % count:
        raise InputError(
            f"--devices must divide {parts}, the parts that a batch has. Received: {count}."
        )


@contextlib.contextmanager
def used(count):
    """What is built inside is trained on `count` devices; to be entered before any computation."""
    if count == 1 or keras.backend.backend() == "torch":
        yield
    elif keras.backend.backend() == "jax":
        import jax

        with contextlib.suppress(RuntimeError):  # JAX runs already: it keeps the devices it has.
            jax.config.update("jax_num_cpu_devices", count)
        keras.distribution.set_distribution(
            keras.distribution.DataParallel(
                devices=_first(keras.distribution.list_devices(), count)
            )
        )
        try:
            yield
        finally:
            keras.distribution.set_distribution(None)
    else:
        with _mirrored(count).scope():
            yield


@functools.cache  # A second MirroredStrategy in one process fails (TensorFlow 2.21).
def _mirrored(count):
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        (cpu,) = tf.config.list_physical_devices("CPU")
        virtual = [tf.config.LogicalDeviceConfiguration()] * count
        with contextlib.suppress(RuntimeError):  # TensorFlow runs already.
            tf.config.set_logical_device_configuration(cpu, virtual)
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    names = [device.name for device in tf.config.list_logical_devices(kind)]
    return tf.distribute.MirroredStrategy(_first(names, count))


def _first(devices, count):
    if len(devices) < count:
        raise InputError(f"--devices must be at most {len(devices)} here. Received: {count}.")
    return devices[:count]


def in_processes(main, argv, count):
    """Runs `main(argv)` in one process a device, where the backend needs that.

    Returns:
        None if it does not, or if this is one of the processes: go on. Otherwise what the first
        process returned.
    """
    if count == 1 or keras.backend.backend() != "torch" or _in_group():
        return None
    import torch

    argv = sys.argv[1:] if argv is None else list(argv)
    with tempfile.TemporaryDirectory() as folder:
        work = (main, argv, count, folder)
        context = torch.multiprocessing.spawn(_process, work, count, join=False)
        # Ctrl-C is for the processes, which stop in order; this one waits for them.
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            while not context.join():
                pass
        except torch.multiprocessing.ProcessExitedException as error:
            if error.exit_code < 0:
                sys.exit(f"A process was ended by {error.signal_name}.")
            sys.exit(error.exit_code)  # The process has said why.
        finally:
            signal.signal(signal.SIGINT, handler)
        return json.loads(Path(folder, "figures.json").read_text())


def _process(rank, main, argv, count, folder):
    import torch

    cuda = torch.cuda.device_count() >= count
    if cuda:
        torch.cuda.set_device(rank)
    else:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // count))
    torch.distributed.init_process_group(
        "nccl" if cuda else "gloo",
        init_method=f"file://{folder}/group",
        rank=rank,
        world_size=count,
    )
    if rank:
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (to the end of the process)
    try:
        figures = main(argv)
        if rank == 0:
            Path(folder, "figures.json").write_text(json.dumps(figures))
    finally:
        torch.distributed.destroy_process_group()


def _in_group():
    import torch

    return torch.distributed.is_available() and torch.distributed.is_initialized()


def is_first():
    """Whether this process is the one that writes and prints."""
    return keras.backend.backend() != "torch" or not _in_group() or _rank() == 0


def _rank():
    import torch

    return torch.distributed.get_rank()


def share(batch):
    """Returns the part of a batch, a tuple of arrays or of tuples, that this process trains on."""
    if keras.backend.backend() != "torch" or not _in_group():
        return batch
    import torch

    part, parts = _rank(), torch.distributed.get_world_size()
    return keras.tree.map_structure(lambda array: np.array_split(array, parts)[part], batch)


def fed(batches):
    """Returns `batches`, a `PyDataset`, as `model.fit` is to take them.

    Keras would have TensorFlow tune how far it reads ahead: in a thread that sleeps twice as long
    each time, up to a minute, and that a later epoch waits for before its first step, when the
    iterator of the epoch before is given up (Keras 3.15, TensorFlow 2.21).
    """
    if keras.backend.backend() != "tensorflow":
        return batches
    import tensorflow as tf

    kinds = keras.tree.map_structure(lambda a: tf.TensorSpec(a.shape, a.dtype), batches[0])
    data = tf.data.Dataset.from_generator(
        lambda: map(batches.__getitem__, range(len(batches))), output_signature=kinds
    )
    options = tf.data.Options()
    options.autotune.enabled = False
    data = data.apply(tf.data.experimental.assert_cardinality(len(batches)))
    return data.prefetch(2).with_options(options)


def predict(model, images):
    """Returns `model.predict(images)`, of any number of images.

    A batch that cannot be shared out equally is an error on JAX (0.10), and leaves a device with
    nothing on TensorFlow: the last image is repeated until it can.
    """
    missing = -len(images) % _sharing()
    whole = np.concatenate([images, np.repeat(images[-1:], missing, axis=0)])
    return model.predict(whole, verbose=0)[: len(images)]


def _sharing():
    """How many devices share a batch in this process."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.distribute.get_strategy().num_replicas_in_sync
    distribution = keras.distribution.distribution()
    return 1 if distribution is None else distribution.device_mesh.devices.size


def agree(flag):
    """Returns whether `flag` is set in any of the processes."""
    if keras.backend.backend() != "torch" or not _in_group():
        return flag
    import torch

    votes = torch.tensor(float(flag), device=keras.ops.zeros(()).device)
    torch.distributed.all_reduce(votes)
    return bool(votes > 0)


def synchronise(model):
    """Makes `model.fit` average the gradients of all processes.

    Keras's own training step on PyTorch does not know of `DistributedDataParallel` (Keras 3.15):
    every process would train a model of its own.
    """
    if keras.backend.backend() != "torch" or not _in_group():
        return
    import torch

    parallel = torch.nn.parallel.DistributedDataParallel(model)

    def train_step(data):
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        model.zero_grad()
        outputs = parallel(x, training=True)
        loss = model.compute_loss(x, y, outputs, weight, training=True)
        loss.backward()
        variables = model.trainable_variables
        with torch.no_grad():
            model.optimizer.apply([v.value.grad for v in variables], variables)
        mean = loss.detach() / torch.distributed.get_world_size()
        torch.distributed.all_reduce(mean)
        return {"loss": mean}

    model.train_step = train_step
