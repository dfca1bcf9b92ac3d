from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.parameters.source_tables import TableName
from sync_pipeline.parameters.table_patterns import TableSyntax

SQL = TableSyntax(default_schema="public", folds_case=True)
PLAIN = TableSyntax()
SYNTAXES = pytest.mark.parametrize("syntax", [pytest.param(SQL, id="SQL"), pytest.param(PLAIN, id="plain")])

NAMES = st.text(st.sampled_from('aZé_1$ .,*?!"[]\\'), min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        pytest.param("orders", TableName("public", "orders"), id="without schema"),
        pytest.param("Sales.Orders", TableName("sales", "orders"), id="folded"),
        pytest.param('sales."Order Items"', TableName("sales", "Order Items"), id="quoted"),
        pytest.param('"a.b"."c,""d*"', TableName("a.b", 'c,"d*'), id="special characters"),
        pytest.param(" orders ", TableName("public", "orders"), id="spaces around"),
    ],
)
def test_a_name_of_sql(text: str, name: TableName) -> None:
    assert SQL.parse(text).literal == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        pytest.param("users", "users", id="plain"),
        pytest.param("fs.files", "fs.files", id="dots"),
        pytest.param("Größe 2", "Größe 2", id="space"),
        pytest.param(" users ", " users ", id="spaces around"),
        pytest.param('5"-disks', '5"-disks', id="quote inside"),
        pytest.param('"a*b"', "a*b", id="wildcard in quotes"),
        pytest.param('"a,b"', "a,b", id="comma in quotes"),
        pytest.param('"!a"', "!a", id="exclamation mark in quotes"),
    ],
)
def test_a_name_without_schemas(text: str, name: str) -> None:
    assert PLAIN.parse(text).literal == TableName("", name)


@pytest.mark.parametrize(
    ("text", "matched"),
    [
        pytest.param("*", {"public.a", "public.audit_1", "public.B c"}, id="default schema"),
        pytest.param("*.*", {"public.a", "public.audit_1", "public.B c", "sales.a"}, id="all schemas"),
        pytest.param("*.*,!*.audit_?", {"public.a", "public.B c", "sales.a"}, id="exclusion"),
        pytest.param("!*.audit_?,*.*", {"public.a", "public.B c", "sales.a"}, id="exclusion first"),
        pytest.param("a, sales.*", {"public.a", "sales.a"}, id="list"),
        pytest.param("audit_1,!audit_*", set(), id="exclusion of a name"),
        pytest.param('"B "*', {"public.B c"}, id="capitals and a wildcard"),
        pytest.param("audit_[1]", None, id="no classes"),
    ],
)
def test_patterns(text: str, matched: set[str] | None) -> None:
    tables = [TableName("public", name) for name in ("a", "audit_1", "B c")] + [TableName("sales", "a")]
    if matched is None:
        with pytest.raises(ValueError, match="in double quotes"):
            SQL.parse(text)
    else:
        assert {str(table) for table in tables if SQL.parse(text).matches(table)} == matched


def test_patterns_without_schemas() -> None:
    patterns = PLAIN.parse('fs.*, "a*", !fs.chunks')
    names = ["fs.files", "fs.chunks", "a*", "ab", "fsxfiles"]
    assert [name for name in names if patterns.matches(TableName("", name))] == ["fs.files", "a*"]


@pytest.mark.parametrize(
    ("syntax", "text", "problem"),
    [
        pytest.param(SQL, "a,,b", "an item is empty", id="empty item"),
        pytest.param(SQL, "a,", "an item is empty", id="comma at the end"),
        pytest.param(SQL, "!", "an item is empty", id="excludes nothing"),
        pytest.param(SQL, 'a,"b', "a quote is not closed", id="open quote"),
        pytest.param(PLAIN, '"b', "a quote is not closed", id="open quote without schemas"),
        pytest.param(SQL, "db.public.a", "write schema.table or table", id="three parts"),
        pytest.param(SQL, "my-table", "write schema.table or table", id="dash"),
        pytest.param(SQL, "1a", "write schema.table or table", id="digit"),
        pytest.param(SQL, '""', "a name is empty", id="empty quotes"),
        pytest.param(SQL, '"".a', "a name is empty", id="empty schema"),
        pytest.param(PLAIN, '""', "a name is empty", id="empty quotes without schemas"),
    ],
)
def test_problems(syntax: TableSyntax, text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        syntax.parse(text)


def test_many_wildcards_cost_no_time() -> None:
    assert not SQL.parse("*a" * 200).matches(TableName("public", "a" * 1000 + "b"))


@SYNTAXES
@given(name=NAMES, other=NAMES, schema=NAMES)
def test_a_written_name_matches_itself_alone(syntax: TableSyntax, name: str, other: str, schema: str) -> None:
    table = TableName(schema if syntax.default_schema else "", name)
    patterns = syntax.parse(syntax.written(table))
    assert patterns.literal == table
    assert patterns.matches(table)
    assert patterns.matches(TableName(table.schema, other)) == (other == name)


@SYNTAXES
@given(text=st.text(st.sampled_from('aB_.,*?!"[ $'), max_size=12), name=NAMES)
def test_a_text_is_read_or_refused(syntax: TableSyntax, text: str, name: str) -> None:
    table = TableName(syntax.default_schema, name)
    try:
        patterns = syntax.parse(text)
    except ValueError:
        return
    excluding = syntax.parse(f"{text},!{syntax.written(table)}")
    assert not excluding.matches(table)
    assert not (patterns.excludes(table) and patterns.matches(table))
    if not patterns.excludes(table):
        assert syntax.parse(f"{text},{syntax.written(table)}").matches(table)
