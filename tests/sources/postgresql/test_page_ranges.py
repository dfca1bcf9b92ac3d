from __future__ import annotations

import pytest

from sync_pipeline.sources.postgresql.page_ranges import page_ranges


@pytest.mark.parametrize(
    ("pages", "wanted", "expected"),
    [
        pytest.param(
            10,
            3,
            ["q.ctid < '(3,0)'", "q.ctid >= '(3,0)' AND q.ctid < '(6,0)'", "q.ctid >= '(6,0)'"],
            id="even",
        ),
        pytest.param(2, 5, ["q.ctid < '(1,0)'", "q.ctid >= '(1,0)'"], id="fewer pages than ranges"),
        pytest.param(1, 2, [""], id="one page"),
        pytest.param(0, 2, [""], id="no page"),
        pytest.param(10, 1, [""], id="one range"),
        pytest.param(10, 0, [""], id="no range"),
    ],
)
def test_ranges_of_pages(pages: int, wanted: int, expected: list[str]) -> None:
    assert page_ranges(pages, wanted) == expected
