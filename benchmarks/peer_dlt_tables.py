"""dlt reads all tables of a PostgreSQL schema to Parquet; runs in the peers' environment and prints the seconds."""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"

import dlt
from dlt.sources.sql_database import sql_database
from peer_reading import server_url


def main(argv: Sequence[str]) -> int:
    """Read the schema with dlt's fastest backend."""
    parser = argparse.ArgumentParser()
    parser.add_argument("schema")
    parser.add_argument("--folder", type=Path, required=True)
    given = parser.parse_args(argv)
    began = time.monotonic()
    tables = sql_database(
        credentials=server_url("postgresql+psycopg2"),
        schema=given.schema,
        backend="connectorx",
        backend_kwargs={"return_type": "arrow_stream"},
        chunk_size=50_000,
    )
    pipeline = dlt.pipeline(
        "bench_tables",
        destination=dlt.destinations.filesystem(str(given.folder / "out")),
        dataset_name="bench",
        pipelines_dir=str(given.folder / "pipelines"),
    )
    pipeline.run(tables, loader_file_format="parquet")
    seconds = time.monotonic() - began
    counts = pipeline.last_trace.last_normalize_info.row_counts
    rows = [count for name, count in counts.items() if not name.startswith("_dlt")]
    print(json.dumps({"rows": sum(rows), "tables": len(rows), "seconds": seconds}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
