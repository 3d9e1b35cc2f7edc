"""`diagnose`: what is wrong is found, what is not is not claimed."""

import json
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import networks
from keras_cnnfix import BlurPool2D, ResizeConv2D, diagnose, fix
from keras_cnnfix.flats import answer_to_flats


def artifacts(diagnosis):
    return [finding for finding in diagnosis.findings if finding.severity == "artifact"]


def resize_generator():
    return keras.Sequential(
        [
            keras.Input((8,)),
            layers.Dense(8 * 8 * 8),
            layers.Reshape((8, 8, 8)),
            ResizeConv2D(8, activation="relu"),
            ResizeConv2D(3, activation="tanh"),
        ]
    )


@pytest.mark.parametrize("make", [networks.dcgan, networks.pix2pix, networks.super_resolution])
def test_a_checkerboard_is_measured_put_down_to_a_layer_and_gone_after_its_fix(make):
    model = networks.filled(make())
    first = artifacts(diagnose(model))[0]
    assert first.rule in ("even_transposed_conv", "even_subpixel_conv")
    assert first.fix == {"rules": "upsampling", "safety": "nearest"}
    assert first.value > 10 * first.threshold
    fixed, _ = fix(model, rules=first.fix["rules"])
    assert not [f for f in artifacts(diagnose(fixed)) if "flat" in f.what]


@pytest.mark.parametrize("seed", range(3))
def test_no_checkerboard_is_claimed_in_a_resize_convolution(seed):
    keras.utils.set_random_seed(seed)
    assert not diagnose(resize_generator()).findings


def test_a_clean_model_has_no_finding():
    x = inputs = keras.Input((64, 64, 3))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = BlurPool2D()(x)
    x = ResizeConv2D(3, interpolation="bilinear")(x)
    diagnosis = diagnose(keras.Model(inputs, x, name="clean"))
    assert not diagnosis.findings
    assert diagnosis.verdict == "clean: nothing was found."
    assert {note.check for note in diagnosis.notes} == {"flats", "answers", "shifts", "gradient"}


def test_what_aliases_is_a_risk_and_no_checkerboard():
    diagnosis = diagnose(networks.classifier())
    assert {finding.rule for finding in diagnosis.findings} == {
        "max_pooling",
        "average_pooling",
        "strided_conv",
    }
    assert {finding.severity for finding in diagnosis.findings} == {"risk"}
    assert "checkerboard" not in str(diagnosis)


def test_images_show_how_often_a_classifier_changes_its_mind():
    # Of stripes every second pixel is kept: it sees white, or black.
    strided = layers.Conv2D(2, 1, strides=2)
    model = keras.Sequential([keras.Input((28, 28, 1)), strided, layers.GlobalAveragePooling2D()])
    strided.set_weights([np.reshape([1.0, -1.0], (1, 1, 1, 2)), np.array([0.0, 1.0])])
    images = np.tile([0.0, 1.0], (32, 28, 14))[..., None].astype("float32")
    diagnosis = diagnose(model, images)
    (finding,) = artifacts(diagnosis)
    assert "when these are rolled" in finding.what
    assert finding.fix["rules"] == "downsampling"
    assert diagnosis.settings["probes"] == "32 given"


def test_a_grid_that_the_images_have_is_not_put_down_to_the_model():
    x = inputs = keras.Input((64, 64, 1))
    model = keras.Model(inputs, layers.Conv2D(1, 3, padding="same")(x))
    model.layers[-1].kernel.assign(np.eye(9)[4].reshape(3, 3, 1, 1))
    images = np.random.default_rng(0).random((4, 64, 64, 1)).astype("float32")
    images[:, ::4] += 1
    diagnosis = diagnose(model, images)
    assert not diagnosis.findings
    assert "which the images have, too" in str(diagnosis)


