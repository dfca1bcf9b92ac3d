"""The source of a history of several tables: its tables, what is written to them, and how they break."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import psycopg2.errors

from tests.integration.history_sites import Row, Site, Stamp, execute
from tests.integration.table_operations import (
    TABLES,
    WITH_LETTERS,
    Damage,
    Delete,
    Insert,
    Kind,
    SetBack,
    Update,
)

_FITTING, _UNFIT = "2024-05-06", "infinity"


@dataclass
class SourceTable:
    """A table of the source.

    Attributes:
        rows: how many rows it was ever given.
        damage: why it cannot be synced now.
        touched_at: the number of the operation that did something to the table itself, here or in the destination.
        is_there: it exists.
    """

    kind: Kind
    rows: int = 0
    damage: set[Damage] = field(default_factory=set)
    touched_at: int = 0
    is_there: bool = False

    def create_sql(self, name: str) -> str:
        columns = f"id int, version int NOT NULL, note text, day date DEFAULT '{_FITTING}'"
        return f"CREATE TABLE {name} ({', '.join(filter(None, (columns, self.kind.value)))})"


@dataclass(frozen=True)
class SourceRow:
    """Attributes: values: id, version, note, updated_at (None if the table has none) and day, if it fits."""

    values: Row
    fits: bool


class SourceTables:
    """The tables of the source. `reader` is the user that may read them."""

    def __init__(self, site: Site, reader: str) -> None:
        self.step = 0
        self._site = site
        self._reader = reader
        self._tables = {name: SourceTable(kind) for name, kind in TABLES.items()}
        self._versions = itertools.count(1)
        for name in list(TABLES)[:-1]:
            self.create(name)

    def __getitem__(self, name: str) -> SourceTable:
        return self._tables[name]

    @property
    def there(self) -> set[str]:
        """The tables that exist."""
        return {name for name, table in self._tables.items() if table.is_there}

    def write(self, operation: Insert | Update | Delete | SetBack) -> None:
        name = operation.table
        table = self._tables[name]
        if not table.is_there:
            return
        match operation:
            case Insert(_, count, stamp, transaction):
                ids = list(range(table.rows + 1, table.rows + count + 1))
                table.rows += count
                if table.kind is Kind.PLAIN:
                    # Two rows that are alike.
                    ids = [ids[0], *ids]
                columns, values = self._written(name, stamp)
                self._write(
                    f"INSERT INTO {name} (id, {', '.join(columns)}) SELECT id, {', '.join(values)} "
                    "FROM unnest(%(ids)s) AS id",
                    transaction,
                    ids=ids,
                )
            case Update(_, row, stamp, transaction):
                self._update(name, "true" if row is None else f"id = {self._id(name, row)}", stamp, transaction)
            case SetBack():
                if table.kind.has_stamps:
                    self._update(name, "updated_at > now()", Stamp.NOW, None)
            case Delete(_, row, transaction):
                self._write(f"DELETE FROM {name} WHERE {self._free(name, f'id = {self._id(name, row)}')}", transaction)

    def _id(self, table: str, row: int) -> int:
        rows = self._tables[table].rows
        return 1 + row % rows if rows else 0

    def _written(self, table: str, stamp: Stamp) -> tuple[list[str], list[str]]:
        """Return the columns that every write sets, and their expressions."""
        with_stamp = self._tables[table].kind.has_stamps
        columns = ["version", "note", *(["updated_at"] if with_stamp else [])]
        return columns, ["%(version)s", "%(note)s", *([stamp.value] if with_stamp else [])]

    def _update(self, table: str, which: str, stamp: Stamp, transaction: int | None, *more: str) -> None:
        columns, values = self._written(table, stamp)
        settings = [*(f"{column} = {value}" for column, value in zip(columns, values, strict=True)), *more]
        self._write(f"UPDATE {table} SET {', '.join(settings)} WHERE {self._free(table, which)}", transaction)

    def _free(self, table: str, which: str) -> str:
        # Nobody waits for a lock: the one who holds it is played by the same thread.
        return f"ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE {which} FOR UPDATE SKIP LOCKED))"

    def _write(self, statement: str, transaction: int | None, **values: Any) -> None:
        connection = self._site.writer(transaction)
        if connection is not None:
            version = next(self._versions)
            execute(connection, statement, {**values, "version": version, "note": f"note {version}"})

    def alter(self, table: str, statement: str) -> bool:
        """Change the table itself, and return whether it was: not while a transaction has written to it."""
        if not self._tables[table].is_there:
            return False
        try:
            execute(self._site.connection, statement)
        except psycopg2.errors.LockNotAvailable:
            return False
        self._tables[table].touched_at = self.step
        return True

    def create(self, name: str) -> None:
        table = self._tables[name]
        if table.is_there:
            return
        execute(self._site.connection, table.create_sql(name))
        table.is_there, table.touched_at = True, self.step

    def damage(self, name: str, damage: Damage, row: int, published: Collection[str]) -> None:
        table = self._tables[name]
        if not table.is_there or (damage is Damage.COLUMN_RENAMED and name not in published):
            # Else the destination would get the column with the other name, which nobody mends.
            return
        match damage:
            case Damage.UNFIT:
                day = "day" if Damage.COLUMN_RENAMED not in table.damage else "other_day"
                which = f"id = {self._id(name, row)}"
                self._update(name, which, Stamp.NOW, None, f"{day} = '{_UNFIT}'")
                if name == WITH_LETTERS:
                    return
            case Damage.COLUMN_ADDED if damage not in table.damage:
                if not self.alter(name, f"ALTER TABLE {name} ADD extra int"):
                    return
            case Damage.COLUMN_RENAMED if damage not in table.damage:
                if not self.alter(name, f"ALTER TABLE {name} RENAME day TO other_day"):
                    return
            case Damage.NO_RIGHT:
                if not self.alter(name, f"REVOKE SELECT ON {name} FROM {self._reader}"):
                    return
        table.damage.add(damage)
        table.touched_at = self.step

    def mend(self, name: str) -> None:
        table = self._tables[name]
        if not table.is_there:
            return
        statements = {
            Damage.COLUMN_RENAMED: f"ALTER TABLE {name} RENAME other_day TO day",
            Damage.COLUMN_ADDED: f"ALTER TABLE {name} DROP extra",
            Damage.NO_RIGHT: f"GRANT SELECT ON {name} TO {self._reader}",
        }
        for damage, statement in statements.items():
            if damage in table.damage and self.alter(name, statement):
                table.damage.remove(damage)
        if Damage.COLUMN_RENAMED not in table.damage:
            self._update(name, f"day = '{_UNFIT}'", Stamp.NOW, None, f"day = '{_FITTING}'")
            unfit = execute(self._site.connection, f"SELECT FROM {name} WHERE day = '{_UNFIT}'")
            if not unfit:
                table.damage.discard(Damage.UNFIT)
        table.touched_at = self.step

    def drop(self, name: str) -> None:
        if self.alter(name, f"DROP TABLE {name}"):
            self._tables[name].is_there = False
            self._tables[name].damage.clear()

    def drop_all(self) -> None:
        execute(self._site.connection, f"DROP TABLE IF EXISTS {', '.join(self._tables)}")

    def rows(self) -> dict[str, list[SourceRow]]:
        """Return the rows of the tables that exist."""
        rows = {}
        for name, table in self._tables.items():
            if table.is_there:
                day = "other_day" if Damage.COLUMN_RENAMED in table.damage else "day"
                stamp = "updated_at" if table.kind.has_stamps else "NULL::timestamptz"
                found = execute(
                    self._site.connection,
                    f"SELECT id, version, note, {stamp}, CASE WHEN isfinite({day}) THEN {day} END, isfinite({day}) "
                    f"FROM {name}",
                )
                rows[name] = [SourceRow(row[:-1], row[-1]) for row in found]
        return rows
