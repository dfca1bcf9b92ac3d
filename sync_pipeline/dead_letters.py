"""Dead letters: rows with a value that does not fit its column, kept as text in a table of their own."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import apache_beam as beam
import pyarrow as pa

from sync_pipeline.layout import TableLayout
from sync_pipeline.plan import SyncPlan
from sync_pipeline.schema import REQUIRED, Field, Schema
from sync_pipeline.source import DeadLetter
from sync_pipeline.staging import StagingTarget

DEAD_LETTER_SCHEMA = Schema(
    (
        Field("run_id", "STRING", REQUIRED, "the run that met the row"),
        Field("failed_at", "TIMESTAMP", REQUIRED, "when that run began"),
        Field("destination_table", "STRING", REQUIRED, "where the row should have gone"),
        Field("column_name", "STRING", REQUIRED, "the columns whose values do not fit, by their source names"),
        Field("reason", "STRING", REQUIRED, "why they do not fit"),
        Field("source_row", "STRING", REQUIRED, "the row as JSON, every value as the source writes it"),
    )
)
DEAD_LETTER_LAYOUT = TableLayout(partition_field="failed_at")


def dead_letter_batch(letter: DeadLetter, plan: SyncPlan) -> pa.RecordBatch:
    """Return the row of the dead letter table, of `DEAD_LETTER_SCHEMA`. Columns to be hashed are hashed here too."""
    hashed = plan.config.transformation.hash_fields
    row = {
        name: _hashed(text, plan.read_schema.field(name)) if text is not None and name in hashed else text
        for name, text in letter.row.items()
    }
    values = (
        plan.run_id,
        plan.started_at,
        plan.table_id,
        ", ".join(letter.columns),
        letter.reason,
        json.dumps(row, ensure_ascii=False),
    )
    arrays = [pa.array([value], field.arrow_type) for value, field in zip(values, DEAD_LETTER_SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=DEAD_LETTER_SCHEMA.arrow)


def _hashed(text: str, field: Field) -> str:
    """Return the hash the destination would hold, which for BYTES is that of the bytes and not of their digits."""
    value = bytes.fromhex(text) if field.type == "BYTES" else text.encode()
    return hashlib.sha256(value).hexdigest()


def dead_letter_target(plan: SyncPlan) -> StagingTarget:
    """Return where the dead letters of the run are staged."""
    return StagingTarget(
        f"{plan.staging_folder}dead_letters/", DEAD_LETTER_SCHEMA, DEAD_LETTER_LAYOUT, is_dead_letters=True
    )


@dataclass
class DescribeDeadLetters(beam.PTransform):
    """`dead_letter_batch` for each `DeadLetter`."""

    plan: SyncPlan

    def expand(self, letters: beam.PCollection) -> beam.PCollection:
        """Turn DeadLetters into RecordBatches."""
        return letters | "DescribeDeadLetter" >> beam.Map(dead_letter_batch, self.plan)
