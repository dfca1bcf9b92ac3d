"""The partition of a row, with BigQuery's partition ids."""

from local_bigquery.catalog import metadata
from local_bigquery.engine.database import quote
from local_bigquery.models import Table
from sqlglot import exp

UNPARTITIONED, NULL = "__UNPARTITIONED__", "__NULL__"
_FORMATS = {"YEAR": "%Y", "MONTH": "%Y%m", "DAY": "%Y%m%d", "HOUR": "%Y%m%d%H"}
_COMPARISONS = (exp.EQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Between, exp.In, exp.Is)


def partition_column(table: Table | None) -> str | None:
    """Return the partition column of a table; None if it has none or is partitioned by ingestion time."""
    if not table:
        return None
    partitioning = table.timePartitioning or table.rangePartitioning
    return partitioning.field if partitioning else None


def partition_id(table: Table, column: str | None = None) -> str:
    """Return DuckDB's expression for a row's partition id; `column` is the expression for the partition column.

    Dates outside 1960-01-01 to 2159-12-31 are in the partition `__UNPARTITIONED__`:
    https://cloud.google.com/bigquery/docs/partitioned-tables#date_timestamp_partitioned_tables
    """
    value = column or quote(partition_column(table))
    if table.timePartitioning:
        moment = f"CAST({value} AS TIMESTAMP)"
        text = f"strftime({moment}, '{_FORMATS[table.timePartitioning.type or 'DAY']}')"
        inside = f"{moment} >= TIMESTAMP '1960-01-01' AND {moment} < TIMESTAMP '2160-01-01'"
    else:
        bounds = table.rangePartitioning.range
        start, end, step = int(bounds.start), int(bounds.end), int(bounds.interval)
        text = f"CAST({start} + (({value} - {start}) // {step}) * {step} AS VARCHAR)"
        inside = f"{value} >= {start} AND {value} < {end}"
    return f"CASE WHEN {value} IS NULL THEN '{NULL}' WHEN {inside} THEN {text} ELSE '{UNPARTITIONED}' END"


def stored(reference) -> Table | None:
    """Return the emulator's record of a table, or None."""
    return metadata.load(Table, *reference)


def conditions(table):
    """Yield the conditions on the table's rows, each with the names that the table has in it.

    The conditions are WHERE and ON of the statements around the table.
    """
    node, aliases = table.parent, {table.alias_or_name.casefold(), ""}
    while node is not None:
        for key in ("where", "on"):
            found = node.args.get(key)
            if isinstance(found, exp.Expression):
                yield (found.this if isinstance(found, exp.Where) else found), aliases
        for join in node.args.get("joins") or []:
            if not join.side and join.args.get("on") is not None:
                yield join.args["on"], aliases
        if isinstance(node, exp.Subquery | exp.CTE) and node.alias:
            aliases = aliases | {node.alias.casefold()}
        node = node.parent


def prunes(condition, columns, aliases) -> bool:
    """Return whether a condition compares only these columns, of a table with one of these names, with known values."""
    match condition:
        case exp.Paren() | exp.Not():
            return prunes(condition.this, columns, aliases)
        case exp.And():
            return any(prunes(one, columns, aliases) for one in (condition.left, condition.right))
        case exp.Or():
            return all(prunes(one, columns, aliases) for one in (condition.left, condition.right))
    if not isinstance(condition, _COMPARISONS) or condition.find(exp.Query):
        return False
    compared = list(condition.this.find_all(exp.Column)) or list(condition.find_all(exp.Column))
    named = {column.name.casefold() for column in compared}
    owners = {column.table.casefold() for column in condition.find_all(exp.Column)}
    return bool(named) and named <= columns and owners <= aliases


def pruning_filter(table, column) -> exp.Expression | None:
    """Return the statement's filter on the table's partition column that is known before it runs, or None."""
    found = []
    for condition, aliases in conditions(table):
        parts = list(condition.flatten()) if isinstance(condition, exp.And) else [condition]
        found += [part for part in parts if prunes(part, {column.casefold()}, aliases)]
    if not found:
        return None
    combined = exp.and_(*(part.copy() for part in found))
    for one in combined.find_all(exp.Column):
        one.set("table", None)
    return combined
