"""How the examples' tests are shared out."""

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items):
    """One process has all tests of an example, so that its quick run is made once (xdist)."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
