"""Our readers of PostgreSQL, and the limit; each runs in a process of its own and prints its measurements.

python -m benchmarks.postgresql_readers staged bench.orders_2000000 --folder /tmp/files
"""

import argparse
import concurrent.futures
import json
import logging
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apache_beam as beam
import psycopg2
import psycopg2.extras
from apache_beam.options.pipeline_options import PipelineOptions
from psycopg2.extensions import parse_dsn

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.publishing.staged_files import StagedFile
from sync_pipeline.publishing.staging import write_batches
from sync_pipeline.publishing.staging_target import StagingTarget
from sync_pipeline.smart_sync.interval import StartOrigin, SyncInterval
from sync_pipeline.sources import open_source
from sync_pipeline.sources.source import ReadSplit, TableRead
from sync_pipeline.transforms.batches import transform_batch

FIRST_MOMENT = datetime(2025, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Job:
    """The read: `rows` of `table` in `partitions` read splits, or by Smart Sync the newest `interval` rows."""

    table: str
    dsn: str
    folder: str
    rows: int
    partitions: int
    interval: int

    @property
    def query(self) -> str:
        """The query, limited to the first `rows` rows if that is set."""
        return f"SELECT * FROM {self.table}" + (f" WHERE id <= {self.rows}" if self.rows else "")


class _Nothing:
    def write(self, _: bytes) -> None:
        pass


def limit(job: Job, form: str = "csv") -> int:
    """COPY and discard it, with one connection per read split: the maximum rate of the source."""

    def copy(part: int) -> int:
        nothing = _Nothing()
        connection = psycopg2.connect(job.dsn)
        query = job.query
        if job.partitions > 1:
            query += f" WHERE id > {bounds[part]} AND id <= {bounds[part + 1]}"
        with connection.cursor() as cursor:
            cursor.copy_expert(f"COPY ({query}) TO STDOUT (FORMAT {form})", nothing)
            rows: int = cursor.rowcount
        connection.close()
        return rows

    bounds = [0]
    if job.partitions > 1:
        connection = psycopg2.connect(job.dsn)
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT max(id) FROM {job.table}")
            last = cursor.fetchone()[0]
        connection.close()
        bounds = [last * part // job.partitions for part in range(job.partitions + 1)]
    with concurrent.futures.ThreadPoolExecutor(job.partitions) as pool:
        return sum(pool.map(copy, range(job.partitions)))


def staged(job: Job) -> int:
    """Our reader, from describing the query to the last staged file."""
    address = parse_dsn(job.dsn)
    parameters = {
        "data_source": "postgresql",
        "postgresql_host": address["host"],
        "postgresql_port": address["port"],
        "postgresql_database": address["dbname"],
        "postgresql_username": address["user"],
        "postgresql_password": address["password"],
        "postgresql_query": job.query,
        "destination_bigquery_project": "benchmark-project",
        "destination_bigquery_dataset": "bench",
        "destination_bigquery_table": "bench",
        **({"num_partitions": str(job.partitions)} if job.partitions else {}),
        **({"enable_smart_sync": "true"} if job.interval else {}),
    }
    source = open_source(SyncConfig.from_parameters(parameters))
    with source.connect() as session:
        schema = session.describe(_interval(job)).schema
        plan = session.plan_read(schema, _interval(job))
    reads = {0: TableRead(source.reader(schema), batch_size=None)}
    options = ["--runner=FnApiRunner"]
    if len(plan.splits) > 1:
        options += [f"--direct_num_workers={os.cpu_count()}", "--direct_running_mode=multi_threading"]
    pipeline = beam.Pipeline(options=PipelineOptions(options))
    read = source.transform(reads)
    transformation = source.config.transformation  # type: ignore[attr-defined]
    target = StagingTarget(f"{job.folder}/", schema, TableLayout())

    def stage(split: ReadSplit) -> list[StagedFile]:
        # As the product's step `StageSplits`.
        batches = (transform_batch(batch, transformation, schema, None) for batch in read.batches([split]))
        return write_batches(batches, target)

    splits = pipeline | beam.Create(plan.splits, reshuffle=False)
    if len(plan.splits) > 1:
        splits |= beam.Reshuffle()
    splits | beam.FlatMap(stage)
    result = pipeline.run()
    result.wait_until_finish()
    counters = result.metrics().query()["counters"]
    return next(counter.committed for counter in counters if counter.key.metric.name == "rows_staged")


def _interval(job: Job) -> SyncInterval | None:
    if not job.interval:
        return None
    last = int(job.table.rpartition("_")[2])
    step = timedelta(microseconds=1_000_001)
    start, end = FIRST_MOMENT + (last - job.interval) * step, FIRST_MOMENT + last * step
    return SyncInterval(start, end, StartOrigin.DESTINATION, latest=start)


def row_beam(job: Job) -> int:
    """Row by row, as most templates do it: a named cursor, a dict for each row, lines of JSON."""
    options = PipelineOptions(["--runner=FnApiRunner"])
    pipeline = beam.Pipeline(options=options)
    rows = pipeline | beam.Create([job.query]) | beam.ParDo(_ReadRowsFn(job.dsn))
    lines = rows | beam.Map(_plain) | beam.Map(json.dumps)
    lines | beam.io.WriteToText(f"{job.folder}/rows", file_name_suffix=".json")
    result = pipeline.run()
    result.wait_until_finish()
    counters = result.metrics().query()["counters"]
    return next(counter.committed for counter in counters if counter.key.metric.name == "rows_read")


class _ReadRowsFn(beam.DoFn):
    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._rows = beam.metrics.Metrics.counter("row_beam", "rows_read")

    def process(self, query: str) -> Any:
        connection = psycopg2.connect(self._dsn)
        with connection.cursor("rows", cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
            cursor.itersize = 1000
            cursor.execute(query)
            for row in cursor:
                self._rows.inc()
                yield dict(row)
        connection.close()


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value if value is None or isinstance(value, str | int | float | bool | dict) else str(value)
        for name, value in row.items()
    }


READERS: dict[str, Callable[[Job], int]] = {
    "limit": limit,
    "limit_binary": lambda job: limit(job, "binary"),
    "staged": staged,
    "row_beam": row_beam,
}


def main(argv: Sequence[str]) -> int:
    """Run one reader and print rows, seconds and CPU seconds as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.postgresql_readers")
    parser.add_argument("reader", choices=READERS)
    parser.add_argument("table")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=0, help="read only the first so many")
    parser.add_argument("--partitions", type=int, default=0, help="0: as the product decides")
    parser.add_argument("--interval", type=int, default=0, help="read the newest so many by Smart Sync")
    given = parser.parse_args(argv)
    logging.disable(logging.INFO)
    partitions = given.partitions or (1 if given.reader.startswith("limit") else 0)
    dsn = os.environ["SANDBOX_POSTGRESQL_DSN"]
    job = Job(given.table, dsn, str(given.folder), given.rows, partitions, given.interval)
    began = time.monotonic()
    before = _cpu_seconds()
    rows = READERS[given.reader](job)
    seconds = time.monotonic() - began
    print(json.dumps(asdict(Read(rows, seconds, _cpu_seconds() - before))))
    return 0


@dataclass(frozen=True)
class Read:
    """The measurements of a reader, without the start of Python."""

    rows: int
    seconds: float
    cpu_seconds: float


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
