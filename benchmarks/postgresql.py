"""PostgreSQL to staged files and to BigQuery, compared with the limit and the peers: `make bench`.

Each round runs all cases in turn, each in a process of its own. Only ratios of medians within one benchmark are
meaningful: absolute figures differ between machines. Writes `results/postgresql.json`, the chart next to it, and the
tables in `docs/reference/performance.md` and the README's figures.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import parse_dsn

import sandbox
from benchmarks import postgresql_tables as tables
from benchmarks.memory import MIB, PACKAGES, RunFailedError, facts, measure
from benchmarks.postgresql_cases import FULL, PROGRAMS, QUICK, Case, Scale, cases
from benchmarks.postgresql_report import misses, write_figures
from benchmarks.postgresql_server import cpu_seconds, first_process
from benchmarks.startup import startup_seconds
from sandbox import demo_run
from sandbox.endpoints import Endpoints

ROOT = demo_run.ROOT
PEERS = ROOT / ".venv-peers" / "bin" / "python"
RESULTS = Path(__file__).with_name("results") / "postgresql.json"
# Results of a quick try are not kept; `make clean` removes them.
QUICK_RESULTS = ROOT / "build" / "benchmarks" / "postgresql.json"
# The first run compiles the Python modules of the peers and ours; later runs should not.
BYTECODE = "PYTHONDONTWRITEBYTECODE"


@dataclass(frozen=True)
class Run:
    """The measurements of one process; `peak` in bytes, `total_seconds` with its start-up.

    Attributes:
        server_seconds: the CPU seconds of PostgreSQL meanwhile.
        inexact: the columns with other values than the table has.
    """

    rows: int
    seconds: float
    cpu_seconds: float
    peak: int
    total_seconds: float
    server_seconds: float = 0.0
    inexact: tuple[str, ...] = ()


def main(argv: Sequence[str]) -> int:
    """Measure everything, write the results and return the exit code: 1 if a target is missed, 2 if a run failed."""
    given = arguments(argv)
    scale = QUICK if given.quick else FULL
    if given.rounds:
        scale = replace(scale, rounds=given.rounds)
    # The load average of the last minute shows other work on the machine.
    load = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory(prefix="sandbox-bench-") as folder, sandbox.running(Path(folder)) as endpoints:
        try:
            runs = measure_all(scale, endpoints)
            buffers = interval_buffers(scale, endpoints)
            starts = startup_seconds(endpoints, environment_of(endpoints), scale.rounds)
        except RunFailedError as error:
            print(error, file=sys.stderr)
            return 2
    document = (
        result(scale, runs, buffers)
        | starts
        | {"quick": given.quick, "load_before": load}
        | facts(PACKAGES)
        | {"peers": peer_versions()}
    )
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    chart = given.output.with_suffix(".png")
    subprocess.run([PEERS, ROOT / "benchmarks" / "postgresql_chart.py", given.output, chart], check=True)
    if given.output == RESULTS:
        write_figures(ROOT, document)
    missed = misses(document)
    print("\n".join([f"written: {given.output} and {chart}", *(f"MISSED: {miss}" for miss in missed)]))
    return 1 if missed else 0


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Return the parsed command line; a quick measurement does not overwrite the results that are kept."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.postgresql", description="Measure reading PostgreSQL.")
    parser.add_argument("--quick", action="store_true", help="small tables, once: to try the benchmark itself")
    parser.add_argument(
        "--output", type=Path, help="the file that is written; by default the results, or a file in build/"
    )
    parser.add_argument("--rounds", type=int, help="how often everything is measured")
    given = parser.parse_args(argv)
    given.output = given.output or (QUICK_RESULTS if given.quick else RESULTS)
    return given


def measure_all(scale: Scale, endpoints: Endpoints) -> dict[str, list[Run]]:
    """Make the tables and run each case once a round. Raises RunFailedError when one does not read what it should."""
    all_cases = list(cases(scale))
    connection = psycopg2.connect(endpoints.postgresql_dsn)
    connection.autocommit = True
    for table in dict.fromkeys(case.table for case in all_cases):
        print(f"making {table.qualified_name}, {table.rows:,} rows", flush=True)
        tables.create(connection, table)
    use_ordinary_password(connection, endpoints)
    connection.close()
    runs: dict[str, list[Run]] = {case.name: [] for case in all_cases}
    for number in range(scale.rounds):
        for case in all_cases:
            run = run_case(case, endpoints, number)
            runs[case.name].append(run)
            print(
                f"round {number + 1}: {case.name}: {run.seconds:.1f} s, {run.rows / run.seconds:,.0f} rows/s, "
                f"{run.peak / MIB:,.0f} MiB",
                flush=True,
            )
    return runs


def run_case(case: Case, endpoints: Endpoints, number: int) -> Run:
    """Run one case in a process of its own."""
    server = first_process(endpoints.postgresql_dsn)
    before = cpu_seconds(server)
    with tempfile.TemporaryDirectory(prefix="sandbox-bench-files-") as folder:
        measured = measure(_command(case, endpoints, folder, number), environment_of(endpoints), ROOT)
        server_seconds = cpu_seconds(server) - before
        checked = check_files(folder) if case.has_known_values and measured.exit_code == 0 else {}
    if case.reader == "whole":
        report = demo_run.find_report(measured.output)
        read = {"rows": report.rows_loaded, "seconds": report.seconds, "cpu_seconds": 0.0} if report else {}
    else:
        lines = [line for line in measured.output.splitlines() if line.startswith('{"rows"')]
        read = json.loads(lines[-1]) if lines else {}
    # A program of its own tells no number of rows that could be read here.
    found = {read.get("rows"), checked.get("rows", case.expected_rows)} - {None}
    inexact = tuple(checked.get("inexact", ()))
    if measured.exit_code != 0 or not read or found != {case.expected_rows} or (inexact and case.reader == "staged"):
        values = f", other values in {', '.join(inexact)}" if inexact else ""
        raise RunFailedError(f"{case.name}: exit code {measured.exit_code}, {found} rows{values}:\n{measured.output}")
    rates = case.expected_rows, read["seconds"], read["cpu_seconds"]
    return Run(*rates, measured.peak, measured.seconds, server_seconds, inexact)


def check_files(folder: str) -> dict[str, Any]:
    """Return how many rows the files hold, and the columns with other values than the table has."""
    command = [PEERS, ROOT / "benchmarks" / "peer_check.py", folder]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RunFailedError(ended.stderr)
    checked: dict[str, Any] = json.loads(ended.stdout)
    return checked


def use_ordinary_password(connection: Connection, endpoints: Endpoints) -> None:
    """Store the password as servers do by default: Go's driver refuses the sandbox's, which is quick to check."""
    with connection.cursor() as cursor:
        cursor.execute("SET scram_iterations = 4096")
        cursor.execute("ALTER ROLE CURRENT_USER PASSWORD %s", [parse_dsn(endpoints.postgresql_dsn)["password"]])


def environment_of(endpoints: Endpoints) -> dict[str, str]:
    """Return the variables of a measured process."""
    return {name: value for name, value in os.environ.items() if name != BYTECODE} | endpoints.environment()


def _command(case: Case, endpoints: Endpoints, folder: str, number: int) -> list[str]:
    if case.reader == "whole":
        return demo_run.command(
            {
                **demo_run.source_parameters(endpoints),
                "postgresql_query": f"SELECT * FROM {case.table.qualified_name}",
                **demo_run.destination_parameters(endpoints),
                "destination_bigquery_table": f"bench_{number}",
            }
        )
    reader = [case.reader, case.table.qualified_name, "--folder", folder]
    if case.rows:
        reader += ["--rows", str(case.rows)]
    if case.reader in ("connectorx", "sqlalchemy"):
        return [str(PEERS), "benchmarks/peer_dlt.py", *reader]
    if case.reader == "duckdb":
        return [str(PEERS), "benchmarks/peer_duckdb.py", *reader[1:], "--partitions", str(case.partitions)]
    if case.reader == "adbc":
        return [str(PEERS), "benchmarks/peer_adbc.py", *reader[1:]]
    if case.reader in PROGRAMS:
        return [str(PEERS), "benchmarks/peer_programs.py", *reader]
    reader += ["--partitions", str(case.partitions), "--interval", str(case.interval)]
    return [sys.executable, "-m", "benchmarks.postgresql_readers", *reader]


def interval_buffers(scale: Scale, endpoints: Endpoints) -> dict[str, Any]:
    """Return the server's plan and buffers for an interval of the largest table, and the table's buffers."""
    table = tables.orders(scale.sizes[-1])
    moments = [
        f"timestamptz '2025-01-01' + {rows} * interval '1.000001 second'"
        for rows in (table.rows - scale.interval, table.rows)
    ]
    connection = psycopg2.connect(endpoints.postgresql_dsn)
    with connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT ({moments[0]})::text, ({moments[1]})::text")
        start, end = cursor.fetchone()
        statement = (
            f"SELECT q.* FROM (SELECT * FROM {table.qualified_name}) AS q "
            f"WHERE q.updated_at > '{start}' AND q.updated_at <= '{end}'"
        )
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}")
        plan = cursor.fetchone()[0][0]["Plan"]
        cursor.execute(f"SELECT pg_relation_size('{table.qualified_name}') / current_setting('block_size')::int")
        pages = int(cursor.fetchone()[0])
    connection.close()
    touched = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    return {"step": plan["Node Type"], "rows": int(plan["Actual Rows"]), "buffers": touched, "table_buffers": pages}


def result(scale: Scale, runs: dict[str, list[Run]], buffers: dict[str, Any]) -> dict[str, Any]:
    """Return the content of `postgresql.json`: rates in rows per second, memory in MiB, all medians."""
    rates = {name: _median([run.rows / run.seconds for run in measured]) for name, measured in runs.items()}
    peaks = {name: _median([run.peak / MIB for run in measured]) for name, measured in runs.items()}
    aimed_at, largest = (f"{rows:,} rows" for rows in (scale.sizes[1], scale.sizes[-1]))
    servers = {name: _median([run.server_seconds for run in measured]) for name, measured in runs.items()}
    clients = {name: _median([run.cpu_seconds for run in measured]) for name, measured in runs.items()}
    seconds = [_median([run.seconds for run in runs[f"staged, {rows:,} rows"]]) for rows in scale.sizes]
    return {
        "staged_vs_copy": _ratio(rates, f"staged, {aimed_at}", f"limit, {aimed_at}"),
        "staged_vs_copy_8m": _ratio(rates, f"staged, {largest}", f"limit, {largest}"),
        "staged_vs_copy_binary": _ratio(rates, f"staged, {aimed_at}", f"limit in binary, {aimed_at}"),
        "staged_vs_duckdb": _ratio(rates, f"staged, {aimed_at}", f"duckdb, {aimed_at}"),
        "staged_vs_duckdb_2_connections": _ratio(rates, "staged, 2 partitions", "duckdb, 2 connections"),
        "server_cpu_vs_copy_csv": _ratio(servers, f"staged, {aimed_at}", f"limit, {aimed_at}"),
        "client_cpu_seconds_per_million": round(clients[f"staged, {aimed_at}"] * 1e6 / scale.sizes[1], 3),
        **{
            f"staged_vs_{peer}": _ratio(rates, f"staged, {aimed_at}", f"{peer}, {aimed_at}")
            for peer in ("adbc", *PROGRAMS)
        },
        "staged_vs_dlt_connectorx": _ratio(rates, f"staged, {aimed_at}", f"dlt connectorx, {aimed_at}"),
        "staged_vs_row_beam": _ratio(rates, f"staged, {aimed_at}", "row by row"),
        "staged_vs_dlt_default": _ratio(rates, f"staged, {aimed_at}", "dlt default"),
        "whole_run_vs_copy": _ratio(rates, "whole run", f"limit, {aimed_at}"),
        "peak_mb_2m": round(peaks[f"staged, {aimed_at}"], 1),
        "peak_mb_8m": round(peaks[f"staged, {largest}"], 1),
        "growth_exponent": round(exponent(scale.sizes, seconds), 3),
        "interval": buffers,
        "cases": {
            name: {
                "rows": measured[0].rows,
                "seconds": round(_median([run.seconds for run in measured]), 3),
                "total_seconds": round(_median([run.total_seconds for run in measured]), 3),
                "rows_per_second": round(rates[name]),
                "rows_per_core_second": round(
                    measured[0].rows / max(_median([run.cpu_seconds for run in measured]), 0.01)
                ),
                "server_cpu_seconds": round(servers[name], 2),
                "peak_mb": round(peaks[name], 1),
                **({"inexact": list(measured[0].inexact)} if measured[0].inexact else {}),
            }
            for name, measured in runs.items()
        },
        "rounds": scale.rounds,
        "aimed_at": aimed_at,
        "largest": largest,
    }


def exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """Return the exponent e of the best fit of seconds = c * rows ** e; 1 is linear."""
    return statistics.linear_regression([math.log(size) for size in sizes], [math.log(s) for s in seconds]).slope


def peer_versions() -> dict[str, str]:
    """Return the versions of the peers."""
    names = ("dlt", "connectorx", "duckdb", "pyarrow", "adbc-driver-postgresql", "ingestr", "sling-linux-amd64")
    program = f"import importlib.metadata as m, json; print(json.dumps({{n: m.version(n) for n in {names}}}))"
    versions: dict[str, str] = json.loads(
        subprocess.run([PEERS, "-c", program], check=True, capture_output=True).stdout
    )
    return versions


def _median(values: Sequence[float]) -> float:
    return float(statistics.median(values))


def _ratio(figures: dict[str, float], one: str, other: str) -> float:
    return round(figures[one] / max(figures[other], 0.01), 3)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
