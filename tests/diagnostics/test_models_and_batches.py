"""The measures ask any model of the backend, about arrays or batches that arrive one by one."""

import weakref

import keras
import numpy as np
import pytest
from keras import layers

from keras_cnnfix.diagnostics import (
    constant_response,
    input_gradient,
    segmentation_shift_consistency,
    shift,
    shift_consistency,
    shift_psnr,
)


@pytest.fixture
def images(rng):
    return rng.random((12, 20, 21, 2))  # float64, as NumPy makes them


def _corner(x):
    """Two classes, by the first pixel alone."""
    return np.stack([x[:, 0, 0, 0], np.full(len(x), 0.5)], axis=1)


def _same(result, expected):
    for name in ("agreement", "agreement_when_right", "accuracy", "shifts", "agree"):
        np.testing.assert_array_equal(getattr(result, name), getattr(expected, name))


def _of_backend(backend):
    """`_corner`, twice the image and the image's own scores, of the backend's own operations."""
    if backend == "torch":
        import torch

        return (
            lambda x: torch.stack([x[:, 0, 0, 0], torch.full_like(x[:, 0, 0, 0], 0.5)], dim=1),
            lambda x: x.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2),
            lambda x: torch.cat([x, 1 - x], dim=-1),
        )
    if backend == "tensorflow":
        import tensorflow as tf

        return (
            tf.function(lambda x: tf.stack([x[:, 0, 0, 0], 0.5 + 0 * x[:, 0, 0, 0]], axis=1)),
            lambda x: tf.repeat(tf.repeat(x, 2, axis=1), 2, axis=2),
            lambda x: tf.concat([x, 1 - x], axis=-1),
        )
    import jax
    import jax.numpy as jnp

    return (
        jax.jit(lambda x: jnp.stack([x[:, 0, 0, 0], 0.5 + 0 * x[:, 0, 0, 0]], axis=1)),
        jax.jit(lambda x: jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)),
        lambda x: jnp.concatenate([x, 1 - x], axis=-1),
    )


def test_functions_of_the_backend_answer_as_functions_of_arrays(images, backend):
    corner, twice, scores = _of_backend(backend)
    expected = shift_consistency(_corner, images, 5, np.arange(12) % 2)
    _same(shift_consistency(corner, images, 5, np.arange(12) % 2), expected)
    assert shift_psnr(twice, images, 5) == float("inf")
    assert segmentation_shift_consistency(scores, images, 5) == 1
    assert constant_response(twice, (8, 8, 1)).outputs.shape == (5, 16, 16, 1)


def test_a_function_gets_arrays_where_it_takes_them_and_tensors_otherwise(images):
    asked = []

    def takes(kind):
        def function(x):
            asked.append(type(x))
            assert isinstance(x, kind)
            return np.asarray(keras.ops.convert_to_numpy(x))[:, 0, 0, :2]

        return function

    shift_consistency(takes(np.ndarray), images, 5, trials=3)
    assert asked == [np.ndarray] * 6
    tensor = type(keras.ops.convert_to_tensor(images))
    asked.clear()
    shift_consistency(takes(tensor), images, 5, trials=3)
    assert asked == [np.ndarray] + [tensor] * 6  # What it takes is found out once.


def test_the_fault_of_a_function_is_raised(images):
    def broken(x):
        raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        shift_consistency(broken, images, 5)


def test_a_layer_of_keras_is_asked_in_inference_mode(images):
    assert shift_psnr(layers.GaussianNoise(1.0), images, 5) == float("inf")


