"""The cases of the PostgreSQL benchmark."""

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks import postgresql_tables as tables
from benchmarks.postgresql_tables import Table


@dataclass(frozen=True)
class Scale:
    """The sizes of the tables, and the number of rounds.

    Attributes:
        sizes: rows of the tables of 12 columns, rising; the second and the last are those of the aims.
        slow_rows: how many rows the readers get that take a minute for a million.
        columns, wide: columns, or bytes of a row, and how many rows such a table has.
        interval: rows of an incremental run.
    """

    sizes: tuple[int, ...]
    slow_rows: int
    columns: tuple[tuple[int, int], ...]
    wide: tuple[tuple[int, int], ...]
    interval: int
    rounds: int


FULL = Scale(
    (1_000_000, 2_000_000, 4_000_000, 8_000_000),
    100_000,
    ((10, 500_000), (100, 100_000)),
    ((100, 1_000_000), (10_000, 50_000)),
    1000,
    3,
)
QUICK = Scale(
    (10_000, 20_000, 40_000, 80_000), 2_000, ((10, 5_000), (100, 1_000)), ((100, 5_000), (10_000, 500)), 100, 1
)


# The peers that are programs of their own.
PROGRAMS = ("ingestr", "sling")

# The readers that leave no file of columns.
_WITHOUT_FILES = ("limit", "limit_binary", "whole", "row_beam")


@dataclass(frozen=True)
class Case:
    """One measurement: a reader, or "whole" for a whole run, on a table."""

    name: str
    reader: str
    table: Table
    rows: int = 0
    partitions: int = 0
    interval: int = 0

    @property
    def expected_rows(self) -> int:
        """The number of rows that it must read."""
        return self.interval or self.rows or self.table.rows

    @property
    def has_known_values(self) -> bool:
        """Whether `peer_check.py` knows the values in its files."""
        return self.table.is_orders and self.reader not in _WITHOUT_FILES and not self.interval


def cases(scale: Scale) -> Iterator[Case]:
    """Yield all cases."""
    by_size = [tables.orders(rows) for rows in scale.sizes]
    aimed_at = by_size[1]
    for table in by_size:
        yield Case(f"limit, {table.rows:,} rows", "limit", table)
        yield Case(f"staged, {table.rows:,} rows", "staged", table, partitions=1)
        if table in (aimed_at, by_size[-1]):
            yield Case(f"limit in binary, {table.rows:,} rows", "limit_binary", table)
            yield Case(f"duckdb, {table.rows:,} rows", "duckdb", table, partitions=1)
            yield Case(f"dlt connectorx, {table.rows:,} rows", "connectorx", table)
            if table is aimed_at:
                yield from (Case(f"{reader}, {table.rows:,} rows", reader, table) for reader in ("adbc", *PROGRAMS))
        yield Case(f"interval of {table.rows:,} rows", "staged", table, interval=scale.interval)
    yield Case("whole run", "whole", aimed_at)
    yield Case("row by row", "row_beam", aimed_at, rows=scale.slow_rows)
    yield Case("dlt default", "sqlalchemy", aimed_at, rows=scale.slow_rows)
    for partitions in (2, 4):
        yield Case(f"limit, {partitions} connections", "limit", aimed_at, partitions=partitions)
        yield Case(f"staged, {partitions} partitions", "staged", aimed_at, partitions=partitions)
    yield Case("duckdb, 2 connections", "duckdb", aimed_at, partitions=2)
    others = [tables.columns(count, rows) for count, rows in scale.columns]
    others += [tables.wide(size, rows) for size, rows in scale.wide]
    for table in others:
        yield Case(f"limit, {table.name}", "limit", table)
        yield Case(f"staged, {table.name}", "staged", table)
