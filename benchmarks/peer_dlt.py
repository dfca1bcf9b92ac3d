"""dlt reads a PostgreSQL table to Parquet; runs in the peers' environment and prints the same result as our readers."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"

import dlt
from dlt.sources.sql_database import sql_table
from peer_reading import Reading, server_url


def main(argv: Sequence[str]) -> int:
    """Read with the given backend and print rows, seconds and CPU seconds as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("backend", choices=["connectorx", "sqlalchemy"])
    parser.add_argument("table")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=0)
    given = parser.parse_args(argv)
    schema, _, name = given.table.partition(".")
    reading = Reading()
    table = sql_table(
        credentials=server_url("postgresql+psycopg2"),
        schema=schema,
        table=name,
        backend=given.backend,
        backend_kwargs={"return_type": "arrow_stream"} if given.backend == "connectorx" else None,
        chunk_size=50_000,
        query_adapter_callback=(lambda query, table: query.where(table.c.id <= given.rows)) if given.rows else None,
    )
    pipeline = dlt.pipeline(
        "bench",
        destination=dlt.destinations.filesystem(str(given.folder / "out")),
        dataset_name="bench",
        pipelines_dir=str(given.folder / "pipelines"),
    )
    pipeline.run(table, loader_file_format="parquet")
    reading.end(pipeline.last_trace.last_normalize_info.row_counts[name])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
