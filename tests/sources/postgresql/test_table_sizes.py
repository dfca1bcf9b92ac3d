import pytest

from sync_pipeline.sources.postgresql.table_sizes import TableSize, _size, total


@pytest.mark.parametrize(
    ("rows", "analysed_pages", "pages", "expected"),
    [
        pytest.param(100, 10, 10, 100, id="analysed"),
        pytest.param(100, 10, 25, 250, id="grown since"),
        pytest.param(-1, 0, 5, None, id="never analysed"),
        pytest.param(0, 0, 5, None, id="never analysed, before version 14"),
        pytest.param(100, 10, 0, 0, id="truncated since"),
        pytest.param(-1, 0, 0, 0, id="new and empty"),
        pytest.param(100, 10, None, 100, id="locked"),
    ],
)
def test_rows(rows: float, analysed_pages: int, pages: int | None, expected: int | None) -> None:
    assert _size(True, rows, analysed_pages, pages, None).rows == expected


def test_a_foreign_table_has_rows_and_no_pages() -> None:
    assert _size(False, 7, 0, None, None) == TableSize(7, None)


def test_a_total_is_known_if_all_its_parts_are() -> None:
    assert total([TableSize(1, 10), TableSize(2, 20)]) == TableSize(3, 30)
    assert total([TableSize(1, None), TableSize(None, 20)]) == TableSize(None, None)
    assert total([TableSize(1, 10), None]) == TableSize(None, None)
    assert total([]) == TableSize(0, 0)
