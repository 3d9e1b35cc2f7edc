"""`torch.compile`, for several sizes in a row, and `torch.func`."""

import keras
import numpy as np
import pytest
from cases import CASES

import keras_cnnfix as kc
from images import assert_close, to_format

torch = pytest.importorskip("torch")

pytestmark = [
    pytest.mark.skipif(keras.backend.backend() != "torch", reason="torch.compile is PyTorch's"),
    pytest.mark.filterwarnings("ignore"),  # Of the compiler.
]

SIZES = [(8, 6), (10, 12), (9, 7)]


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture(params=sorted(CASES))
def case(request):
    return request.param


def _layer(case, data_format):
    cls, settings, (height, width, channels) = CASES[case]
    layer = cls(**settings, data_format=data_format)
    layer.build(to_format(np.empty((1, height, width, channels)), data_format).shape)
    return layer


def _batch(channels, data_format, size, batch=2):
    images = np.random.default_rng(7).normal(size=(batch, *size, channels))
    return torch.from_numpy(to_format(images, data_format)).contiguous()


def _answer_and_gradients(function, module, images):
    images = images.clone().requires_grad_()
    y = function(images)
    wanted = [images, *(v.value for v in module.trainable_variables)]
    return [t.detach().numpy() for t in (y, *torch.autograd.grad(y.square().sum(), wanted))]


def _assert_the_same_compiled(module, channels, data_format, compiler):
    compiled = torch.compile(module, backend=compiler)
    for size in SIZES:
        images = _batch(channels, data_format, size)
        expected = _answer_and_gradients(module, module, images)
        found = _answer_and_gradients(compiled, module, images)
        for one, other in zip(found, expected, strict=True):
            assert_close(one, other, 1e-4)


@pytest.mark.parametrize(
    "case", ["adaptive", "blur_pool", "max_blur_pool", "nib_conv", "resize_conv", "subpixel_conv"]
)
def test_compiled_layer_for_several_sizes(case):
    """By the compiler's front half, which takes seconds and not half a minute."""
    layer = _layer(case, "channels_last")
    _assert_the_same_compiled(layer, CASES[case][2][2], "channels_last", "aot_eager")


def test_compiled_network_for_several_sizes():
    """By Inductor, which fails on what the front half takes: views, and gradients by hand."""
    network = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            kc.NIB(4, fixed=True, seed=1),
            kc.AdaptiveAntiAlias(groups=2, gamma_initializer="ones"),
            kc.ResizeConv2D(4),
            kc.SubPixelConv(2),
        ]
    )
    _assert_the_same_compiled(network, 3, "channels_last", "inductor")


def test_torch_func(case, data_format):
    """`grad` of the weights and images, and `vmap` over images, as autograd has them."""
    layer = _layer(case, data_format)
    images = _batch(CASES[case][2][2], data_format, SIZES[0])

    frozen = [v.value for v in layer.non_trainable_variables]

    def loss(weights, images):
        return layer.stateless_call(weights, frozen, images)[0].square().sum()

    weights = [v.value for v in layer.trainable_variables]
    of_weights, of_images = torch.func.grad(loss, argnums=(0, 1))(weights, images)
    _, *expected = _answer_and_gradients(layer, layer, images)
    for one, other in zip([of_images, *of_weights], expected, strict=True):
        assert_close(one.detach().numpy(), other, 1e-5)

    one_by_one = torch.func.vmap(lambda image: layer(image[None])[0])(images)
    assert_close(one_by_one.detach().numpy(), layer(images).detach().numpy(), 1e-5)
