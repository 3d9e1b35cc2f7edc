"""`distill`: the fixed model learns the old answers."""

import keras
import numpy as np
import pytest
from keras import layers

import networks
from keras_cnnfix import distill, fix, graph, repair


def pair():
    """A fixed model that has gone astray, and a teacher whose answers it can give."""
    model, _ = fix(autoencoder(), rules="upsampling")
    repair._renew_statistics(model, [(images(), None)])
    teacher = graph.rebuilt(model)
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(weight + 0.1 * rng.normal(size=weight.shape).astype("float32"))
    return model, teacher


def autoencoder():
    x = inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.BatchNormalization()(x)
    x = layers.Conv2DTranspose(8, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.Conv2D(1, 3, padding="same")(x)
    return networks.filled(keras.Model(inputs, x))


def images(count=256):
    return np.random.default_rng(0).random((count, 8, 8, 1)).astype("float32")


def error(model, teacher):
    x = np.random.default_rng(1).random((64, 8, 8, 1)).astype("float32")
    return float(np.square(model.predict(x, verbose=0) - teacher.predict(x, verbose=0)).mean())


def test_the_fixed_model_learns_the_old_answers_without_labels():
    model, teacher = pair()
    model.compile("sgd", "mae")
    weights = [keras.ops.convert_to_numpy(w) for w in teacher.weights]
    optimizer = model.optimizer
    before = error(model, teacher)
    history = distill(model, teacher, images(), epochs=20, verbose=0)
    assert error(model, teacher) < before / 3
    assert len(history.history["val_loss"]) <= 20
    assert model.optimizer is optimizer
    assert model.loss == "mae"
    for old, new in zip(weights, teacher.weights, strict=True):
        np.testing.assert_array_equal(old, new)


def test_it_ends_where_no_gain_is_left():
    model, teacher = pair()
    history = distill(
        model, teacher, images(), epochs=9, optimizer=keras.optimizers.SGD(0.0), verbose=0
    )
    assert len(history.history["loss"]) < 9


class Batches(keras.utils.PyDataset):
    def __init__(self, labels):
        super().__init__()
        self.labels = labels

    def __len__(self):
        return 8

    def __getitem__(self, index):
        batch = images()[32 * index : 32 * index + 32]
        return (batch, np.zeros(32)) if self.labels else (batch,)


@pytest.mark.parametrize("labels", [False, True])
def test_batches_are_taken_with_and_without_labels(labels):
    model, teacher = pair()
    before = error(model, teacher)
    distill(model, teacher, Batches(labels), epochs=5, verbose=0)
    assert error(model, teacher) < before


def test_frozen_layers_are_not_trained():
    model, teacher = pair()
    model.layers[1].trainable = False
    kernel = keras.ops.convert_to_numpy(model.layers[1].kernel)
    distill(model, teacher, images(64), epochs=2, verbose=0)
    np.testing.assert_array_equal(model.layers[1].kernel, kernel)


def test_models_of_other_answers_are_an_error():
    x = keras.Input((8, 8, 1))
    other = keras.Model(x, layers.Conv2D(2, 3, padding="same")(x))
    with pytest.raises(ValueError, match="must answer with the same shapes"):
        distill(other, autoencoder(), images())


def test_moving_statistics_are_means_over_the_images():
    teacher = autoencoder()
    model, _ = fix(teacher, rules="upsampling")
    norm = next(layer for layer in model.layers if hasattr(layer, "moving_mean"))
    x = images(64)
    still = keras.optimizers.SGD(0.0)
    distill(model, teacher, x, epochs=1, optimizer=still, verbose=0)
    before = keras.Model(model.inputs, model.layers[model.layers.index(norm) - 1].output)
    seen = before.predict(x, verbose=0)
    np.testing.assert_allclose(norm.moving_mean, seen.mean((0, 1, 2)), atol=1e-4)
    assert norm.momentum == 0.99
