"""What a comparison has found, as text and as values."""

from __future__ import annotations

from dataclasses import replace

from sync_pipeline.output.run_output import DifferencesOutput
from sync_pipeline.publishing.comparison_report import count_lines, outcome_of_comparison, values_of
from sync_pipeline.publishing.strategy import DifferenceCounts
from tests.plans import plan

NOTHING = DifferenceCounts(
    source_rows=1200,
    destination_rows=1201,
    missing=0,
    different=0,
    surplus=0,
    by_column={},
    new_missing=0,
    new_different=0,
    new_surplus=0,
    later=0,
    older=0,
    unjudged=0,
    rejected=0,
    is_repaired=False,
    max_percent=10,
)
FOUND = replace(NOTHING, missing=1, different=2, surplus=3, by_column={"name": 2, "price": 1}, new_different=40)


def test_the_table_of_counts() -> None:
    assert list(count_lines("p.d.t", FOUND)) == [
        "reconcile: p.d.t",
        "reconcile:   rows of the source             1,200",
        "reconcile:   rows of the destination        1,201",
        "reconcile:   missing                            1",
        "reconcile:   different                          2",
        "reconcile:     in name                          2",
        "reconcile:     in price                         1",
        "reconcile:   surplus                            3",
        "reconcile:   not yet synced: to be updated     40",
    ]


def test_the_outcome() -> None:
    table = plan()
    name = table.table_id
    assert outcome_of_comparison(table, NOTHING) == f"reconcile: {name} equals the source"
    assert outcome_of_comparison(table, FOUND) == (
        f"reconcile: {name} differs from the source: 1 missing, 2 different, 3 surplus rows; 40 not yet synced"
    )
    repaired = replace(FOUND, is_repaired=True)
    assert outcome_of_comparison(table, repaired).startswith(f"reconcile: repaired {name}: 1 missing")
    refused = replace(repaired, surplus=1000)
    assert "3 surplus rows, but" not in outcome_of_comparison(table, repaired)
    assert "1,000 surplus rows, but no surplus row was removed" in outcome_of_comparison(table, refused)


def test_what_is_left_after_a_run() -> None:
    repaired = replace(FOUND, is_repaired=True)
    assert (NOTHING.left, FOUND.left, repaired.left) == (0, 6, 0)
    assert replace(repaired, surplus=200).left == 200


def test_a_source_that_shows_nothing_is_refused_unless_all_is_allowed() -> None:
    emptied = replace(NOTHING, is_repaired=True, destination_rows=5, surplus=5)
    assert [replace(emptied, max_percent=percent).is_refused for percent in (0, 10, 99, 100)] == [
        True,
        True,
        True,
        False,
    ]
    small = replace(emptied, surplus=4)
    assert [replace(small, max_percent=percent).is_refused for percent in (0, 3, 4)] == [True, True, False]


def test_the_values_for_json() -> None:
    values = values_of(replace(FOUND, is_repaired=True))
    assert values["different_by_column"] == {"name": 2, "price": 1}
    assert values["repaired"] is True
    assert DifferencesOutput(**values).model_dump() == values
