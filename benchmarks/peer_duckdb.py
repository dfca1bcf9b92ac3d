"""DuckDB's postgres extension reads a PostgreSQL table to a Parquet file; runs in the peers' environment.

It prints the same result as our readers. The extension comes from its wheel, not from DuckDB's own server.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import duckdb
import duckdb_extension_postgres_scanner
from peer_reading import Reading


def main(argv: Sequence[str]) -> int:
    """Read with so many connections, and print rows, seconds and CPU seconds as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("table")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--partitions", type=int, default=1, help="connections, and threads")
    given = parser.parse_args(argv)
    package = Path(duckdb_extension_postgres_scanner.__file__).parent
    (extension,) = package.rglob("postgres_scanner.duckdb_extension")
    reading = Reading()
    connection = duckdb.connect(config={"threads": given.partitions})
    connection.execute(f"LOAD '{extension}'")
    connection.execute(f"ATTACH '{os.environ['SANDBOX_POSTGRESQL_DSN']}' AS pg (TYPE postgres, READ_ONLY)")
    copied = connection.execute(
        f"COPY (SELECT * FROM pg.{given.table}) TO '{given.folder / 'rows.parquet'}' (FORMAT parquet, COMPRESSION zstd)"
    ).fetchone()
    reading.end(copied[0])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