def test_a_model_of_its_own_code_is_asked():
    class Decoder(keras.Model):
        def __init__(self):
            super().__init__()
            self.up = layers.Conv2DTranspose(1, 3, strides=2, padding="same")

        def call(self, x):
            return self.up(x)

    keras.utils.set_random_seed(0)
    images = np.random.default_rng(0).random((4, 32, 32, 1)).astype("float32")
    diagnosis = diagnose(Decoder(), images)
    assert artifacts(diagnosis)
    assert artifacts(diagnosis)[0].layer == "decoder"
    assert "its layers are not seen" in str(diagnosis)


def test_faster_forms_are_notes():
    diagnosis = diagnose(networks.style_decoder())
    assert sum("ResizeConv2D gives the same in less time" in n.text for n in diagnosis.notes) == 2
    assert not diagnosis.findings


def test_it_is_plain_data_and_a_table():
    diagnosis = diagnose(networks.filled(networks.dcgan()))
    data = json.loads(json.dumps(diagnosis.as_dict()))
    assert set(data) == {"verdict", "model", "findings", "notes", "settings"}
    keys = {"rule", "layer", "value", "threshold", "severity", "fix"}
    assert all(set(finding) >= keys for finding in data["findings"])
    assert data["settings"]["backend"] == keras.backend.backend()
    severities = [finding["severity"] for finding in data["findings"]]
    assert severities == sorted(severities)
    assert "dcgan: a grid of period" in str(diagnosis)


def test_wrong_models_are_an_error():
    with pytest.raises(ValueError, match=r"`model` must be a keras\.Model"):
        diagnose(lambda x: x)


def test_flat_maps_stay_flat_behind_what_is_even_and_do_not_behind_what_is_not():
    model = networks.filled(networks.pix2pix())
    x = networks.inputs_of(model)
    fixed, _ = fix(model, rules="upsampling")
    for network, flat in ((model, False), (fixed, True)):
        found: Any = answer_to_flats(network, x, "channels_last")
        answers, period = found
        assert period == (8, 8)
        assert answers.shape[1:] == (192, 192, 3)
        middle = answers[:, 80:112, 80:112]
        assert bool(np.ptp(middle, axis=(1, 2)).max() < 1e-4) is flat


def test_without_an_upsampling_nothing_is_flat():
    model = networks.classifier()
    assert (
        answer_to_flats(model, networks.inputs_of(model), "channels_last") == "no layer up-samples"
    )


def test_what_cannot_be_mended_is_measured_all_the_same():
    """Fewer taps than the stride, or a kernel that also serves elsewhere: a grid, and whose."""
    sparse = layers.Conv2DTranspose(3, 2, strides=3, name="sparse")
    model = networks.filled(keras.Sequential([keras.Input((16, 16, 3)), sparse]))
    first = artifacts(diagnose(model))[0]
    assert (first.layer, first.rule, first.fix) == ("sparse", "even_transposed_conv", None)
    shared = layers.Conv2DTranspose(3, 3, strides=2, padding="same", name="shared")
    inputs = keras.Input((12, 12, 3))
    model = networks.filled(keras.Model(inputs, shared(shared(inputs))))
    risks = [f for f in diagnose(model).findings if f.severity == "risk"]
    assert [f.layer for f in risks] == ["shared"]


def test_images_may_come_in_batches_with_their_labels():
    model = networks.filled(networks.classifier())
    rng = np.random.default_rng(0)
    images = rng.random((300, 28, 28, 1)).astype("float32")
    labels = rng.integers(0, 4, 300)
    batches = [(images[i : i + 64], labels[i : i + 64]) for i in range(0, 300, 64)]
    in_batches, whole = diagnose(model, batches), diagnose(model, images[:256], labels[:256])
    assert in_batches.settings["probes"] == "256 given"
    assert in_batches.findings == whole.findings
    shifts = [diagnosis.evidence["shifts"] for diagnosis in (in_batches, whole)]
    assert shifts[0].accuracy == shifts[1].accuracy
