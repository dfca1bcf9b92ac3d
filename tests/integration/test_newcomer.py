"""A newcomer's first minutes: an empty folder, the wheel installed, and the commands that the README prints."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from psycopg2.extensions import connection as Connection

from sandbox import Endpoints
from tests.integration.postgresql_reading import execute
from tests.test_docs import ROOT, read

TABLES = """
    CREATE TABLE orders (id int PRIMARY KEY, customer text, updated_at timestamptz NOT NULL DEFAULT now());
    INSERT INTO orders SELECT n, 'Customer ' || n, now() - interval '1 hour' FROM generate_series(1, 1000) AS n;
    CREATE TABLE countries (code text PRIMARY KEY, name text);
    INSERT INTO countries VALUES ('DE', 'Germany'), ('FR', 'France');
    ANALYZE
"""
PROGRAM = "sync-to-bigquery"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel installed, and nothing else of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("sync_pipeline", "orchestration"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md"):
        shutil.copy(ROOT / name, source / name)
    uv = [str(ROOT / ".uv/bin/uv"), "--offline"]
    python = ["--python", sys.executable]
    build = ["build", "--quiet", "--wheel", "--no-build-isolation", *python, "--out-dir", str(folder), str(source)]
    subprocess.run([*uv, *build], check=True)
    (wheel,) = folder.glob("*.whl")
    install = ["pip", "install", "--quiet", "--no-deps", *python, "--target", str(folder / "site"), str(wheel)]
    subprocess.run([*uv, *install], check=True)
    return folder / "site"


# Carries out the commands that it reads, as the installed program does, with one import of Beam for all of them.
DRIVER = """
import json, os, sys
from importlib.metadata import entry_points
(script,) = entry_points(group="console_scripts", name="sync-to-bigquery")
main = script.load()
for line in sys.stdin:
    folder, *sys.argv[1:] = json.loads(line)
    os.chdir(folder)
    try:
        code = main()
    except SystemExit as end:
        code = end.code
    sys.stderr.flush()
    print(f"\\nEND {code}", flush=True)
"""


@dataclass(frozen=True)
class Newcomer:
    """A person in an empty folder; `process` runs the driver."""

    folder: Path
    process: subprocess.Popen[str]

    def does(self, *words: str, exit_code: int = 0) -> str:
        """Carry out a command and return all that the person sees."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{json.dumps([str(self.folder), *words])}\n")
        self.process.stdin.flush()
        seen = []
        while not (line := self.process.stdout.readline()).startswith("END "):
            assert line, "".join(seen)
            seen.append(line)
        assert line == f"END {exit_code}\n", "".join(seen)
        return "".join(seen).removesuffix("\n")


@pytest.fixture(scope="module")
def driver(site: Path, endpoints: Endpoints) -> Iterator[subprocess.Popen[str]]:
    """The process with the installed program."""
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER],
        cwd=site,
        env={**os.environ, "PYTHONPATH": str(site), "SHOP_PASSWORD": endpoints.postgresql_password},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def newcomer(driver: subprocess.Popen[str], tmp_path: Path) -> Newcomer:
    return Newcomer(tmp_path, driver)


@pytest.fixture
def server(endpoints: Endpoints, postgresql_database: str) -> list[str]:
    """The words that name the source."""
    return [
        "--data_source=postgresql",
        f"--postgresql_host={endpoints.postgresql_host}",
        f"--postgresql_port={endpoints.postgresql_port}",
        f"--postgresql_database={postgresql_database}",
        f"--postgresql_username={endpoints.postgresql_username}",
        "--postgresql_password=env:SHOP_PASSWORD",
    ]


