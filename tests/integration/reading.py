"""Reading as the workers of a run do, without Beam: the splits of any source, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa

from sync_pipeline.planning.plan import TableSync
from sync_pipeline.schema import Schema
from sync_pipeline.sources import open_source
from sync_pipeline.sources.reading import ReadRows
from sync_pipeline.sources.source import ReadSplit, Source, TableRead
from sync_pipeline.transforms.batches import transform_batch


def read_splits(source: Source, schema: Schema, splits: Iterable[ReadSplit]) -> Iterator[pa.RecordBatch]:
    """Yield the batches of all splits; a row that does not fit raises its error."""
    read = source.transform({0: TableRead(source.reader(schema), source.config.batch_size)})
    assert isinstance(read, ReadRows)
    return read.batches(splits)


def read_rows(plan: TableSync) -> Iterator[pa.RecordBatch]:
    """Yield the rows that `plan` reads, as they are to be staged; none where BigQuery selects them."""
    if plan.selection is None:
        for batch in read_splits(open_source(plan.config), plan.read_schema, plan.read.splits):
            yield transform_batch(batch, plan.transformation, plan.schema, plan.config.hash_key)
