"""The ADBC driver reads a PostgreSQL table to a Parquet file; runs in the peers' environment.

It prints the same result as our readers. dlt uses ADBC only to load into a destination.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import adbc_driver_postgresql.dbapi as adbc
import pyarrow.parquet as pq
from peer_reading import Reading, server_url


def main(argv: Sequence[str]) -> int:
    """Read with one connection, and print rows, seconds and CPU seconds as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("table")
    parser.add_argument("--folder", type=Path, required=True)
    given = parser.parse_args(argv)
    reading = Reading()
    rows = 0
    with adbc.connect(server_url()) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {given.table}")
        batches = cursor.fetch_record_batch()
        with pq.ParquetWriter(given.folder / "rows.parquet", batches.schema, compression="zstd") as writer:
            for batch in batches:
                writer.write_batch(batch)
                rows += batch.num_rows
    reading.end(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
