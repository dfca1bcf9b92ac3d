"""The queries that compare the destination with the source's rows, and find the rows that differ.

The result is a temporary table with a row for each difference: `row_key`, which tells the row or its key; `kind`; and
by key, a BOOL for each column that is compared. No value of a row but those of keys is in it.

Values are compared exactly. NaN equals NaN, NULL equals NULL, and types without equality are compared as JSON text.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

from sync_pipeline.googlesql import quoted, string_literal
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.planning.reconciliation import NextRun, Reconciliation
from sync_pipeline.publishing.merge import now_sql, required_filter, same_key
from sync_pipeline.publishing.rows_query import destination_alias, destination_rows
from sync_pipeline.schema import INTERVAL, RANGE, REPEATED, STRUCT, Field
from sync_pipeline.smart_sync.bounds import TimestampBounds
from sync_pipeline.smart_sync.interval import Bound, bound_literal
from sync_pipeline.transforms.in_sql import interval_condition

# The temporary tables: the source's rows, the differences, and the rows that stay of those that are there too often.
# A column takes precedence over a variable of the same name, and a table of the user is never named without a dataset.
SOURCE_ROWS, FOUND, KEPT = "sync_source", "sync_found", "sync_kept"

_TEXTS = ("JSON", "FLOAT64", RANGE, STRUCT)


class Kind(enum.StrEnum):
    """A kind of difference, or of rows that do not count as one.

    `ADDITIONAL`: the destination has the row more often than the source. `NEW_…`: the next run removes the difference
    by itself. `LATER`: a run that has read the source later has loaded the row. `OLDER`: an older version of a row.
    `UNJUDGED`: whether the row differs cannot be told.
    """

    MISSING = "missing"
    DIFFERENT = "different"
    SURPLUS = "surplus"
    ADDITIONAL = "additional"
    NEW_MISSING = "new_missing"
    NEW_DIFFERENT = "new_different"
    NEW_SURPLUS = "new_surplus"
    LATER = "later"
    OLDER = "older"
    UNJUDGED = "unjudged"


def found_sql(table: TableSync, rejected: int) -> str:
    """Return the query for the differences between the destination and the table `SOURCE_ROWS`.

    Args:
        rejected: how many rows of the source were rejected. Their older versions seem to be surplus.
    """
    return _Comparison(table, rejected).sql()


def columns_compared(table: TableSync) -> tuple[Field, ...]:
    """Return the columns whose differences are counted: all that are not in the key."""
    return tuple(field for field in table.schema if field.name not in table.primary_key)


def source_alias(table: TableSync) -> str:
    """Return the alias of the source's rows."""
    return table.schema.free_name("s")


def found_alias(table: TableSync) -> str:
    """Return the alias of the differences."""
    return table.schema.free_name("f")


def conditions_on_destination(table: TableSync) -> list[str]:
    """Return the conditions of the destination's rows that are compared."""
    conditions, interval = required_filter(table), table.interval
    if table.is_backfill and not table.primary_key and interval is not None and table.timestamp_column is not None:
        moment, type_name = _moment(table, destination_alias(table)), table.schema.field(table.timestamp_column).type
        # Literals, which prune partitions.
        conditions.append(interval_condition(moment, type_name, TimestampBounds("", interval.start, interval.end)))
    return conditions


def row_key(table: TableSync, alias: str) -> str:
    """Return the text that tells a row: its key, in which NULL is a value too, or a digest of all columns."""
    if table.primary_key:
        parts = [f"{alias}.{quoted(name)} AS k{number}" for number, name in enumerate(table.primary_key)]
        return f"TO_JSON_STRING(STRUCT({', '.join(parts)}))"
    parts = [f"{comparable(f'{alias}.{quoted(field.name)}', field)} AS c{n}" for n, field in enumerate(table.schema)]
    return f"TO_HEX(SHA256(TO_JSON_STRING(STRUCT({', '.join(parts)}))))"


def comparable(value: str, field: Field) -> str:
    """Return an expression whose equality is that of the column's values; NULL for NULL."""
    if field.mode == REPEATED:
        # A stored array is never NULL.
        return f"TO_JSON_STRING(IFNULL({value}, []))"
    if field.type in _TEXTS:
        # The text of NULL is 'null', as is that of a JSON null.
        return f"IF({value} IS NULL, NULL, TO_JSON_STRING({value}))"
    if field.type == "GEOGRAPHY":
        return f"ST_ASBINARY({value})"
    # A month would equal thirty days.
    return f"CAST({value} AS STRING)" if field.type == INTERVAL else value


