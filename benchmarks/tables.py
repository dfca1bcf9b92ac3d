"""Many small tables in one run, beside one run a table and beside dlt: `make bench-tables`.

All cases run in turn against one server, each in a process of its own. The seconds that one more table takes are the
difference between a schema of many tables and one of few. Only ratios within one benchmark are meaningful: absolute
figures differ between machines. Writes `results/tables.json`.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection

import sandbox
from benchmarks.memory import MIB, PACKAGES, Measured, RunFailedError, facts, measure
from benchmarks.postgresql import PEERS, peer_versions
from sandbox import demo_run
from sandbox.endpoints import Endpoints

ROOT = demo_run.ROOT
RESULTS = Path(__file__).with_name("results") / "tables.json"
# Results of a quick try are not kept; `make clean` removes them.
QUICK_RESULTS = ROOT / "build" / "benchmarks" / "tables.json"

ROWS = 1000
MAX_STAGED_SECONDS, MAX_PUBLISHED_SECONDS = 0.05, 0.15

_TABLE = """
    CREATE TABLE {table} (
        id bigint PRIMARY KEY, customer int, status text, amount numeric(12, 2), note text, created_at timestamptz,
        paid boolean, updated_at timestamptz NOT NULL
    );
    INSERT INTO {table}
    SELECT n, n % 97, 'status ' || n % 5, n * 1.5, repeat('x', n % 40), now(), n % 2 = 0,
           now() - n * interval '1 second'
    FROM generate_series(1, {rows}) AS n
"""


@dataclass(frozen=True)
class Scale:
    """The numbers of tables of the two schemas, of single runs, and of rounds."""

    many: int = 200
    few: int = 20
    single: int = 10
    rounds: int = 3


QUICK = Scale(many=8, few=2, single=1, rounds=1)


@dataclass
class Sessions:
    """The connections to the server: the most at once, and how many were opened."""

    most: int = 0
    opened: int = 0


@dataclass
class Runs:
    """The seconds of each case, a value a round, and what else was seen of the run of many tables."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    peaks: list[int] = field(default_factory=list)
    plan_seconds: list[float] = field(default_factory=list)
    sessions: list[Sessions] = field(default_factory=list)

    def add(self, case: str, seconds: float) -> None:
        print(f"{case}: {seconds:.1f} s", flush=True)
        self.seconds.setdefault(case, []).append(seconds)

    def median(self, case: str) -> float:
        return statistics.median(self.seconds[case])


def main(argv: Sequence[str]) -> int:
    """Measure, write the result and return the exit code: 1 if an aim is missed, 2 if a run failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables", description="Measure runs of many tables.")
    parser.add_argument("--quick", action="store_true", help="few tables, once: to try the benchmark itself")
    parser.add_argument("--rounds", type=int, help="how often everything is measured")
    parser.add_argument("--output", type=Path, help="the file that is written")
    given = parser.parse_args(argv)
    output: Path = given.output or (QUICK_RESULTS if given.quick else RESULTS)
    scale = QUICK if given.quick else Scale()
    if given.rounds:
        scale = replace(scale, rounds=given.rounds)
    load = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory(prefix="sandbox-tables-") as folder, sandbox.running(Path(folder)) as endpoints:
        try:
            runs = measure_all(scale, endpoints)
        except RunFailedError as error:
            print(error, file=sys.stderr)
            return 2
    document = result(scale, runs) | {"quick": given.quick, "load_before": load} | facts(PACKAGES)
    document["peers"] = peer_versions()
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    missed = misses(document)
    print("\n".join([f"written: {output}", *(f"MISSED: {miss}" for miss in missed)]))
    return 1 if missed else 0


def measure_all(scale: Scale, endpoints: Endpoints) -> Runs:
    """Make the tables and run each case once a round. Raises RunFailedError when one does not move what it should."""
    connection = psycopg2.connect(endpoints.postgresql_dsn)
    connection.autocommit = True
    _make_schema(connection, "many", scale.many)
    _make_schema(connection, "few", scale.few)
    runs = Runs()
    for number in range(scale.rounds):
        for schema, count in (("few", scale.few), ("many", scale.many)):
            staged = _staged(endpoints, schema, count, f"staged_{schema}_{number}")
            runs.add(f"staged, {schema}", staged["seconds"])
            with _watched(endpoints) as sessions:
                whole = _published(endpoints, f"{schema}.*", count, f"{schema}_{number}")
            runs.add(f"published, {schema}", whole.seconds)
            runs.add(f"dlt, {schema}", _dlt(endpoints, schema, count))
            if schema == "many":
                runs.plan_seconds.append(staged["plan_seconds"])
                runs.peaks.append(whole.peak)
                runs.sessions.append(sessions)
        for table in range(scale.single):
            single = _published(endpoints, f"many.t{table:03}", 1, f"single_{number}_{table}")
            runs.add("single run", single.seconds)
    connection.close()
    return runs


def result(scale: Scale, runs: Runs) -> dict[str, Any]:
    """Return the content of `tables.json`: seconds are medians, memory in MiB."""
    more = scale.many - scale.few

    def marginal(case: str) -> float:
        return (runs.median(f"{case}, many") - runs.median(f"{case}, few")) / more

    published, staged = runs.median("published, many"), runs.median("staged, many")
    return {
        "tables": scale.many,
        "rows_per_table": ROWS,
        "rounds": scale.rounds,
        "marginal_seconds_per_table": {
            "staged": round(marginal("staged"), 4),
            "published": round(marginal("published"), 4),
            "dlt": round(marginal("dlt"), 4),
        },
        "vs_single_runs": round(scale.many * runs.median("single run") / published, 1),
        "vs_dlt": round(runs.median("dlt, many") / staged, 2),
        "peak_mb": round(statistics.median(runs.peaks) / MIB, 1),
        "plan_seconds": round(statistics.median(runs.plan_seconds), 2),
        "connections": {
            "most_at_once": max(seen.most for seen in runs.sessions),
            "opened": max(seen.opened for seen in runs.sessions),
        },
        "seconds": {case: round(runs.median(case), 2) for case in runs.seconds},
    }


def misses(document: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each missed aim."""
    marginal = document["marginal_seconds_per_table"]
    aims = (("staged", MAX_STAGED_SECONDS), ("published", MAX_PUBLISHED_SECONDS))
    return [
        f"one more table takes {marginal[name]} s until it is {name}, the aim is at most {most} s"
        for name, most in aims
        if marginal[name] > most
    ]


