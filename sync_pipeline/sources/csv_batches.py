"""Converts rows of CSV to Arrow, column by column, and checks every value.

The dialect is that of PostgreSQL's `COPY … (FORMAT csv)`: unlike most others, it distinguishes NULL (nothing) from an
empty string (two quotes). `csv_row` writes it.
"""

from __future__ import annotations

import codecs
from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import batched

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from sync_pipeline.schema import ARROW_TYPES, REPEATED, Field, Schema
from sync_pipeline.sources.checked_text import PLAIN_TEXTS, REJECTIONS, NullError, TextForm, converted, rejection
from sync_pipeline.sources.source import DeadLetter

_PARSE_OPTIONS = pyarrow.csv.ParseOptions(
    newlines_in_values=True,
    # An empty line is a row with a single NULL.
    ignore_empty_lines=False,
)

# Types that the CSV parser converts. All other columns are parsed as text and converted afterwards.
_PARSED_TYPES = frozenset({"BOOL", "INT64", "FLOAT64", "DATE", "TIME", "DATETIME", "TIMESTAMP"})

# Text from the server, parsed without a copy.
Buffer = bytes | bytearray

_UNREADABLE = "rows of the source cannot be parsed as CSV: this is a defect of the reader"


def parse_rows(text: Buffer, schema: Schema, form: TextForm) -> pa.Table | None:
    """Return the rows of `text`, complete rows of CSV, as a table with `schema.arrow`; None if one is invalid.

    Then `separate_rejected` finds the invalid rows and the reasons.
    """
    try:
        table = _read_csv(text, schema.names, schema)
        columns = [
            converted(column.combine_chunks(), field, form) for column, field in zip(table.columns, schema, strict=True)
        ]
        return pa.Table.from_arrays(columns, schema=schema.arrow)
    except REJECTIONS:
        return None


def separate_rejected(rows: Sequence[bytes], schema: Schema, form: TextForm) -> Iterator[pa.Table | DeadLetter]:
    """Yield the rows, in order: tables of valid rows, and a `DeadLetter` for each invalid row.

    Parses all rows together. If that fails, halves them until it finds the invalid rows.
    """
    table = parse_rows(b"".join(rows), schema, form)
    if table is not None:
        yield table
    elif len(rows) == 1:
        yield _dead_letter(rows[0], schema, form)
    else:
        half = len(rows) // 2
        yield from separate_rejected(rows[:half], schema, form)
        yield from separate_rejected(rows[half:], schema, form)


def checked_parts(
    rows: Iterable[Sequence[str | None]], schema: Schema, form: TextForm = PLAIN_TEXTS, together: int = 10_000
) -> Generator[pa.Table | DeadLetter]:
    """Yield rows of texts, in order: tables of valid rows, and a `DeadLetter` for each invalid row.

    Args:
        rows: for each column of `schema` a text as `parse_rows` reads it, without quotes; None is NULL.
        together: so many rows are converted at a time.
    """
    for some in batched(rows, together, strict=False):
        yield from separate_rejected([csv_row(row) for row in some], schema, form)


def from_texts(texts: pa.Array, field: Field, form: TextForm) -> pa.Array:
    """Return the values of a column of texts, as `parse_rows` reads them. Raises REJECTIONS."""
    if _parsed_type(field) == texts.type:
        return converted(texts, field, form)
    if not len(texts):
        return pa.array([], field.arrow_type)
    quoted = pc.binary_join_element_wise('"', pc.replace_substring(texts, '"', '""'), '"', "")
    rows = pc.binary_join_element_wise(pc.fill_null(quoted, ""), "", "\n")
    parsed = _read_csv(rows.buffers()[2].to_pybytes(), [field.name], Schema((field,)))
    return converted(parsed.column(0).combine_chunks(), field, form)


def csv_row(texts: Iterable[str | None]) -> bytes:
    """Return one row of the texts; None is NULL."""
    values = ("" if text is None else f'"{text.replace('"', '""')}"' for text in texts)
    return f"{','.join(values)}\n".encode()


def _dead_letter(row: bytes, schema: Schema, form: TextForm) -> DeadLetter:
    problems = _rejected(row, schema, form)
    # A database with the encoding SQL_ASCII may send bytes that are not UTF-8.
    row = row.decode(errors="replace").encode()
    texts = _read_csv(row, schema.names, Schema(tuple(Field(name, "STRING") for name in schema.names)))
    return DeadLetter(tuple(problems), "\n".join(problems.values()) or _UNREADABLE, texts.to_pylist()[0])


def _read_csv(text: Buffer, names: Sequence[str], wanted: Schema) -> pa.Table:
    """Parse the columns of `wanted` from rows that have the columns `names`."""
    if text.startswith(codecs.BOM_UTF8):
        # The parser strips one leading byte order mark, but it belongs to the first value. Prepend another.
        text = codecs.BOM_UTF8 + text
    return pyarrow.csv.read_csv(
        pa.BufferReader(text),
        # A single block: the text already ends between rows, and a row may exceed any fixed block size.
        read_options=pyarrow.csv.ReadOptions(column_names=list(names), block_size=len(text) + 1, use_threads=False),
        parse_options=_PARSE_OPTIONS,
        convert_options=pyarrow.csv.ConvertOptions(
            column_types={field.name: _parsed_type(field) for field in wanted},
            include_columns=list(wanted.names),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["t", "true"],
            false_values=["f", "false"],
        ),
    )


def _parsed_type(field: Field) -> pa.DataType:
    if field.mode != REPEATED and field.type in _PARSED_TYPES:
        return ARROW_TYPES[field.type]
    return pa.string()


def _rejected(row: bytes, schema: Schema, form: TextForm) -> dict[str, str]:
    """Return the problem of each column of a row that could not be parsed. Parses one column at a time."""
    problems = {}
    for field in schema:
        try:
            converted(_read_csv(row, schema.names, Schema((field,))).column(0).combine_chunks(), field, form)
        except NullError:
            problems[field.name] = form.null_reason(field)
        except REJECTIONS:
            problems[field.name] = rejection(field, form)
    return problems
