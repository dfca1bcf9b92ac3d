"""The conditions of partitions, and what a plan says against cutting. Against a server: tests/integration."""

from __future__ import annotations

import re
from typing import Any

import pytest

from sync_pipeline.errors import SourceQueryError
from sync_pipeline.schema import Field, Schema
from sync_pipeline.sources.postgresql import repeatable
from sync_pipeline.sources.postgresql.repeatable import scanned_relations, why_not_splittable
from sync_pipeline.sources.postgresql.split_points import ReadStatement, SplitColumn, where
from sync_pipeline.sources.postgresql.splits import SPLIT_BYTES, of_key, ranges, small_read


class Catalog:
    """A cursor to a catalog in which these functions may answer otherwise each time; True for volatile ones."""

    def __init__(self, **functions: bool) -> None:
        self._functions = functions
        self._found: list[tuple[str, bool]] = []

    def execute(self, _: str, values: dict[str, Any]) -> None:
        self._found = [(name, self._functions[name]) for name in values["names"] if name in self._functions]

    def fetchall(self) -> list[tuple[str, bool]]:
        return self._found


@pytest.mark.parametrize(
    ("bounds", "with_null", "expected"),
    [
        pytest.param(["10"], False, ["c <= 10", "c > 10"], id="two"),
        pytest.param(["10"], True, ["c <= 10 OR c IS NULL", "c > 10"], id="two with NULL"),
        pytest.param(["1", "2", "3"], False, ["c <= 1", "c > 1 AND c <= 2", "c > 2 AND c <= 3", "c > 3"], id="four"),
    ],
)
def test_ranges(bounds: list[str], with_null: bool, expected: list[str]) -> None:
    assert ranges("c", bounds, with_null=with_null) == expected


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        pytest.param((), "", id="none"),
        pytest.param(("a OR b",), "\nWHERE a OR b", id="one"),
        pytest.param(("a OR b", "c"), "\nWHERE (a OR b)\n  AND (c)", id="two"),
    ],
)
def test_conditions_do_not_mix(conditions: tuple[str, ...], expected: str) -> None:
    assert where(conditions) == expected


def test_a_statement_keeps_its_conditions() -> None:
    statement = ReadStatement("q.a", "(SELECT 1 AS a) AS q", ("q.a > 0 OR q.a IS NULL",))
    assert statement.where() == "SELECT q.a\nFROM (SELECT 1 AS a) AS q\nWHERE q.a > 0 OR q.a IS NULL"
    assert statement.where("q.a <= 5") == (
        "SELECT q.a\nFROM (SELECT 1 AS a) AS q\nWHERE (q.a > 0 OR q.a IS NULL)\n  AND (q.a <= 5)"
    )


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        pytest.param({"Node Type": "Seq Scan"}, None, id="scan"),
        pytest.param({"Node Type": "Limit"}, "it has a LIMIT or OFFSET", id="limit"),
        pytest.param({"Node Type": "Seq Scan", "Plans": [{"Node Type": "Limit"}]}, "it has a LIMIT", id="limit below"),
        pytest.param({"Node Type": "Custom Scan"}, "its plan has the node Custom Scan", id="unknown node"),
        pytest.param({"Node Type": "Result", "Output": ["a", "now()"]}, "it calls now()", id="now"),
        pytest.param({"Node Type": "Seq Scan", "Filter": "(d > CURRENT_DATE)"}, "it uses CURRENT_DATE", id="today"),
        pytest.param({"Node Type": "Seq Scan", "Filter": "(shop.pick(a) > 1)"}, "it calls pick()", id="volatile"),
        pytest.param({"Node Type": "Seq Scan", "Filter": '("My F"(a) > 1)'}, "it calls My F()", id="quoted name"),
        pytest.param({"Node Type": "Seq Scan", "Filter": "(look(a) > 1)"}, "declared only stable", id="stable"),
        pytest.param({"Node Type": "Seq Scan", "Filter": "(lower(t) = 'now()'::text)"}, None, id="in a text"),
        pytest.param({"Node Type": "Seq Scan", "Filter": "(t = 'it''s now()'::text)"}, None, id="quotes in a text"),
    ],
)
def test_why_not_splittable(step: dict[str, Any], expected: str | None) -> None:
    catalog = Catalog(pick=True, look=False, **{"My F": True})
    found = why_not_splittable(catalog, "SELECT 1", step)
    assert found is None if expected is None else found is not None and expected in found


