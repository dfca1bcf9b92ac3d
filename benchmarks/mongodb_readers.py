"""One reading of a collection, timed from the inside: what `benchmarks.mongodb` starts for all readers but dlt.

    python -m benchmarks.mongodb_readers READER DATABASE COLLECTION FOLDER

The server is the one of SANDBOX_MONGODB_URI. Prints one line of JSON: the documents read, and the seconds without those
that Python needs to start.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow.parquet
import pymongo
from apache_beam.options.pipeline_options import PipelineOptions

from sync_pipeline.config import SyncConfig
from sync_pipeline.layout import TableLayout
from sync_pipeline.source import BATCHES
from sync_pipeline.sources import open_source
from sync_pipeline.staging import StagingTarget, WriteStagedFiles


def raw_drain(uri: str, database: str, collection: str, _folder: Path) -> dict[str, float]:
    """Take documents from a cursor as they come over the wire, and only count them: the limit."""
    with pymongo.MongoClient(uri) as client:
        client.admin.command("ping")
        began = time.monotonic()
        rows = sum(documents_in(batch) for batch in client[database][collection].find_raw_batches())
        return {"rows": rows, "seconds": time.monotonic() - began}


def ours(uri: str, database: str, collection: str, folder: Path) -> dict[str, float]:
    """Read and stage as a sync does, by the same steps of a pipeline, into Parquet files in `folder`.

    What the sync asks first, the schema and the partitions, is counted apart.
    """
    source = open_source(
        SyncConfig.from_parameters(
            {
                "data_source": "mongodb",
                "mongodb_connection_string": uri,
                "mongodb_database": database,
                "mongodb_collection": collection,
                "destination_bigquery_project": "some-project",
                "destination_bigquery_dataset": "some_dataset",
                "destination_bigquery_table": collection,
            }
        )
    )
    began = time.monotonic()
    schema = source.describe().schema
    partitions = source.plan_read(schema, None).partitions
    planned = time.monotonic()
    with _pipeline() as pipeline:
        batches = (pipeline | beam.Create(list(partitions)) | source.read(schema))[BATCHES]
        batches | WriteStagedFiles(StagingTarget(f"{folder}/", schema, TableLayout()))
    ended = time.monotonic()
    rows = sum(pyarrow.parquet.read_metadata(file).num_rows for file in folder.iterdir())
    return {"rows": rows, "seconds": ended - planned, "planning_seconds": planned - began}


def row_beam(uri: str, database: str, collection: str, folder: Path) -> dict[str, float]:
    """Make every document a dict and an element of its own, and write lines of JSON, as pipelines usually do."""
    began = time.monotonic()
    with _pipeline() as pipeline:
        (
            pipeline
            | beam.Create([(uri, database, collection)])
            | beam.FlatMapTuple(_dicts)
            | beam.Map(json.dumps, default=str)
            | beam.io.WriteToText(f"{folder}/rows")
        )
    ended = time.monotonic()
    rows = sum(file.read_bytes().count(b"\n") for file in folder.iterdir())
    return {"rows": rows, "seconds": ended - began}


READERS: Mapping[str, Callable[[str, str, str, Path], dict[str, float]]] = {
    "raw_drain": raw_drain,
    "ours": ours,
    "row_beam": row_beam,
}


def documents_in(batch: bytes) -> int:
    """Return how many documents a raw batch holds: each begins with its length, of four bytes."""
    count = position = 0
    while position < len(batch):
        position += int.from_bytes(batch[position : position + 4], "little")
        count += 1
    return count


def _pipeline() -> beam.Pipeline:
    # The runner that a sync ends at when it runs on one machine.
    return beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"]))


def _dicts(uri: str, database: str, collection: str) -> Iterator[dict[str, Any]]:
    with pymongo.MongoClient(uri) as client:
        yield from client[database][collection].find()


if __name__ == "__main__":
    reader, *names, folder_name = sys.argv[1:]
    print(json.dumps(READERS[reader](os.environ["SANDBOX_MONGODB_URI"], *names, Path(folder_name))))
