"""Finding a thousand deleted rows among ten million keys: `make bench-deletes`.

Three ways bring a table of BigQuery up to date after 1,000 rows of PostgreSQL were deleted, one after the other, each
in a process of its own: a run with `deletes=remove`, a run that replaces all rows, and a comparison of all keys in
Python (`deletes_in_python.py`), as scripts around sling and dlt do it. The server counts the buffers of the table and
its indexes that each of them reads. A run over a tenth of the keys shows that memory does not grow with their number.
Only ratios within one benchmark are meaningful: absolute figures differ between machines. Writes
`results/deletes.json`.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
from google.cloud import bigquery
from psycopg2.extensions import connection as Connection

import sandbox
from benchmarks.memory import MIB, MOST_RATIO, PACKAGES, Measured, RunFailedError, facts, measure
from sandbox import demo_run
from sandbox.endpoints import Endpoints

ROOT = demo_run.ROOT
RESULTS = Path(__file__).with_name("results") / "deletes.json"
# Results of a quick try are not kept; `make clean` removes them.
QUICK_RESULTS = ROOT / "build" / "benchmarks" / "deletes.json"

ROWS, QUICK_ROWS = 10_000_000, 200_000
DELETED = 1000
FEWER = 10

_SOURCE = """
    CREATE TABLE {table} AS
    SELECT n::bigint AS id, (n % 97)::int AS customer, 'status ' || n % 5 AS status,
           n % 1000 * 1.5::float8 AS amount, repeat('x', 100 + (n % 100)::int) AS note,
           timestamptz '2024-01-01 00:00:00+00' + n * interval '1 second' AS updated_at
    FROM generate_series(1, {rows}) AS n;
    ALTER TABLE {table} ADD PRIMARY KEY (id), SET (autovacuum_enabled = off);
    CREATE INDEX ON {table} (updated_at)
"""
_DESTINATION = """
    CREATE OR REPLACE TABLE `{table}` AS
    SELECT n AS id, MOD(n, 97) AS customer, CONCAT('status ', CAST(MOD(n, 5) AS STRING)) AS status,
      MOD(n, 1000) * 1.5e0 AS amount, REPEAT('x', 100 + MOD(n, 100)) AS note,
      TIMESTAMP_ADD(TIMESTAMP '2024-01-01 00:00:00+00', INTERVAL n SECOND) AS updated_at
    FROM UNNEST(GENERATE_ARRAY(1, {rows})) AS n
"""
# A buffer of an index-only scan's visibility map counts as one of the table.
_BUFFERS = """
    SELECT sum(heap_blks_read + heap_blks_hit + coalesce(idx_blks_read + idx_blks_hit, 0)
               + coalesce(toast_blks_read + toast_blks_hit, 0))
    FROM pg_statio_user_tables WHERE relname = %s
