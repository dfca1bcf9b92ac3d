"""Reading as the workers of a run do, without Beam: the splits of any source, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa

from sync_pipeline.planning.plan import TableSync
from sync_pipeline.schema import Schema
from sync_pipeline.sources import open_source
from sync_pipeline.sources.bigquery import storage_read
from sync_pipeline.sources.mongodb import raw_read
from sync_pipeline.sources.postgresql import copy_read
from sync_pipeline.sources.source import ReadSplit, Source
from sync_pipeline.transforms.batches import transform_batch

# The steps of each source's read, each on what the one before it emits.
_STEPS: Mapping[type, Callable[[Any], Sequence[beam.DoFn]]] = {
    copy_read.ReadFromPostgresql: lambda read: [copy_read._ReadPartitionFn(read)],
    raw_read.ReadFromMongodb: lambda read: [raw_read._ReadPartitionFn(read)],
    storage_read.ReadFromBigquery: lambda read: [
        storage_read._OpenSessionFn(read.schema),
        storage_read._ReadStreamFn(read),
    ],
}


def read_splits(source: Source, schema: Schema, splits: Iterable[ReadSplit]) -> Iterator[pa.RecordBatch]:
    """Yield the batches of all splits; a row that does not fit raises its error."""
    read = source.read(schema)
    outputs: Iterable[Any] = splits
    for step in _STEPS[type(read)](read):
        outputs = _outputs(step, outputs)
    for batch in outputs:
        assert isinstance(batch, pa.RecordBatch)
        yield batch


def read_rows(plan: TableSync) -> Iterator[pa.RecordBatch]:
    """Yield the rows that `plan` reads, as they are to be staged; none where BigQuery selects them."""
    if plan.selection is None:
        for batch in read_splits(open_source(plan.config), plan.read_schema, plan.read.splits):
            yield transform_batch(batch, plan.transformation, plan.schema)


def _outputs(step: beam.DoFn, elements: Iterable[Any]) -> Iterator[Any]:
    step.setup()
    try:
        for element in elements:
            yield from step.process(element)
    finally:
        step.teardown()