@pytest.mark.parametrize("text", ["'now'", "' Today '", "'YESTERDAY'"])
def test_texts_that_mean_a_moment(text: str) -> None:
    assert why_not_splittable(Catalog(), f"SELECT {text}::timestamptz", {"Node Type": "Result"}) is not None


def test_every_reason_belongs_to_a_node_that_is_not_repeatable() -> None:
    assert not repeatable._NOT_SPLITTABLE.keys() & repeatable._REPEATABLE_NODES
    assert all(re.match(r"it .*\w$", said) for said in repeatable._NOT_SPLITTABLE.values())


def test_scanned_relations() -> None:
    plan = {
        "Node Type": "Append",
        "Plans": [
            {"Node Type": "Seq Scan", "Schema": "public", "Relation Name": "a"},
            {"Node Type": "Index Scan", "Schema": "My Schema", "Relation Name": "b c"},
            {"Node Type": "Function Scan"},
        ],
    }
    assert scanned_relations(plan) == {"public.a", "My Schema.b c", "Function Scan"}


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param([], True, id="alone"),
        pytest.param([{"Node Type": "Seq Scan", "Schema": "public", "Relation Name": "b"}], True, id="its partition"),
        pytest.param([{"Node Type": "Seq Scan", "Schema": "public", "Relation Name": "c"}], False, id="another"),
        pytest.param([{"Node Type": "Nested Loop", "Join Type": "Left"}], False, id="joined with itself"),
    ],
)
def test_reads_only(steps: list[dict[str, Any]], expected: bool) -> None:
    plan = {"Node Type": "Seq Scan", "Schema": "public", "Relation Name": "a", "Plans": steps}
    assert repeatable.reads_only(plan, frozenset({"public.a", "public.b"})) is expected


def test_the_error_is_one_of_the_source() -> None:
    assert SourceQueryError("x").exit_code == 2


@pytest.mark.parametrize(
    ("rows", "size", "num_partitions", "reason"),
    [
        pytest.param(100, 2**20, None, "one is enough for about 100 rows, 1 MiB", id="small"),
        pytest.param(None, 2**20, None, "one is enough for 1 MiB", id="never analysed"),
        pytest.param(10**9, 2 * SPLIT_BYTES, None, None, id="large"),
        pytest.param(100, None, None, None, id="unknown size"),
        pytest.param(10**9, 10**12, 1, "from num_partitions", id="one is asked for"),
        pytest.param(1999, 10**12, 8, "one is enough for about 1,999 rows, 953,674 MiB", id="few rows"),
        pytest.param(2000, 0, 8, None, id="enough rows for two"),
        pytest.param(None, 0, 8, None, id="unknown rows"),
    ],
)
def test_a_small_table_is_read_by_one_statement(
    rows: int | None, size: int | None, num_partitions: int | None, reason: str | None
) -> None:
    read = small_read(ReadStatement("*", "t AS q"), rows, size, num_partitions, reads_all=True)
    assert (read.reason if read else None) == reason
    if read is not None:
        assert (read.statements, read.estimated_rows) == (("SELECT *\nFROM t AS q",), rows)


def test_how_many_rows_an_interval_has_is_unknown() -> None:
    read = small_read(ReadStatement("*", "t AS q", ("n > 1",)), 100, 0, None, reads_all=False)
    assert read is not None
    assert read.estimated_rows is None


def test_keys_are_split_by_themselves_alone() -> None:
    candidates = [SplitColumn("tenant", "int4", 1, 1), SplitColumn("id", "int4", 1, 2)]
    assert [column.name for column in of_key(candidates, Schema((Field("id", "INT64"),)))] == ["id"]
