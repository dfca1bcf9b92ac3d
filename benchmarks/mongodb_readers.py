"""One reading of a collection, which times itself; `benchmarks.mongodb` starts it for all readers except dlt.

    python -m benchmarks.mongodb_readers READER DATABASE COLLECTION FOLDER

It reads from SANDBOX_MONGODB_URI, and prints one line of JSON: the number of documents, and the seconds without the
start of Python.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import apache_beam as beam
import pymongo
from apache_beam.options.pipeline_options import PipelineOptions
from pymongo.collection import Collection

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.publishing.staging import write_batches
from sync_pipeline.publishing.staging_target import StagingTarget
from sync_pipeline.sources import open_source
from sync_pipeline.sources.mongodb.reply_batches import ReplyBatches
from sync_pipeline.sources.source import TableRead


def raw_drain(uri: str, database: str, collection: str, _folder: Path) -> dict[str, float]:
    """Take batches of raw BSON from the driver's cursor, without decoding them."""
    with pymongo.MongoClient(uri) as client:
        read = client[database][collection]
        size, rows = client[database].command("collStats", collection)["size"], read.estimated_document_count()
        began = time.monotonic()
        taken = sum(len(batch) for batch in read.find_raw_batches())
        return {"rows": rows if taken == size else 0, "seconds": time.monotonic() - began}


def reply_drain(uri: str, database: str, collection: str, _folder: Path) -> dict[str, float]:
    """Take documents out of the server's replies with our cursor, without decoding them: the limit."""
    with pymongo.MongoClient(uri) as client:
        read: Collection[dict[str, Any]] = client[database][collection]
        read.estimated_document_count()
        began = time.monotonic()
        batches: Iterator[Any] = ReplyBatches(read)
        taken = sum(len(documents) for documents in batches)
        return {"rows": taken, "seconds": time.monotonic() - began}


def ours(uri: str, database: str, collection: str, folder: Path) -> dict[str, float]:
    """Read and stage with a worker's own functions, into Parquet files in `folder`.

    The requests of the launch, for schema and read splits, are timed separately.
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
    with source.connect() as session:
        schema = session.describe(None).schema
        splits = session.plan_read(schema, None).splits
    planned = time.monotonic()
    read = source.transform({0: TableRead(source.reader(schema), batch_size=None)})
    files = write_batches(read.batches(splits), StagingTarget(f"{folder}/", schema, TableLayout()))
    return {
        "rows": sum(file.rows for file in files),
        "seconds": time.monotonic() - planned,
        "planning_seconds": planned - began,
    }


def row_beam(uri: str, database: str, collection: str, folder: Path) -> dict[str, float]:
    """Convert every document to a dict and an element, and write JSON lines, as pipelines usually do."""
    began = time.monotonic()
    # The runner of a sync on one machine.
    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
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
    "reply_drain": reply_drain,
    "ours": ours,
    "row_beam": row_beam,
}


def _dicts(uri: str, database: str, collection: str) -> Iterator[dict[str, Any]]:
    with pymongo.MongoClient(uri) as client:
        yield from client[database][collection].find()


if __name__ == "__main__":
    reader, *names, folder_name = sys.argv[1:]
    print(json.dumps(READERS[reader](os.environ["SANDBOX_MONGODB_URI"], *names, Path(folder_name))))
