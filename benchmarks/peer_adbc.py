"""The ADBC driver reads a PostgreSQL table to a Parquet file; runs in the peers' environment.

It prints the same result as our readers. dlt uses ADBC only to load into a destination.
"""

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import adbc_driver_postgresql.dbapi as adbc
import pyarrow.parquet as pq
from psycopg2.extensions import parse_dsn


def main(argv: Sequence[str]) -> int:
    """Read with one connection, and print rows, seconds and CPU seconds as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("table")
    parser.add_argument("--folder", type=Path, required=True)
    given = parser.parse_args(argv)
    url = "postgresql://{user}:{password}@{host}:{port}/{dbname}".format(
        **parse_dsn(os.environ["SANDBOX_POSTGRESQL_DSN"])
    )
    began, before = time.monotonic(), _cpu_seconds()
    rows = 0
    with adbc.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {given.table}")
        batches = cursor.fetch_record_batch()
        with pq.ParquetWriter(given.folder / "rows.parquet", batches.schema, compression="zstd") as writer:
            for batch in batches:
                writer.write_batch(batch)
                rows += batch.num_rows
    seconds = time.monotonic() - began
    print(json.dumps({"rows": rows, "seconds": seconds, "cpu_seconds": _cpu_seconds() - before}))
    return 0


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
