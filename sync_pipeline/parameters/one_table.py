"""The values of parameters for one table of the source, and for its destination."""

from __future__ import annotations

from collections.abc import Iterator

from sync_pipeline.parameters.declaration import SourceTables, declared
from sync_pipeline.parameters.destination_names import SCHEMA_FIELD, TABLE_FIELD, destination_name, has_fields
from sync_pipeline.parameters.identifiers import check_table
from sync_pipeline.parameters.parameter import ParameterValues
from sync_pipeline.parameters.parsing import shown
from sync_pipeline.parameters.rows import DESTINATION
from sync_pipeline.parameters.source_tables import TableName

_DESTINATION = DESTINATION[-1]


def tables_of(values: ParameterValues) -> SourceTables | None:
    """Return how the run's source names tables; None if it reads only queries, or is unknown."""
    return declared(values["data_source"]).tables if values["data_source"] is not None else None


def for_one_table(values: ParameterValues) -> tuple[ParameterValues, list[str]]:
    """Return the values with the name of the source's table, and with the destination's complete name.

    The parameter of the source's table has a `TableName` or None. Also returns a sentence for each problem.
    """
    tables = tables_of(values)
    if tables is None or values[tables.parameter] is None:
        return _for_query(values)
    patterns = values[tables.parameter]
    table = patterns.literal
    if table is None:
        problem = f"{tables.parameter} is {shown(str(patterns))}: name one table"
        return values.with_value(tables.parameter, None, malformed=True), [problem]
    values = values.with_value(tables.parameter, table)
    if _DESTINATION in values.malformed:
        return values, []
    template = values[_DESTINATION] or TABLE_FIELD
    problems = list(destination_problems(template, table, tables))
    name = None if problems else destination_name(template, table)
    return values.with_value(_DESTINATION, name, malformed=bool(problems)), problems


def destination_problems(template: str, table: TableName, tables: SourceTables) -> Iterator[str]:
    """Yield what is wrong with the name of the destination table of a source's table."""
    if SCHEMA_FIELD in template and not tables.syntax.default_schema:
        yield f"{_DESTINATION} is {shown(template)}: tables of this source have no schema; use {TABLE_FIELD}"
        return
    name = destination_name(template, table)
    reason = check_table(name)
    if reason is not None:
        yield (
            f"{_DESTINATION} is {shown(name)}: {reason}; name another for {tables.syntax.written(table)}, with several "
            "tables in tables_file"
        )


def _for_query(values: ParameterValues) -> tuple[ParameterValues, list[str]]:
    given = values[_DESTINATION]
    if given is None or not has_fields(given):
        return values, []
    problem = f"{_DESTINATION} is {shown(given)}: a query has no table's name; write a name without braces"
    return values.with_value(_DESTINATION, None, malformed=True), [problem]
