"""How the examples train: the same batches in every run, checkpoints, an orderly Ctrl-C."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import signal
from pathlib import Path

import keras
import numpy as np

from common import devices

STEPS_PER_EPOCH = 50  # A killed run loses at most these.


def fit(model, make_batch, steps, args, name):
    """Trains a compiled model with Keras's `fit`, checkpointed.

    A run that is killed and started again with the same `args` continues where it was, and ends
    as if it had not been killed: batches and layer noise follow from the seed and the step alone.
    A model that is done is restored, not trained again. Ctrl-C ends the training after the step.

    Args:
        model: A compiled, built `keras.Model`.
        make_batch: Maps a `numpy.random.Generator` to what `fit` takes: `(x,)` or `(x, y)`.
        steps: Number of batches, 1 or more.
        args: The program's arguments; `out` and `seed` are read here, the rest tells runs apart.
        name: Tells the trainings of one program apart.

    Returns:
        The steps that the model has been trained for, those of earlier trainings included.
    """
    batches = Batches(make_batch, args.seed, min(steps, STEPS_PER_EPOCH))
    stop = Stop(steps, batches)
    backup = Backup(str(_folder(args) / name), stop, len(batches), _steps_of(model))
    epochs = -(-steps // len(batches))
    devices.synchronise(model)
    callbacks = [backup, FollowTheSeed(batches), stop]
    model.fit(devices.fed(batches), epochs=epochs, shuffle=False, callbacks=callbacks)
    return _steps_of(model)


def _steps_of(model):
    """The steps that a model has been trained for, in all its trainings."""
    return int(keras.ops.convert_to_numpy(model.optimizer.iterations))


def finish(args):
    """Forgets the checkpoints of a run that is complete."""
    if devices.is_first():
        shutil.rmtree(_folder(args), ignore_errors=True)


def _folder(args):
    settings = repr(sorted(vars(args).items()))
    return args.out / f"unfinished-{hashlib.sha256(settings.encode()).hexdigest()[:12]}"


class Batches(keras.utils.PyDataset):
    """Batch `n` of epoch `epoch` is `make(rng)`, with an rng from the seed and the step alone."""

    epoch = 0

    def __init__(self, make, seed, steps_per_epoch):
        super().__init__()
        self.make, self.seed, self.steps_per_epoch = make, seed, steps_per_epoch

    def __len__(self):
        return self.steps_per_epoch

    def __getitem__(self, n):
        step = self.epoch * self.steps_per_epoch + n
        return devices.share(self.make(np.random.default_rng([self.seed, step])))


class FollowTheSeed(keras.callbacks.Callback):
    """Tells the batches and the noise in the model's layers which epoch it is.

    Checkpoints do not hold the states of the layers' seed generators (Keras 3.15).
    """

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.epoch = epoch
        states = [v for v in self.model.variables if v.name == "seed_generator_state"]
        for n, state in enumerate(states):
            # A generator counts its calls in the second number, and PyTorch adds the two: the
            # steps between epochs, and between layers, are longer than an epoch has calls.
            state.assign(np.array([self.batches.seed + 7919 * n, epoch * 2**16], state.dtype))


class Stop(keras.callbacks.Callback):
    """Ends the training after a number of steps or, with Ctrl-C, after the current one.

    A `KeyboardInterrupt` would not do: it can fall into a step of JAX, which has given up the old
    weights and not yet returned the new ones. A second Ctrl-C ends the program.
    """

    pressed = False

    def __init__(self, steps, batches):
        super().__init__()
        self.steps, self.batches = steps, batches

    def on_train_begin(self, logs=None):
        self.handler = signal.signal(signal.SIGINT, self.press)

    def press(self, *_):
        self.pressed = True
        signal.signal(signal.SIGINT, self.handler)

    def on_train_batch_end(self, batch, logs=None):
        done = self.batches.epoch * len(self.batches) + batch + 1
        self.pressed = devices.agree(self.pressed)
        if self.pressed or done >= self.steps:
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        signal.signal(signal.SIGINT, self.handler)


class Backup(keras.callbacks.BackupAndRestore):
    """Keeps the last whole epoch, from which an interrupted run goes on."""

    def __init__(self, folder, stop, steps_per_epoch, steps_before):
        # Two copies: a run can be killed while it writes one.
        super().__init__(folder, double_checkpoint=True, delete_checkpoint=False)
        self.stop, self.steps_per_epoch, self.steps_before = stop, steps_per_epoch, steps_before

    def on_train_begin(self, logs=None):
        with contextlib.suppress(json.JSONDecodeError):  # Killed while it wrote the epoch.
            super().on_train_begin(logs)
        # Keras writes the epoch after the weights, in a file of its own; the weights know it, too.
        done = _steps_of(self.model) - self.steps_before
        self.model._initial_epoch = -(-done // self.steps_per_epoch)

    def on_epoch_end(self, epoch, logs=None):
        if self.stop.pressed or not devices.is_first():
            return
        Path(self.backup_dir).mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.backup_dir).free
        if free < 2**20 + 64 * self.model.count_params():
            # HDF5 would go down with many messages, or with the whole program.
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.backup_dir)
        super().on_epoch_end(epoch, logs)
