"""A database of generated tables, synced by one run: `python -m tests.integration.generated_tables --tables 500`.

Prints how long planning, running and comparing take, and how many statements and requests planning sends.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from google.cloud import bigquery
from google.cloud.bigquery._http import Connection
from psycopg2 import sql

import sandbox
from tests.integration.postgresql_reading import counted_statements, fresh_database
from tests.integration.syncing import Syncing
from tests.integration.table_values import bigquery_rows, postgresql_rows

SEED = 16
MAX_COLUMNS, MAX_ROWS = 30, 200
SELECTED = {
    "postgresql_query": None,
    "destination_bigquery_table": None,
    "postgresql_table": "*.*",
    "smart_sync_settle_seconds": "0",
}

# Types of columns, and a value for each number of a row.
TYPES = {
    "int": "n * 7",
    "bigint": "n * 9007199254740993",
    "smallint": "n",
    "text": "repeat('é\"', n % 5) || n",
    "varchar(100)": "CASE WHEN n % 2 = 0 THEN '' ELSE md5(n::text) END",
    "uuid": "md5(n::text)::uuid",
    "boolean": "n % 2 = 0",
    "numeric(12, 3)": "n / 8.0",
    "numeric": "n * 0.000001",
    "double precision": "n / 7.0",
    "real": "n / 7.0",
    "date": "date '2024-02-29' + n",
    "time": "time '00:00' + n * interval '1 second'",
    "timestamp": "timestamp '2024-03-31 02:30' + n * interval '1 microsecond'",
    "timestamptz": "timestamptz '2024-03-31 02:30+00' + n * interval '1 hour'",
    "bytea": "decode(md5(n::text), 'hex')",
    "jsonb": "jsonb_build_object('n', n, 'list', jsonb_build_array(n, NULL))",
    "json": "json_build_array(n, 'x')",
    "text[]": "ARRAY['a', n::text]",
    "int[]": "ARRAY[n, -n]",
    "interval": "n * interval '1 minute'",
    "inet": "'10.0.0.1'::inet + n",
}


def create_tables(count: int, seed: int = SEED) -> Iterator[str]:
    """Yield statements that make tables, half of them with a key, and most with timestamps of their changes."""
    generator = random.Random(seed)
    for number in range(count):
        columns = [(f"c{index}", generator.choice(list(TYPES))) for index in range(generator.randint(1, MAX_COLUMNS))]
        nulls = [generator.choice([2, 5, 1000]) for _ in columns]
        declared = [f"{name} {type_}" for name, type_ in columns]
        values = [
            f"CASE WHEN n % {every} > 0 THEN {TYPES[type_]} END"
            for every, (_, type_) in zip(nulls, columns, strict=True)
        ]
        if generator.random() < 0.5:
            declared.append("id int PRIMARY KEY")
            values.append("n")
        if generator.random() < 0.7:
            declared.append("updated_at timestamptz")
            values.append("CASE WHEN n % 50 > 0 THEN timestamptz '2024-01-01' + n * interval '1 minute' END")
        rows = generator.randint(0, MAX_ROWS)
        yield f"CREATE TABLE t{number:03} ({', '.join(declared)})"
        yield f"INSERT INTO t{number:03} SELECT {', '.join(values)} FROM generate_series(1, {rows}) AS n"


def fill(syncing: Syncing, count: int) -> None:
    """Make the tables in the source."""
    syncing.execute(";\n".join(create_tables(count)) + "; ANALYZE")


def different(syncing: Syncing, count: int) -> list[str]:
    """Compare every value of every table, and return the tables that differ."""
    found = []
    assert syncing.postgresql is not None
    for name in (f"t{number:03}" for number in range(count)):
        table = syncing.table(name)
        there = postgresql_rows(syncing.postgresql, sql.Identifier(name), table.schema)
        if bigquery_rows(syncing.client.list_rows(table)) != there:
            found.append(name)
    return found


@contextlib.contextmanager
def counted_requests() -> Iterator[list[str]]:
    """Collect the requests to BigQuery: method, and path without ids."""
    sent: list[str] = []
    send = Connection.api_request

    def noted(connection: Connection, **options: Any) -> Any:
        sent.append(f"{options['method']} {options['path']}")
        return send(connection, **options)

    with mock.patch.object(Connection, "api_request", noted):
        yield sent


def main(argv: Sequence[str]) -> int:
    """Sync the tables twice, and return 0 when all values are equal."""
    parser = argparse.ArgumentParser(prog="python -m tests.integration.generated_tables", description=__doc__)
    parser.add_argument("--tables", type=int, default=500)
    count = parser.parse_args(argv).tables
    # Statements on a few rows take a third less time when they are not divided.
    os.environ["SANDBOX_BIGQUERY_THREADS"] = "1"
    with contextlib.ExitStack() as stack:
        endpoints = stack.enter_context(sandbox.running(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        os.environ.update(endpoints.environment())
        client = stack.enter_context(contextlib.closing(bigquery.Client(project=endpoints.project)))
        reader, connection = stack.enter_context(fresh_database(endpoints))
        dataset = f"generated_{uuid.uuid4().hex[:8]}"
        client.create_dataset(dataset)
        folder = f"gs://{endpoints.bucket}/{dataset}"
        syncing = Syncing(endpoints, reader.database, connection, client, dataset, folder)
        fill(syncing, count)
        equal = True
        for title in ("first", "second"):
            with counted_statements() as statements, counted_requests() as requests:
                began = time.monotonic()
                plan = syncing.run(**SELECTED, dry_run="true")
                planned = time.monotonic() - began
            print(f"{title} plan: {planned:.1f} s, {len(statements)} statements, {len(requests)} requests", flush=True)
            with counted_requests() as requests:
                began = time.monotonic()
                run = syncing.run(**SELECTED)
                seconds = time.monotonic() - began
            print(f"{title} run: {seconds:.1f} s, {len(requests)} requests", *run.errors, sep="\n", flush=True)
            began = time.monotonic()
            differing = different(syncing, count) if run.exit_code == plan.exit_code == 0 else ["not compared"]
            print(f"compared in {time.monotonic() - began:.1f} s, different: {differing}", flush=True)
            equal = equal and not differing
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
