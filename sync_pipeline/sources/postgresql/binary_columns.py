"""The columns of a COPY in binary: how the server sends each of them, and how it becomes a column of a table."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from sync_pipeline.schema import REPEATED, Field, Schema
from sync_pipeline.sources.checked_text import REJECTIONS, NullError, checked, rejection
from sync_pipeline.sources.csv_batches import from_texts
from sync_pipeline.sources.postgresql import binary_texts
from sync_pipeline.sources.postgresql.binary_rows import NO_SHAPE, Rows, Shape, Values, unreadable
from sync_pipeline.sources.postgresql.binary_texts import Text
from sync_pipeline.sources.postgresql.binary_types import ARRAY_TYPES, BINARY_TYPES, TEXT_OIDS
from sync_pipeline.sources.postgresql.binary_values import Decode, texts
from sync_pipeline.sources.postgresql.texts import POSTGRESQL_TEXTS
from sync_pipeline.sources.source import DeadLetter

_ALIAS = "r"

# A cast to text calls a type's output function, for which nobody needs a permission, unless the type has a cast of its
# own, as "char", inet, xml and PostGIS's geometry have.
_OWN_CASTS_SQL = """
    SELECT castsource FROM pg_cast
    WHERE castmethod <> 'i' AND casttarget = 'pg_catalog.text'::regtype AND castsource = ANY(%(oids)s)
"""
_CAST_SQL = "{0}::pg_catalog.text"
# concat() always calls the output function, but writes NULL as an empty text. IS NULL means another thing for rows.
_CONCAT_SQL = "CASE pg_catalog.num_nulls({0}) WHEN 0 THEN pg_catalog.concat({0}) END"


@dataclass(frozen=True)
class _Column:
    """One column.

    Attributes:
        decode: the decoder of its type; None for texts, which are converted.
    """

    field: Field
    decode: Decode | None
    text: Text
    shape: Shape = NO_SHAPE

    def array(self, values: Values) -> pa.Array:
        """Return the column. Raises REJECTIONS when a value is invalid."""
        if self.decode is None:
            return from_texts(texts(values), self.field, POSTGRESQL_TEXTS)
        return checked(self.decode(values), self.field, POSTGRESQL_TEXTS)

    def problem(self, value: Values) -> str | None:
        """Return the reason for which a row's value is invalid, None if it is valid."""
        try:
            self.array(value)
        except NullError:
            return POSTGRESQL_TEXTS.null_reason(self.field)
        except REJECTIONS:
            return rejection(self.field, POSTGRESQL_TEXTS)
        return None


@dataclass(frozen=True)
class BinaryCopy:
    """A statement whose rows are copied in binary.

    Attributes:
        statement: the statement of the read, with the text of each column that is not sent in binary.
    """

    statement: str
    schema: Schema
    columns: Sequence[_Column]

    @cached_property
    def _shapes(self) -> list[Shape]:
        return [column.shape for column in self.columns]

    @cached_property
    def _arrow(self) -> pa.Schema:
        return self.schema.arrow

    def parts(self, rows: Rows) -> Iterator[pa.Table | DeadLetter]:
        """Yield the rows, in order: tables of valid rows, and a `DeadLetter` for each invalid row.

        Raises:
            SourceError: the rows are not those of the statement.
        """
        table = self._table(rows)
        if table is not None:
            yield table
        elif len(rows) == 1:
            yield self._dead_letter(rows)
        else:
            half = len(rows) // 2
            yield from self.parts(rows.slice(0, half))
            yield from self.parts(rows.slice(half, len(rows)))

    def _table(self, rows: Rows) -> pa.Table | None:
        """Return the rows as a table, None if one is invalid."""
        try:
            columns = [
                column.array(values) for column, values in zip(self.columns, rows.columns(self._shapes), strict=True)
            ]
        except REJECTIONS:
            return None
        return pa.Table.from_arrays(columns, schema=self._arrow)

    def _dead_letter(self, row: Rows) -> DeadLetter:
        values = list(zip(self.columns, row.columns(self._shapes), strict=True))
        problems = {column.field.name: column.problem(value) for column, value in values}
        reasons = {name: reason for name, reason in problems.items() if reason is not None}
        if not reasons:
            raise unreadable()
        sent = {column.field.name: (column.text, value.bytes_of(0)) for column, value in values}
        return DeadLetter(
            tuple(reasons),
            "\n".join(reasons.values()),
            {name: None if value is None else text(value) for name, (text, value) in sent.items()},
        )


def described_copy(cursor: Any, statement: str, schema: Schema) -> BinaryCopy:
    """Return how to copy the rows of a statement that selects the columns of `schema`.

    The types are those of the statement now. The transaction's locks on its tables keep them until its end.
    """
    names = [f"c{number}" for number in range(len(schema))]
    source = f"(\n{statement}\n) AS {_ALIAS}({', '.join(names)})"
    cursor.execute(f"SELECT * FROM {source} LIMIT 0")
    oids = [column.type_code for column in cursor.description]
    columns = {index: _column(field, oid) for index, (field, oid) in enumerate(zip(schema, oids, strict=True))}
    as_text = {index: oids[index] for index, column in columns.items() if column is None}
    if not as_text:
        return BinaryCopy(statement, schema, [column for column in columns.values() if column is not None])
    with_own_cast = _with_own_cast(cursor, set(as_text.values()))
    for index, oid in as_text.items():
        if oid not in TEXT_OIDS:
            names[index] = (_CONCAT_SQL if oid in with_own_cast else _CAST_SQL).format(names[index])
    return BinaryCopy(
        f"SELECT {', '.join(names)} FROM {source}",
        schema,
        [column or _text_column(field) for column, field in zip(columns.values(), schema, strict=True)],
    )


def _column(field: Field, oid: int) -> _Column | None:
    """Return the column if its type is sent in binary, else None."""
    if oid in TEXT_OIDS and (field.mode == REPEATED or field.type != "STRING"):
        return _text_column(field)
    known = (ARRAY_TYPES if field.mode == REPEATED else BINARY_TYPES).get(oid)
    decode = known.decode.get(field.type) if known else None
    return _Column(field, decode, known.text, known.shape) if known and decode else None


def _text_column(field: Field) -> _Column:
    return _Column(field, None, binary_texts.plain)


def _with_own_cast(cursor: Any, oids: Collection[int]) -> frozenset[int]:
    """Return those of the types whose cast to text is not by their output function."""
    cursor.execute(_OWN_CASTS_SQL, {"oids": list(oids)})
    return frozenset(oid for (oid,) in cursor.fetchall())
