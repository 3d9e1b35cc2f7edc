import math

import numpy as np
import pytest

from keras_cnnfix.ops import kernels


@pytest.mark.parametrize("size", range(1, 9))
def test_binomial_is_a_row_of_pascals_triangle(size):
    row = np.array([math.comb(size - 1, t) for t in range(size)])
    np.testing.assert_allclose(kernels.binomial(size), row / row.sum(), rtol=1e-15)


@pytest.mark.parametrize(
    ("size", "expected"), [(1, (0, 0)), (2, (0, 1)), (3, (1, 1)), (4, (1, 2)), (5, (2, 2))]
)
def test_sides_keep_the_size_and_reach_further_right(size, expected):
    assert kernels.sides(size) == expected
    assert sum(expected) == size - 1


def test_box_sums_to_one():
    np.testing.assert_allclose(kernels.box(3), [1 / 3] * 3)