def _torch_module(dtype=None):
    import torch

    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 3),
        torch.nn.BatchNorm2d(4),
        torch.nn.Dropout(0.5),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(4, 3),
    ).to(dtype)
    module[1].eval()  # as in fine-tuning: its mode is not that of the whole
    return module


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_a_torch_module_is_asked_in_evaluation_mode_and_gets_its_modes_back(dtype, images, backend):
    if backend != "torch":
        pytest.skip("a module of PyTorch")
    import torch

    module = _torch_module(getattr(torch, dtype))
    modes = [part.training for part in module.modules()]
    before = {name: value.clone() for name, value in module.state_dict().items()}
    settings = {"max_shift": 5, "data_format": "channels_first"}
    nchw = np.moveaxis(images, 3, 1)
    grown = []
    module.register_forward_hook(lambda _, x, y: grown.append((y.requires_grad, x[0].dtype)))
    result = shift_consistency(module, nchw, **settings)
    _same(shift_consistency(module, nchw, **settings), result)  # no dropout
    assert set(grown) == {(False, getattr(torch, dtype))}
    gradient = input_gradient(module, nchw, data_format="channels_first")
    np.testing.assert_array_equal(
        gradient, input_gradient(module, nchw, data_format="channels_first")
    )
    assert gradient.shape == (12, 20, 21, 2)
    assert [part.training for part in module.modules()] == modes
    assert any(modes)
    assert all((value == before[name]).all() for name, value in module.state_dict().items())

    def fail(*_):
        raise RuntimeError("out of luck")

    module.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="out of luck"):
        shift_consistency(module, nchw, **settings)
    assert [part.training for part in module.modules()] == modes


def test_torch_modules_of_images_are_measured_as_functions_are(images, backend):
    if backend != "torch":
        pytest.skip("a module of PyTorch")
    import torch

    nchw, settings = np.moveaxis(images, 3, 1), {"data_format": "channels_first"}
    assert shift_psnr(torch.nn.Upsample(scale_factor=2), nchw, 5, **settings) == float("inf")
    assert segmentation_shift_consistency(torch.nn.Conv2d(2, 3, 1), nchw, 5, **settings) == 1
    strided = torch.nn.ConvTranspose2d(3, 1, 3, stride=2)
    response = constant_response(strided, (3, 12, 14), border=4, **settings)
    assert response.outputs.shape == (5, 17, 21, 1)
    assert response.energy[-1] > 1e-3


def _generator(images, labels, sizes):
    start = 0
    for size in sizes:
        stop = start + size
        yield images[start:stop] if labels is None else (images[start:stop], labels[start:stop])
        start = stop


class _Batches(keras.utils.PyDataset):
    def __init__(self, images, labels):
        super().__init__()
        self.pairs = images, labels

    def __len__(self):
        return 3

    def __getitem__(self, n):
        return tuple(array[5 * n : 5 * n + 5] for array in self.pairs)


def _sources(images, labels):
    import tensorflow as tf
    import torch

    tensors = [torch.from_numpy(array) for array in (images, labels)]
    dataset = torch.utils.data.TensorDataset(*tensors)
    return {
        "generator": _generator(images, labels, (5, 1, 6)),
        "other batches": _generator(images, labels, (2, 10)),
        "PyDataset": _Batches(images, labels),
        "tf.data": tf.data.Dataset.from_tensor_slices((images, labels)).batch(5),
        "DataLoader": torch.utils.data.DataLoader(dataset, batch_size=4),
        "weights": [(images, labels, np.ones(12))].__iter__(),
    }


def test_every_source_of_batches_gives_the_pairs_of_its_seed(images):
    labels = np.arange(12)[:, None] % 2
    images = images.astype("float32")
    sources = _sources(images, labels)
    results = [shift_consistency(_corner, batches, 5, seed=4) for batches in sources.values()]
    rng, agree, right, shifts = np.random.default_rng(4), [], [], []
    for image, label in zip(images, labels, strict=True):
        drawn = rng.integers(0, 6, (5, 2, 2))  # image by image: trials, the two, height and width
        pair = np.array([[image[y, x, 0] <= 0.5 for y, x in both] for both in drawn])
        agree.append(pair[:, 0] == pair[:, 1])
        right.append(pair == label)
        shifts.append(drawn[:, 1] - drawn[:, 0])
    either = np.array(right).any(-1)
    for name, result in zip(sources, results, strict=True):
        assert result.agreement == np.mean(agree), name
        assert result.accuracy == np.mean(right), name
        assert result.agreement_when_right == np.array(agree)[either].mean(), name
        assert sorted(map(tuple, result.shifts)) == sorted(map(tuple, np.concatenate(shifts)))


