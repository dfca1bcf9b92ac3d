"""What a command line that runs nothing does not wait for: imports that take most of a start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import sync_pipeline

ROOT = Path(__file__).parents[1]

# What takes longest to import.
SLOW = ("apache_beam", "google", "grpc", "numpy", "psycopg2", "pyarrow", "pymongo", "sqlglot", "yaml")

COMPLETE = (
    "--data_source=postgresql",
    "--postgresql_host=db",
    "--postgresql_database=shop",
    "--postgresql_username=reader",
    "--postgresql_password=env:PASSWORD",
    "--postgresql_query=SELECT * FROM orders",
    "--destination_bigquery_project=my-project",
    "--destination_bigquery_dataset=shop",
    "--destination_bigquery_table=orders",
    "--temp_location=gs://bucket/tmp",
    "--runner=DataflowRunner",
    "--region=us-central1",
)


def start(*arguments: str) -> tuple[int, str, set[str]]:
    """Run the program; return its exit code, what it printed, and the packages that it imported."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "main.py", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stderr.splitlines()
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines if line.startswith("import time:")}
    said = [line for line in lines if not line.startswith("import time:")]
    return done.returncode, "\n".join([done.stdout, *said]), imported


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        pytest.param(["--help"], 0, "--destination_bigquery_table", id="help"),
        pytest.param(["--version"], 0, sync_pipeline.__version__, id="version"),
        pytest.param([], 2, "data_source is missing", id="nothing given"),
        pytest.param(["--dta_source=postgresql"], 2, "did you mean --data_source?", id="misspelt"),
        pytest.param([*COMPLETE, "--batch_size=many"], 2, "batch_size", id="a value"),
        pytest.param([*COMPLETE, "--regoin=us-central1"], 2, "did you mean --region?", id="misspelt option of Beam"),
    ],
)
def test_a_start_that_runs_nothing_imports_little(arguments: list[str], exit_code: int, said: str) -> None:
    code, printed, imported = start(*arguments)
    assert (code, said in printed) == (exit_code, True)
    assert imported.isdisjoint(SLOW), sorted(imported.intersection(SLOW))