"""


@dataclass(frozen=True)
class Way:
    """What a way took: seconds, peak memory in bytes, and buffers that PostgreSQL read for it."""

    seconds: float
    peak: int
    buffers: int


class Bench:
    """A table of PostgreSQL with `rows` rows, of which `DELETED` are deleted, and its copy in BigQuery."""

    def __init__(self, endpoints: Endpoints, connection: Connection, client: bigquery.Client, rows: int) -> None:
        self._endpoints, self._connection, self._client = endpoints, connection, client
        self._rows = rows
        self._table = f"items_{rows}"
        print(f"making a table of {rows:,} rows", flush=True)
        self._execute(_SOURCE.format(table=self._table, rows=rows))
        # The sandbox's server commits asynchronously, and a vacuum needs the commit on disk to mark pages as visible.
        time.sleep(2)
        self._execute(f"VACUUM ANALYZE {self._table}")
        # No vacuum follows, so that their pages are looked at.
        self._execute(f"DELETE FROM {self._table} WHERE id % {rows // DELETED} = {rows // DELETED // 2}")
        # A session reports its buffers late, and other sessions do when they end.
        self._execute("SELECT pg_stat_force_next_flush()")

    def run(self, name: str) -> Way:
        """Bring the copy up to date in the way of this name. Raises RunFailedError when it then is not."""
        table_id = f"{self._endpoints.project}.{self._endpoints.dataset}.{self._table}"
        self._client.query_and_wait(_DESTINATION.format(table=table_id, rows=self._rows))
        before = self._buffers()
        measured = measure(self._command(name), {**os.environ, **self._endpoints.environment()}, ROOT)
        self._check(name, measured, table_id)
        way = Way(measured.seconds, measured.peak, self._buffers() - before)
        print(
            f"{name}, {self._rows:,} rows: {way.seconds:.1f} s, {way.peak / MIB:,.0f} MiB, {way.buffers:,} buffers",
            flush=True,
        )
        return way

    def _command(self, name: str) -> list[str]:
        if name == "python":
            module = "benchmarks.deletes_in_python"
            return [sys.executable, "-m", module, self._table, self._endpoints.project, self._endpoints.dataset]
        parameters = {
            **demo_run.source_parameters(self._endpoints),
            "postgresql_query": f"SELECT * FROM {self._table}",
            **demo_run.destination_parameters(self._endpoints),
            "destination_bigquery_table": self._table,
        }
        if name == "reload":
            return demo_run.command({**parameters, "write_disposition": "WRITE_TRUNCATE"})
        return demo_run.command({**parameters, "enable_smart_sync": "true", "primary_key": "id", "deletes": "remove"})

    def _check(self, name: str, measured: Measured, table_id: str) -> None:
        (row,) = self._client.query_and_wait(f"SELECT COUNT(*) FROM `{table_id}`")
        if measured.exit_code != 0 or row[0] != self._rows - DELETED:
            raise RunFailedError(
                f"{name}: exit code {measured.exit_code}, and {row[0]:,} rows are there instead of "
                f"{self._rows - DELETED:,}:\n{measured.output}"
            )

    def _buffers(self) -> int:
        time.sleep(1)
        return int(self._execute(_BUFFERS, (self._table,))[0][0])

    def _execute(self, statement: str, values: Sequence[str] | None = None) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall() if cursor.description is not None else []


def result(rows: int, ways: Mapping[str, Way], fewer: Way) -> dict[str, Any]:
    """Return the content of `deletes.json`; `fewer` is a run over a tenth of the keys."""
    ours = ways["deletes"]
    return {
        "rows": rows,
        "deleted": DELETED,
        "reload_vs_deletes": round(ways["reload"].seconds / ours.seconds, 1),
        "python_vs_deletes": round(ways["python"].seconds / ours.seconds, 1),
        "reload_buffers_vs_deletes": round(ways["reload"].buffers / ours.buffers, 1),
        "python_buffers_vs_deletes": round(ways["python"].buffers / ours.buffers, 1),
        "peak_vs_tenth": round(ours.peak / fewer.peak, 3),
        "peak_mb_tenth": round(fewer.peak / MIB, 1),
        "seconds": {name: round(way.seconds, 1) for name, way in ways.items()},
        "buffers": {name: way.buffers for name, way in ways.items()},
        "peak_mb": {name: round(way.peak / MIB, 1) for name, way in ways.items()},
    }


def misses(document: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each missed aim."""
    aims = []
    if document["reload_vs_deletes"] < 1:
        aims.append(f"a reload takes {document['reload_vs_deletes']} times as long, the aim is at least 1")
    if document["peak_vs_tenth"] > MOST_RATIO:
        aims.append(f"ten times the keys take {document['peak_vs_tenth']} times the memory, the aim is {MOST_RATIO}")
    return aims


def main(argv: Sequence[str]) -> int:
    """Measure, write the result and return the exit code: 1 if an aim is missed, 2 if a run failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deletes", description="Measure finding deleted rows.")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROWS:,} rows: to try the benchmark itself")
    parser.add_argument("--rows", type=int, help=f"rows of the table ({ROWS:,}); others are not kept as results")
    parser.add_argument("--output", type=Path, help="the file that is written")
    given = parser.parse_args(argv)
    rows: int = given.rows or (QUICK_ROWS if given.quick else ROWS)
    if rows // FEWER < DELETED:
        parser.error(f"--rows must be at least {FEWER * DELETED:,}")
    output: Path = given.output or (RESULTS if rows == ROWS else QUICK_RESULTS)
    load = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory(prefix="sandbox-deletes-") as folder, sandbox.running(Path(folder)) as endpoints:
        os.environ.update(endpoints.environment())
        connection = psycopg2.connect(endpoints.postgresql_dsn)
        connection.autocommit = True
        client = bigquery.Client(project=endpoints.project)
        try:
            fewer = Bench(endpoints, connection, client, rows // FEWER).run("deletes")
            bench = Bench(endpoints, connection, client, rows)
            ways = {name: bench.run(name) for name in ("deletes", "python", "reload")}
        except RunFailedError as error:
            print(error, file=sys.stderr)
            return 2
        connection.close()
    document = result(rows, ways, fewer) | {"quick": rows != ROWS, "load_before": load} | facts(PACKAGES)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    missed = misses(document)
    print("\n".join([f"written: {output}", *(f"MISSED: {miss}" for miss in missed)]))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
