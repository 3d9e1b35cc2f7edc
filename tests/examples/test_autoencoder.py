"""The autoencoder: its stated result, and what it makes of flats."""

import numpy as np
import pytest

import autoencoder


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    return autoencoder.main(["--quick", "--out", str(tmp_path_factory.mktemp("quick"))])


def test_even_phases_answer_constant_codes_with_constants(figures):
    assert set(figures) == {"transposed3", "even3"}
    assert figures["transposed3"]["flats"] > 0.02
    assert figures["even3"]["flats"] < 1e-9


def test_both_learn(figures):
    for row in figures.values():
        assert row["steps"] == 20
        assert 0 < row["error"] < 0.2


@pytest.mark.parametrize("name", autoencoder.UPSAMPLING)
def test_all_have_the_same_sizes(name):
    network, decoder = autoencoder.autoencoder(name)
    assert network(np.zeros((1, 28, 32, 1))).shape == (1, 28, 32, 1)
    assert decoder(np.zeros((1, 7, 8, 4))).shape == (1, 28, 32, 1)