def test_the_installed_program(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(site))
    done = subprocess.run(
        [str(site / "bin" / PROGRAM), "plan"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no sync.yaml in this folder")


def test_the_readme_prints_these_commands() -> None:
    text = read("README.md")
    for command in ("init", "check", "plan", "run", "reconcile"):
        assert f"\n{PROGRAM} {command}" in text


def test_from_an_empty_folder_to_an_equal_table(
    newcomer: Newcomer, server: list[str], postgresql: Connection, endpoints: Endpoints, dataset: str, gcs_folder: str
) -> None:
    execute(postgresql, TABLES)
    destination = [f"--destination_bigquery_project={endpoints.project}", f"--destination_bigquery_dataset={dataset}"]
    seen = newcomer.does("init", *server, *destination, f"--temp_location={gcs_folder}")
    assert "public.countries" in seen
    assert "replaces all rows: the table has no timestamp column updated_at" in seen
    assert "merges what has changed, by updated_at" in seen
    assert "sync.yaml is written. Next:" in seen
    file = (newcomer.folder / "sync.yaml").read_text()
    assert "postgresql_password: env:SHOP_PASSWORD" in file

    seen = newcomer.does("check")
    assert [line.split()[:2] for line in seen.splitlines()[:4]] == [
        ["ok", "source"],
        ["ok", "dataset"],
        ["ok", "bucket"],
        ["ok", "tables"],
    ]
    assert "2 tables to sync" in seen
    assert seen.endswith("Everything is there. Next: sync-to-bigquery plan\n")

    seen = newcomer.does("plan", "--temp_location=")
    assert "2 tables of postgresql to" in seen
    assert "temp_location is missing: a run needs it" in seen

    assert "merged 1,000 rows" in newcomer.does("run", "--smart_sync_settle_seconds=0")
    assert "orders equals the source" in newcomer.does("reconcile")

    execute(postgresql, "UPDATE orders SET customer = 'changed', updated_at = now() WHERE id = 1")
    assert "merged 1 row" in newcomer.does("run", "--smart_sync_settle_seconds=0", "--until-current")
    execute(postgresql, "UPDATE orders SET customer = 'hidden' WHERE id = 2")
    newcomer.does("reconcile", exit_code=3)
    newcomer.does("reconcile", "--repair")
    newcomer.does("reconcile")
    assert '"exit_code":0' in newcomer.does("plan", "--output=json").replace(" ", "")
    assert "is not a launch file" not in newcomer.does("launch", exit_code=2)


def test_what_is_missing_is_printed_as_commands(
    newcomer: Newcomer, server: list[str], postgresql: Connection, endpoints: Endpoints, postgresql_database: str
) -> None:
    execute(postgresql, "CREATE TABLE orders (id int PRIMARY KEY, updated_at timestamptz NOT NULL)")
    execute(postgresql, "CREATE ROLE newcomer LOGIN PASSWORD %s", [endpoints.postgresql_password])
    try:
        as_other = [*server, "--postgresql_username=newcomer", "--postgresql_table=orders"]
        as_other = [word for word in as_other if word != f"--postgresql_username={endpoints.postgresql_username}"]
        destination = [f"--destination_bigquery_project={endpoints.project}", "--destination_bigquery_dataset=nowhere"]
        seen = newcomer.does("check", *as_other, *destination, "--temp_location=gs://no-such-bucket/tmp", exit_code=2)
    finally:
        execute(postgresql, "DROP ROLE newcomer")
    lines = [line.strip() for line in seen.splitlines()]
    assert 'GRANT SELECT ON "public"."orders" TO "newcomer";' in lines
    assert f"bq --project_id={endpoints.project} --location=US mk --dataset {endpoints.project}:nowhere" in lines
    make = f"gcloud storage buckets create gs://no-such-bucket --project={endpoints.project} --location=US"
    assert make in lines
    assert lines[-1] == "3 of 4 checks failed."


def test_chains_are_in_the_wheel(newcomer: Newcomer) -> None:
    shutil.copytree(ROOT / "examples", newcomer.folder / "examples")
    assert "steps; first: " in newcomer.does("chain", "check", "examples/chains/nightly.yaml")
