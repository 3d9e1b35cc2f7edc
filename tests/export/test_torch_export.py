"""`.pt2` files of any size from PyTorch, of every layer at every setting of the contract."""

import keras
import numpy as np
import pytest
from cases import CASES

import export
from images import assert_close, to_format

pytestmark = [
    pytest.mark.skipif(keras.backend.backend() != "torch", reason="torch.export is PyTorch's"),
    pytest.mark.filterwarnings("ignore"),  # Of the exporter.
]


@pytest.mark.parametrize("case", sorted(CASES))
def test_a_file_for_any_size(case, data_format, tmp_path):
    cls, settings, (_, _, channels) = CASES[case]
    sizes = (None, None, channels) if data_format == "channels_last" else (channels, None, None)
    model = keras.Sequential([keras.Input(sizes), cls(**settings, data_format=data_format)])
    rng = np.random.default_rng(7)
    batches = [
        np.ascontiguousarray(to_format(rng.normal(size=(count, *size, channels)), data_format))
        for count, size in [(2, (5, 6)), (3, (8, 11))]
    ]
    answer = export.torch_export(model, str(tmp_path / "model.pt2"), batches[0])
    for images in batches:
        assert_close(answer(images), model(images).detach().numpy(), 1e-5)
