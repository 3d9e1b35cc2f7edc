"""The repair of a classifier: steadier under shifts, and as often right."""

import pytest

import shift_repair


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    return shift_repair.main(["--quick", "--out", str(tmp_path_factory.mktemp("quick"))])


def test_it_keeps_its_answer_more_often(figures):
    fixed, control = figures["fixed, one more epoch"], figures["one more epoch"]
    assert fixed["consistency"] > control["consistency"]


def test_it_is_as_often_right(figures):
    assert figures["fixed, one more epoch"]["accuracy"] > figures["as it was"]["accuracy"] - 0.01