def test_the_other_measures_take_batches_too(images):
    sizes = (5, 1, 6)
    masks = np.zeros((12, 20, 21), int)
    assert shift_psnr(lambda x: x[:, ::2], _generator(images, None, sizes), 4) == float("inf")
    scores = lambda x: np.concatenate([x, 1 - x], axis=-1)  # noqa: E731
    batches = _generator(images, masks, sizes)
    assert segmentation_shift_consistency(scores, batches, 4) == 1


def test_batches_may_differ_in_size(rng):
    sides = [(20, 24), (16, 18), (20, 24)]
    batches = [rng.random((2, *side, 1)) for side in sides]
    enlarge = lambda x: x.repeat(3, axis=1)  # noqa: E731
    assert shift_psnr(enlarge, iter(batches), 4) == float("inf")


@pytest.mark.parametrize("labelled", [False, True])
def test_a_batch_is_asked_for_when_the_one_before_has_been_used_and_let_go(labelled, rng):
    last, events = (lambda: None), []

    def batches():
        nonlocal last
        for n in range(30):
            assert last() is None, "the batch before is still held"
            images = rng.random((4, 16, 16, 1)).astype("float32")
            last = weakref.ref(images)
            events.append(("made", n))
            pair = (images, np.zeros(4, int)) if labelled else images
            del images
            yield pair
            del pair

    def model(x):
        events.append(("asked", len(x)))
        return _corner(x)

    shift_consistency(model, batches(), 3, trials=2)
    expected = [[("made", n)] + [("asked", 4)] * 4 for n in range(30)]
    assert events == [event for batch in expected for event in batch]


@pytest.mark.parametrize(("sized", "total"), [(True, 9), (False, None)])
def test_the_progress_bar_knows_the_length_where_the_batches_do(sized, total, images, monkeypatch):
    seen = []

    class Bar(shift.tqdm):  # type: ignore[name-defined]
        def __init__(self, *args, **settings):
            seen.append(self)
            super().__init__(*args, **settings)

    monkeypatch.setattr(shift, "tqdm", Bar)
    labels = np.zeros((12, 1), int)
    batches = _Batches(images, labels) if sized else _generator(images, labels, (5, 5, 2))
    shift_consistency(_corner, batches, 5, trials=3)
    assert [(bar.total, bar.n) for bar in seen] == [(total, 9)]


@pytest.mark.parametrize("shape", [(12,), (12, 1)])
@pytest.mark.parametrize("kind", ["array", "list", "tensor", "float"])
def test_labels_of_both_shapes_count_the_same(shape, kind, images):
    labels = (np.arange(12) % 2).reshape(shape)
    expected = shift_consistency(_corner, images, 5, np.arange(12) % 2)
    given = {
        "array": labels,
        "list": labels.tolist(),
        "tensor": keras.ops.convert_to_tensor(labels),
        "float": labels.astype("float32"),
    }[kind]
    _same(shift_consistency(_corner, images, 5, given), expected)
    assert 0 < expected.accuracy < 1


def _mixed(x):
    return iter([(x, np.zeros(12, int)), x])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: shift_consistency(_corner, x, 2, np.eye(12)), r"with labels.argmax\(-1\)"),
        (lambda x: shift_consistency(_corner, x, 2, np.full(12, 0.5)), "one integer an image"),
        (lambda x: shift_consistency(_corner, x, 2, ["cat"] * 12), "one integer an image"),
        (lambda x: shift_consistency(_corner, iter([x]), 2, np.zeros(12)), "Let it give tuples"),
        (lambda x: shift_consistency(_corner, iter([]), 2), "one batch or more"),
        (lambda x: shift_consistency(_corner, iter([{"image": x}]), 2), "Received: a dict"),
        (lambda x: shift_consistency(_corner, iter([x[0]]), 2), "must have 4 dimensions"),
        (lambda x: shift_consistency(_corner, 5, 2), "or an iterable of batches"),
        (lambda x: shift_consistency(_corner, _mixed(x), 2), "labels with every batch, or"),
        (lambda x: shift_consistency(_corner, x, 2, batch_size=0), "`batch_size` must be"),
        (lambda x: shift_psnr(lambda y: {"a": y}, x, 2), r"must have one output.*a dict of 1\."),
    ],
)
def test_messages(call, message, images):
    with pytest.raises(ValueError, match=message):
        call(images)