def number_of_differences(table: TableSync) -> str:
    """Return the number of columns in which the two rows with one key differ."""
    # Not a sum of many terms, whose parentheses BigQuery would count.
    flags = [f"IF({_differs(table, field)}, 'x', '')" for field in columns_compared(table)]
    return f"LENGTH(CONCAT({', '.join(flags)}))" if flags else "0"


def _differs(table: TableSync, field: Field) -> str:
    sides = (f"{alias}.{quoted(field.name)}" for alias in (destination_alias(table), source_alias(table)))
    published, source = (comparable(side, field) for side in sides)
    return f"{published} IS DISTINCT FROM {source}"


def _moment(table: TableSync, alias: str) -> str:
    assert table.timestamp_column is not None
    return f"{alias}.{quoted(table.timestamp_column)}"


class _Comparison:
    """Puts the query together; see `found_sql`."""

    def __init__(self, table: TableSync, rejected: int) -> None:
        assert table.reconciliation is not None
        self._table = table
        self._plan: Reconciliation = table.reconciliation
        self._rejected = rejected

    def sql(self) -> str:
        """Return the query."""
        return self._by_key() if self._table.primary_key else self._as_whole_rows()

    def _by_key(self) -> str:
        table = self._table
        published, source = destination_alias(table), source_alias(table)
        keys = table.primary_key
        flags = [f"{_differs(table, field)} AS d{number}" for number, field in enumerate(columns_compared(table))]
        of_key = f"PARTITION BY {', '.join(f'{side}.{quoted(name)}' for side in (published, source) for name in keys)}"
        coalesced = ", ".join(
            f"IFNULL({published}.{quoted(name)}, {source}.{quoted(name)}) AS k{number}"
            for number, name in enumerate(keys)
        )
        # Keys of the source are never NULL, so NULL tells the side that has no row.
        no_source, no_published = f"{source}.{quoted(keys[0])} IS NULL", f"{published}.{quoted(keys[0])} IS NULL"
        is_marked = f"{published}.{quoted(self._plan.mark)} IS NOT NULL" if self._plan.mark else "FALSE"
        filters = conditions_on_destination(table)
        where = f"\nWHERE {' AND '.join(filters)}" if filters else ""
        names = ", ".join(f"d{number}" for number in range(len(flags)))
        return "\n".join(
            (
                f"SELECT row_key, kind{f', {names}' if names else ''}",
                "FROM (",
                f"SELECT row_key{f', {names}' if names else ''}, {self._kind_by_key()} AS kind",
                "FROM (",
                f"SELECT TO_JSON_STRING(STRUCT({coalesced})) AS row_key,",
                f"  {no_source} AS no_source, NOT ({no_source}) AND {no_published} AS no_published,",
                f"  {is_marked} AS is_marked, {self._is_later(published)} AS is_later,",
                f"  {self._is_new(source)} AS is_new, {self._is_read(source)} AS is_read,",
                f"  {self._replaces(published, source)} AS replaces,",
                f"  ROW_NUMBER() OVER ({of_key} ORDER BY {number_of_differences(table)}) AS copy,",
                f"  {number_of_differences(table)} AS differing,",
                f"  LOGICAL_OR({self._is_later(published)}) OVER ({of_key}) AS any_later",
                f"  {''.join(f', {flag}' for flag in flags)}",
                f"FROM (SELECT * FROM {destination_rows(table)}{where}) AS {published}",
                f"FULL JOIN {SOURCE_ROWS} AS {source}",
                f"ON {same_key(table, source)}",
                "))",
                "WHERE kind IS NOT NULL",
            )
        )

    def _kind_by_key(self) -> str:
        following = self._plan.next_run
        surplus = Kind.NEW_SURPLUS if following is not None and following.deletes else Kind.SURPLUS
        if self._rejected or self._table.is_backfill:
            surplus = Kind.UNJUDGED
        # The next run takes the mark from a row that the source has again.
        unmarked = f"IF(is_marked, {_literal(Kind.NEW_DIFFERENT)}, NULL)"
        return _case(
            # The source has not got the row.
            ("no_source AND is_marked", "NULL"),
            ("no_source AND any_later", _literal(Kind.LATER)),
            ("no_source", _literal(surplus)),
            ("no_published AND NOT is_read", "NULL"),
            ("no_published", f"IF(is_new, {_literal(Kind.NEW_MISSING)}, {_literal(Kind.MISSING)})"),
            ("copy > 1", f"IF(any_later, {_literal(Kind.LATER)}, {_literal(Kind.ADDITIONAL)})"),
            ("differing = 0", unmarked if following is not None and following.unmarks else "NULL"),
            ("is_later", _literal(Kind.LATER)),
            ("NOT is_read", _literal(Kind.UNJUDGED)),
            ("is_new AND replaces", _literal(Kind.NEW_DIFFERENT)),
            ("TRUE", _literal(Kind.DIFFERENT)),
        )

    def _as_whole_rows(self) -> str:
        table = self._table
        published, source = destination_alias(table), source_alias(table)
        filters = conditions_on_destination(table)
        where = f"\nWHERE {' AND '.join(filters)}" if filters else ""
        sides = []
        for alias, relation, counts in (
            (published, f"{destination_rows(table)}{where}", "1 AS there, 0 AS here"),
            (source, f"{SOURCE_ROWS} AS {source}", "0 AS there, 1 AS here"),
        ):
            sides.append(
                f"SELECT {row_key(table, alias)} AS row_key, {counts}, {self._is_later(alias)} AS is_later, "
                f"{self._is_new(alias)} AS is_new, {self._is_read(alias)} AS is_read\nFROM {relation}"
            )
        following = self._plan.next_run
        surplus = _literal(Kind.SURPLUS)
        if following is not None and following.keeps_versions:
            # A row that the source has too was not overwritten.
            surplus = f"IF(here > 0, {surplus}, {_literal(Kind.OLDER)})"
        if self._rejected:
            surplus = _literal(Kind.UNJUDGED)
        kind = _case(
            ("here > there AND NOT is_read", "NULL"),
            ("here > there", f"IF(is_new, {_literal(Kind.NEW_MISSING)}, {_literal(Kind.MISSING)})"),
            ("is_later", _literal(Kind.LATER)),
            ("TRUE", surplus),
        )
        return "\n".join(
            (
                "SELECT row_key, kind, copies, here",
                "FROM (",
                f"SELECT row_key, {kind} AS kind, ABS(here - there) AS copies, here",
                "FROM (",
                "SELECT row_key, SUM(there) AS there, SUM(here) AS here, LOGICAL_OR(is_later) AS is_later,",
                "  LOGICAL_OR(is_new) AS is_new, LOGICAL_AND(is_read) AS is_read",
                "FROM (",
                "\nUNION ALL\n".join(sides),
                ")",
                "GROUP BY row_key)",
                "WHERE here <> there)",
                "WHERE kind IS NOT NULL",
            )
        )

    def _is_later(self, alias: str) -> str:
        """Return whether a run that has read the source after this one has loaded the row of the destination."""
        following = self._plan.next_run
        if following is None:
            return "FALSE"
        moment = _moment(self._table, alias)
        return (
            f"IFNULL({moment} > {self._literal(following.upper_bound)} AND "
            f"{moment} <= {now_sql(self._table, self._type)}, FALSE)"
        )

    def _is_new(self, alias: str) -> str:
        """Return whether the next run reads the row of the source."""
        following = self._plan.next_run
        if following is None:
            return "FALSE"
        moment = _moment(self._table, alias)
        without = "TRUE" if following.includes_null else "FALSE"
        if following.after is None:
            return f"IF({moment} IS NULL, {without}, TRUE)"
        return f"IFNULL({moment} > {self._literal(following.after)}, {without})"

    def _is_read(self, alias: str) -> str:
        """Return whether runs read the row of the source at all."""
        following: NextRun | None = self._plan.next_run
        if following is None or following.includes_null:
            return "TRUE"
        return f"{_moment(self._table, alias)} IS NOT NULL"

    def _replaces(self, published: str, source: str) -> str:
        """Return whether the source's row replaces the one that has its key, as in a merge."""
        if self._plan.next_run is None:
            return "FALSE"
        old, new = _moment(self._table, published), _moment(self._table, source)
        return f"({old} IS NULL OR {new} IS NULL OR {new} >= {old} OR {old} > {now_sql(self._table, self._type)})"

    @property
    def _type(self) -> str:
        return self._table.schema.field(self._table.timestamp_column or "").type

    def _literal(self, moment: Bound) -> str:
        return bound_literal(moment, self._type)


def _literal(kind: Kind) -> str:
    return string_literal(kind.value)


def _case(*branches: tuple[str, str]) -> str:
    return f"CASE {' '.join(f'WHEN {condition} THEN {value}' for condition, value in branches)} END"


def in_found(table: TableSync, alias: str, kinds: Sequence[Kind]) -> str:
    """Return the condition that a row's key is among the differences of some kinds."""
    listed = ", ".join(map(_literal, kinds))
    found = found_alias(table)
    return (
        f"{row_key(table, alias)} IN (SELECT {found}.row_key FROM {FOUND} AS {found} WHERE {found}.kind IN ({listed}))"
    )
