"""Seconds from exec to exit of a program that has little to do: help, and a run that finds nothing new."""

import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

import psycopg2

from benchmarks import postgresql_tables as tables
from benchmarks.memory import RunFailedError
from sandbox import demo_run
from sandbox.endpoints import Endpoints

# Rows of the table that is synced before the run that finds nothing new.
ROWS = 1000


def startup_seconds(endpoints: Endpoints, environment: Mapping[str, str], rounds: int) -> dict[str, float]:
    """Return medians of `rounds` starts. Raises RunFailedError when one fails."""
    connection = psycopg2.connect(endpoints.postgresql_dsn)
    connection.autocommit = True
    table = tables.orders(ROWS)
    tables.create(connection, table)
    connection.close()
    sync = demo_run.command(
        {
            **demo_run.source_parameters(endpoints),
            "postgresql_query": f"SELECT * FROM {table.qualified_name}",
            **demo_run.destination_parameters(endpoints),
            "destination_bigquery_table": "startup",
            "enable_smart_sync": "true",
        }
    )
    _seconds(sync, environment)
    return {
        "startup_seconds_help": _median([sys.executable, "main.py", "--help"], environment, rounds),
        "nothing_new_seconds": _median(sync, environment, rounds),
    }


def _median(command: Sequence[str], environment: Mapping[str, str], rounds: int) -> float:
    return round(statistics.median(_seconds(command, environment) for _ in range(rounds)), 3)


def _seconds(command: Sequence[str], environment: Mapping[str, str]) -> float:
    began = time.monotonic()
    done = subprocess.run(
        command, cwd=demo_run.ROOT, env=dict(environment), capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - began
    if done.returncode != 0:
        raise RunFailedError(f"{command[1]}: exit code {done.returncode}:\n{done.stderr}")
    return seconds
