"""What the examples' training runs share."""

import signal

import keras
import numpy as np


class Crops(keras.utils.PyDataset):
    """Batches of random square crops, half of them mirrored: float32, 0..255, RGB.

    Batch `n` follows from `seed` and `n` alone, so that two runs see the same pictures.
    """

    def __init__(self, photos, steps, batch, size, seed):
        super().__init__()
        self.photos, self.steps, self.batch, self.size, self.seed = photos, steps, batch, size, seed

    def __len__(self):
        return self.steps

    def __getitem__(self, n):
        rng = np.random.default_rng([self.seed, n])
        return (np.stack([self.crop(rng) for _ in range(self.batch)]).astype("float32"),)

    def crop(self, rng):
        photo = self.photos[rng.integers(len(self.photos))]
        y, x = (rng.integers(side - self.size + 1) for side in photo.shape[:2])
        crop = photo[y : y + self.size, x : x + self.size]
        return crop[:, ::-1] if rng.random() < 0.5 else crop


class StopOnCtrlC(keras.callbacks.Callback):
    """Ends the training after the current step, so that the model keeps what it has learned.

    A `KeyboardInterrupt` would not do: it can fall into a step of JAX, which has given up the old
    weights and not yet returned the new ones. A second Ctrl-C ends the program.
    """

    pressed = False

    def on_train_begin(self, logs=None):
        self.handler = signal.signal(signal.SIGINT, self.press)

    def press(self, *_):
        self.pressed = True
        signal.signal(signal.SIGINT, self.handler)

    def on_train_batch_end(self, batch, logs=None):
        if self.pressed:
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        signal.signal(signal.SIGINT, self.handler)