def _make_schema(connection: Connection, schema: str, count: int) -> None:
    print(f"making {count} tables of {ROWS:,} rows in {schema}", flush=True)
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA {schema}")
        for number in range(count):
            cursor.execute(_TABLE.format(table=f"{schema}.t{number:03}", rows=ROWS))
        cursor.execute("ANALYZE")


def _parameters(endpoints: Endpoints, tables: str, prefix: str) -> dict[str, str]:
    return {
        **demo_run.source_parameters(endpoints),
        "postgresql_table": tables,
        **demo_run.destination_parameters(endpoints),
        "destination_bigquery_table": f"{prefix}_{{table}}",
    }


def _staged(endpoints: Endpoints, schema: str, count: int, prefix: str) -> dict[str, Any]:
    arguments = demo_run.command(_parameters(endpoints, f"{schema}.*", prefix))[2:]
    measured = _run([sys.executable, "-m", "benchmarks.tables_staged", *arguments], endpoints)
    return _counted(measured, count)


def _published(endpoints: Endpoints, tables: str, count: int, prefix: str) -> Measured:
    measured = _run(demo_run.command(_parameters(endpoints, tables, prefix)), endpoints)
    if measured.output.count(f"rows_loaded={ROWS} ") < count:
        raise RunFailedError(f"{tables}: not every table has {ROWS} rows:\n{measured.output}")
    return measured


def _dlt(endpoints: Endpoints, schema: str, count: int) -> float:
    with tempfile.TemporaryDirectory(prefix="sandbox-bench-files-") as folder:
        command = [str(PEERS), str(ROOT / "benchmarks" / "peer_dlt_tables.py"), schema, "--folder", folder]
        return float(_counted(_run(command, endpoints), count)["seconds"])


def _counted(measured: Measured, count: int) -> dict[str, Any]:
    """Return what a case printed. Raises RunFailedError if it is not all rows of all tables."""
    lines = [line for line in measured.output.splitlines() if line.startswith('{"rows"')]
    found: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    if (found.get("rows"), found.get("tables")) != (count * ROWS, count):
        raise RunFailedError(f"{found} is not {count} tables of {ROWS} rows:\n{measured.output}")
    return found


def _run(command: Sequence[str], endpoints: Endpoints) -> Measured:
    measured = measure(command, {**os.environ, **endpoints.environment()}, ROOT)
    if measured.exit_code != 0:
        raise RunFailedError(f"exit code {measured.exit_code}:\n{measured.output}")
    return measured


@contextmanager
def _watched(endpoints: Endpoints) -> Iterator[Sessions]:
    """Count the connections of others to the server meanwhile."""
    sessions, ended = Sessions(), threading.Event()
    connection = psycopg2.connect(endpoints.postgresql_dsn)
    connection.autocommit = True

    def number(statement: str) -> int:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return int(cursor.fetchone()[0])

    opened = "SELECT sessions FROM pg_stat_database WHERE datname = current_database()"
    open_now = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND backend_type = 'client backend' AND application_name = 'sync-to-bigquery'"
    )

    def watch() -> None:
        while not ended.wait(0.02):
            sessions.most = max(sessions.most, number(open_now))

    before = number(opened)
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield sessions
    finally:
        ended.set()
        watcher.join()
        # Sessions are counted when they have ended, a moment later.
        time.sleep(1)
        sessions.opened = number(opened) - before
        connection.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
