"""A writer inserts, updates and deletes rows while runs with `deletes=remove` follow each other: `make soak-writer`.

Then the writer stops, one more run is made, and the destination has to equal the source: `reconcile=report` finds no
difference, and neither does a comparison of all rows in Python.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import random
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
from google.cloud import bigquery
from psycopg2.extensions import make_dsn

import sandbox
from tests.integration.syncing import Run, Syncing

_TABLE = "CREATE TABLE items (id bigint PRIMARY KEY, name text, n numeric(12, 3), updated_at timestamptz NOT NULL)"
_NAME = "soak_writer"
_PARAMETERS: dict[str, str | None] = {"primary_key": "id", "deletes": "remove", "max_deleted_percent": "100"}
_ROWS = "SELECT id, name, n, updated_at FROM items"


@dataclass
class Writer(threading.Thread):
    """Changes the source until it is told to stop: of ten changes five insert, three update and two delete a row."""

    dsn: str
    rate: int
    seed: int
    changes: int = 0
    error: BaseException | None = None

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self.stopping = threading.Event()

    # A thread is told apart by itself.
    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        try:
            with contextlib.closing(psycopg2.connect(self.dsn)) as connection:
                connection.autocommit = True
                self._write(connection)
        except BaseException as error:  # noqa: BLE001 - raised by who waits for the thread
            self.error = error

    def _write(self, connection: Any) -> None:
        chance, ids, last = random.Random(self.seed), list[int](), 0
        began = time.monotonic()
        with connection.cursor() as cursor:
            while not self.stopping.is_set():
                kind = chance.random()
                if kind < 0.5 or not ids:
                    last += 1
                    ids.append(last)
                    cursor.execute("INSERT INTO items VALUES (%s, %s, %s, now())", (last, f"row {last}", last / 7))
                elif kind < 0.8:
                    values = (f"change {self.changes}", self.changes / 3, chance.choice(ids))
                    cursor.execute("UPDATE items SET name = %s, n = %s, updated_at = now() WHERE id = %s", values)
                else:
                    place = chance.randrange(len(ids))
                    ids[place], ids[-1] = ids[-1], ids[place]
                    cursor.execute("DELETE FROM items WHERE id = %s", (ids.pop(),))
                self.changes += 1
                time.sleep(max(0.0, began + self.changes / self.rate - time.monotonic()))


def main(argv: Sequence[str]) -> int:
    """Let a writer and runs work at the same time, and return 0 when the destination equals the source."""
    parser = argparse.ArgumentParser(prog="python -m tests.integration.writer_soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--rate", type=int, default=200, help="changes per second")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="of the changes; printed")
    options = parser.parse_args(argv)
    print(f"seed {options.seed}")
    warnings.simplefilter("ignore")
    with contextlib.ExitStack() as stack:
        endpoints = stack.enter_context(sandbox.running(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        os.environ.update(endpoints.environment())
        client = stack.enter_context(contextlib.closing(bigquery.Client(project=endpoints.project)))
        connection = stack.enter_context(contextlib.closing(psycopg2.connect(endpoints.postgresql_dsn)))
        connection.autocommit = True
        connection.cursor().execute(f"CREATE DATABASE {_NAME}")
        client.create_dataset(_NAME)
        dsn = make_dsn(endpoints.postgresql_dsn, dbname=_NAME)
        source = stack.enter_context(contextlib.closing(psycopg2.connect(dsn)))
        source.autocommit = True
        source.cursor().execute(_TABLE)
        folder = f"gs://{endpoints.bucket}/{_NAME}"
        syncing = Syncing(endpoints, _NAME, source, client, _NAME, folder)
        # Without the lines of the runs, which are many.
        logging.getLogger("sync_pipeline").addHandler(logging.NullHandler())
        return _soak(syncing, Writer(dsn, options.rate, options.seed), options.seconds)


def _soak(syncing: Syncing, writer: Writer, seconds: float) -> int:
    runs = 0
    writer.start()
    try:
        until = time.monotonic() + seconds
        while time.monotonic() < until and writer.error is None:
            run = syncing.smart(**_PARAMETERS).succeeded()
            runs += 1
            print(f"run {runs}: {run.report['outcome']}; {writer.changes:,} changes at the source", flush=True)
            if runs % 5 == 0:
                _check_report(syncing.smart(**_PARAMETERS, reconcile="report"), "while the writer writes")
    finally:
        writer.stopping.set()
        writer.join()
    if writer.error is not None:
        raise writer.error
    syncing.smart(**_PARAMETERS).succeeded()
    report = syncing.smart(**_PARAMETERS, reconcile="report")
    is_equal = _check_report(report, "at the end")
    left, right = sorted(syncing.execute(_ROWS)), sorted(syncing.query(_ROWS))
    print(
        f"{writer.changes:,} changes, {runs} runs; {len(left):,} rows at the source, {len(right):,} in the destination"
    )
    print(f"all rows compared in Python: {'equal' if left == right else 'different'}")
    return 0 if is_equal and left == right and report.report["not_yet_synced"] == "0" else 1


def _check_report(run: Run, when: str) -> bool:
    values = run.report
    counts = ", ".join(f"{name}={values[name]}" for name in ("missing", "different", "surplus", "not_yet_synced"))
    print(f"reconcile=report {when}: exit code {run.exit_code}, {counts}", flush=True)
    return run.exit_code == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
