"""Dead letters: rows with an invalid value, kept as text in a table of their own.

The sources' readers make them; this module describes and loads them.

The table holds nothing that the destination would not: a row has only the columns that are read, and those that are
invalid, without excluded fields and with hashes where hashes were asked for. Its size is bounded.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

import apache_beam as beam
import pyarrow as pa

from sync_pipeline.auto_schema.ddl import new_table
from sync_pipeline.auto_schema.table_options import encrypted
from sync_pipeline.bigquery_api.own_tables import DEAD_LETTER_SCHEMA
from sync_pipeline.planning.dead_letter_table import DEAD_LETTER_LAYOUT
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.publishing.jobs import PublishingJobs
from sync_pipeline.publishing.pacing import wait_to_change
from sync_pipeline.publishing.staged_files import StagedFiles
from sync_pipeline.publishing.staging_target import StagingTarget
from sync_pipeline.publishing.tables import create_table
from sync_pipeline.schema import Field
from sync_pipeline.sources.source import DeadLetter
from sync_pipeline.transforms.hashing import digest

# A row of BigQuery has at most 50 MB in a Parquet file, and a document of MongoDB 16 MB.
MAX_SOURCE_ROW_BYTES = 20 * 1024 * 1024
MAX_REASON_CHARACTERS = 50_000
MAX_NAMED_COLUMNS = 100

# The dead letter tables that this process has created, each with the id of the run; the tables of a run may share one.
_CREATED: set[tuple[str, str]] = set()


def dead_letter_batch(letter: DeadLetter, table: TableSync) -> pa.RecordBatch:
    """Return the row of the dead letter table, of `DEAD_LETTER_SCHEMA`. Raises what `hashing.digest` raises."""
    values = (
        table.run_id,
        table.run.started_at,
        table.table_id,
        _utf8(_column_names(letter)),
        _utf8(_cut(letter.reason, MAX_REASON_CHARACTERS)),
        _utf8(_row(letter, table)),
    )
    arrays = [pa.array([value], field.arrow_type) for value, field in zip(values, DEAD_LETTER_SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=DEAD_LETTER_SCHEMA.arrow)


def _column_names(letter: DeadLetter) -> str:
    names = [_cut(name, 300) for name in letter.columns[:MAX_NAMED_COLUMNS]]
    more = len(letter.columns) - len(names)
    return ", ".join(names) + (f" and {more:,} more" if more else "")


def _row(letter: DeadLetter, table: TableSync) -> str:
    """Return the row as JSON of about `MAX_SOURCE_ROW_BYTES` at most; a last member counts omitted columns."""
    left = MAX_SOURCE_ROW_BYTES
    members, omitted = [], 0
    for name, text in _kept(letter, table):
        member = f"{_json(name)}: {_json(text)}"
        size = len(member.encode(errors="replace"))
        if size > left and text is not None:
            # A character has at most six bytes: a control character is written as \u0001.
            member = f"{_json(name)}: {_json(_cut(text, max(0, left // 6 - len(name) - 50)))}"
            size = len(member.encode(errors="replace"))
        if size > left:
            omitted += 1
            continue
        left -= size
        members.append(member)
    if omitted:
        members.append(f'"…": "{omitted:,} more columns"')
    return "{" + ", ".join(members) + "}"


def _kept(letter: DeadLetter, table: TableSync) -> Iterator[tuple[str, str | None]]:
    """Yield name and text, or hash, of each column that may leave the source."""
    transformation = table.transformation
    excluded = {name.casefold() for name in transformation.exclude_fields}
    hashed = {name.casefold() for name in transformation.hash_fields}
    refused = set(letter.columns)
    for name, text in letter.row.items():
        column = letter.column_of.get(name, name)
        field = table.read_schema.find(column)
        # Names that nobody has seen at launch may differ from those that were given by their case.
        if field is None and (column not in refused or column.casefold() in excluded):
            continue
        is_hashed = column in transformation.hash_fields if field else column.casefold() in hashed
        yield name, _hashed(text, field, table) if is_hashed and text is not None else text


def _hashed(text: str, field: Field | None, table: TableSync) -> str:
    """Return the hash the destination would hold, which for BYTES is that of the bytes and not of their digits."""
    value = text.encode(errors="surrogatepass")
    if field is not None and field.type == "BYTES":
        # What does not fit need not be bytes.
        with contextlib.suppress(ValueError):
            value = bytes.fromhex(text)
    return digest(value, table.config.hash_key)


def _json(value: str | None) -> str:
    return json.dumps(value, ensure_ascii=False)


def _utf8(text: str) -> str:
    """Return the text without unpaired surrogates, which JSON can hold and UTF-8 cannot."""
    return text.encode(errors="replace").decode()


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[:characters]}… (cut: {len(text):,} characters)"


def dead_letter_target(table: TableSync) -> StagingTarget:
    """Return where the dead letters of the run are staged."""
    return StagingTarget(
        f"{table.staging_folder}dead_letters/", DEAD_LETTER_SCHEMA, DEAD_LETTER_LAYOUT, is_dead_letters=True
    )


@dataclass
class DescribeDeadLetters(beam.PTransform):
    """Turn each `DeadLetter`, paired with its table's number, into a batch with `dead_letter_batch`.

    Attributes:
        tables: those with a dead letter table, by number.
    """

    tables: Mapping[int, TableSync]

    def expand(self, letters: beam.PCollection) -> beam.PCollection:
        """Turn DeadLetters into RecordBatches."""
        return letters | "DescribeDeadLetter" >> beam.Map(_described, self.tables)


def _described(element: tuple[int, DeadLetter], tables: Mapping[int, TableSync]) -> tuple[int, pa.RecordBatch]:
    number, letter = element
    return number, dead_letter_batch(letter, tables[number])


def publish_dead_letters(jobs: PublishingJobs, letters: StagedFiles) -> None:
    """Create the dead letter table if there is none, and append the files to it.

    Raises:
        PublishError: BigQuery refuses, or when it loads fewer rows than the files have.
    """
    config, destination = jobs.table.config, jobs.table.dead_letters
    assert destination is not None, "only a plan with a dead letter table lets rows go there"
    created = new_table(destination.table_id, DEAD_LETTER_SCHEMA, DEAD_LETTER_LAYOUT)
    if (days := config.dead_letter_expiration_days) is not None:
        created.time_partitioning.expiration_ms = int(timedelta(days=days) / timedelta(milliseconds=1))
    wanted = (jobs.table.run_id, destination.table_id)
    if wanted not in _CREATED:
        wait_to_change(destination.table_id)
        create_table(jobs.client, encrypted(created, config.destination.kms_key), "dead letter table")
        _CREATED.add(wanted)
    wait_to_change(destination.table_id)
    jobs.append_files(destination.table_id, letters.files, "dead-letters", DEAD_LETTER_SCHEMA, destination.location)
