"""docs/export.md says of each layer and format what is so when it is run."""

import pytest
import table

pytestmark = pytest.mark.filterwarnings("ignore")  # Of the converters: they are not ours.


@pytest.fixture(scope="module")
def page():
    return table.written()


def test_the_page_has_every_layer_and_format(page):
    assert list(page) == list(table.ROWS)
    assert all(list(cells) == list(table.COLUMNS) for cells in page.values())


@pytest.mark.parametrize("column", table.COLUMNS)
@pytest.mark.parametrize("row", table.ROWS)
def test_a_cell_of_the_page_is_what_is_found(row, column, page):
    pytest.importorskip(table.COLUMNS[column][2], reason="writes this format")
    found = table.cell(row, column)
    assert table.same(found, page[row][column]), found
