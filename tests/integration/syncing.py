"""Whole runs, as the template does them: `main()` on a database of the test's own, into a dataset of the test's own."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import subprocess
from collections.abc import Container
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from google.cloud import bigquery
from psycopg2.extensions import connection as Connection

from sandbox import Endpoints
from sync_pipeline import command, pipeline
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.planning.make_plan import make_plan
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.publishing.publish import SyncReport, publish
from sync_pipeline.publishing.staged_files import StagedFile
from sync_pipeline.publishing.staging import write_batches
from sync_pipeline.publishing.staging_target import rows_target
from sync_pipeline.sources import open_source
from tests import fork_server
from tests.integration.postgresql_reading import execute
from tests.integration.reading import read_rows

ROOT = Path(__file__).parents[2]
TABLE = "items"

# With one of these, no run appends all rows, or the run is told how to write, or chooses tables, which have modes.
_DECIDING = frozenset(
    {"primary_key", "delete_existing_table", "reconcile", "write_disposition", "table_mode", "tables_file"}
    | {"postgresql_table", "mongodb_collection", "source_bigquery_table"}
)

# What a line of the log begins with.
_LEVEL = re.compile(r"^[0-9T:-]+Z (?:INFO|WARNING|ERROR) ")
_REPORT = re.compile(r"sync report: (?P<outcome>.*): (?P<values>run_id=.*)")


@dataclass(frozen=True)
class Run:
    """What a run left to see.

    Attributes:
        errors: the lines on the standard error that begin with `error: `, without it.
        log: what was logged, a message each.
        printed: the standard output.
        report: the values of the `sync report:` line, and its `outcome`; empty when there was none.
    """

    exit_code: int
    errors: tuple[str, ...]
    log: tuple[str, ...]
    printed: str

    @property
    def report(self) -> dict[str, str]:
        for line in self.log:
            if match := _REPORT.search(line):
                values = dict(value.split("=", 1) for value in match["values"].split(" "))
                return {**values, "outcome": match["outcome"]}
        return {}

    @property
    def rows_read(self) -> int:
        return int(self.report["rows_read"])

    @property
    def rows_loaded(self) -> int:
        return int(self.report["rows_loaded"])

    @property
    def interval(self) -> tuple[datetime, datetime]:
        """The interval's start and end."""
        start, end = self.report["interval"].strip("(]").split(",")
        return datetime.fromisoformat(start), datetime.fromisoformat(end)

    @property
    def risks(self) -> list[str]:
        return [line.removeprefix("plan: risk: ") for line in self.log if line.startswith("plan: risk: ")]

    @property
    def notes(self) -> list[str]:
        return [line.removeprefix("plan: note: ") for line in self.log if line.startswith("plan: note: ")]

    @property
    def everything(self) -> str:
        return "\n".join((*self.errors, *self.log, self.printed))

    def succeeded(self) -> Run:
        """Return the run once it is known that it ended well."""
        assert (self.exit_code, self.errors) == (0, ()), self.everything
        assert self.report, self.everything
        return self

    def refused(self, *words: str, exit_code: int = 2) -> str:
        """Return the error once it is known that it holds all `words`."""
        message = "\n".join(self.errors)
        assert self.exit_code == exit_code, self.everything
        assert not self.report
        for word in words:
            assert word in message
        return message


class _Messages(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@dataclass(frozen=True)
class Syncing:
    """Syncs queries of one database into one dataset. Each keyword argument of its methods is a template parameter.

    A source that is not PostgreSQL has no connection to it.
    """

    endpoints: Endpoints
    database: str
    postgresql: Connection | None
    client: bigquery.Client
    dataset: str
    folder: str

    def execute(self, statement: str, values: Any = None) -> list[tuple[Any, ...]]:
        """Run a statement in the source and return its rows."""
        return execute(self.postgresql, statement, values)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a query in BigQuery, where `items` is a table of the dataset, and return its rows."""
        config = bigquery.QueryJobConfig(default_dataset=f"{self.endpoints.project}.{self.dataset}")
        return [tuple(row.values()) for row in self.client.query(sql, job_config=config).result()]

    def column(self, sql: str) -> list[Any]:
        """Return the values of a query's only column."""
        return [value for (value,) in self.query(sql)]

    def table_id(self, table: str = TABLE) -> str:
        return f"{self.endpoints.project}.{self.dataset}.{table}"

    def table(self, table: str = TABLE) -> bigquery.Table:
        return self.client.get_table(self.table_id(table))

    def tables(self) -> list[str]:
        """Return the dataset's tables, staging tables included."""
        return sorted(table.table_id for table in self.client.list_tables(self.dataset))

    def objects(self) -> list[str]:
        """Return what lies in the folder of Cloud Storage."""
        return [entry.path for entry in FileSystems.match([f"{self.folder}/**"])[0].metadata_list]

    def left_over(self) -> list[str]:
        """Return what a run should have removed."""
        return [name for name in self.tables() if name.startswith(("_staging", "_keys"))] + self.objects()

    def jobs(self) -> int:
        """Return how many jobs of ours BigQuery knows that touch the dataset by publishing."""
        return sum(job.job_id.startswith("sync-") for job in self.client.list_jobs(max_results=100_000))

    def parameters(self, **parameters: str | None) -> dict[str, str]:
        """Return the parameters of a run; one that is None is left out."""
        values = {
            # Tests append all rows on purpose, and again: those of what happens without it leave it out by None.
            **({"write_disposition": "WRITE_APPEND"} if _appends_all(parameters) else {}),
            **self.source_parameters(parameters),
            "destination_bigquery_project": self.endpoints.project,
            "destination_bigquery_dataset": self.dataset,
            "destination_bigquery_table": TABLE,
            "max_retries": "0",
        } | parameters
        return {name: value for name, value in values.items() if value is not None}

    def source_parameters(self, given: Container[str]) -> dict[str, str | None]:
        """Return the parameters of the source; `given` are the names of those that a run has besides."""
        return {
            "data_source": "postgresql",
            "postgresql_host": self.endpoints.postgresql_host,
            "postgresql_port": str(self.endpoints.postgresql_port),
            "postgresql_database": self.database,
            "postgresql_username": self.endpoints.postgresql_username,
            "postgresql_password": self.endpoints.postgresql_password,
            "postgresql_query": None if "postgresql_base_query" in given else "SELECT * FROM items",
        }

    def argv(self, **parameters: str | None) -> list[str]:
        flags = [f"--{name}={value}" for name, value in self.parameters(**parameters).items()]
        return [*flags, f"--temp_location={self.folder}"]

    def run(self, *flags: str, **parameters: str | None) -> Run:
        """Run `main()` here; `flags` follow the parameters."""
        handler, root = _Messages(), logging.getLogger()
        level = root.level
        root.addHandler(handler)
        root.setLevel(logging.INFO)
        try:
            with (
                contextlib.redirect_stdout(io.StringIO()) as printed,
                contextlib.redirect_stderr(io.StringIO()) as complained,
            ):
                exit_code = command.main([*self.argv(**parameters), *flags])
        finally:
            root.removeHandler(handler)
            root.setLevel(level)
        return Run(exit_code, _errors(complained.getvalue()), tuple(handler.messages), printed.getvalue())

    def smart(self, **parameters: str | None) -> Run:
        """Run with Smart Sync, up to the very present."""
        return self.run(**_smart(parameters))

    def begin_process(self, *options: str, **parameters: str | None) -> subprocess.Popen[str]:
        """Begin a run of `main.py` in a process of its own."""
        return subprocess.Popen(
            [fork_server.python(), str(ROOT / "main.py"), *self.argv(**parameters), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def plan(self, **parameters: str | None) -> TableSync:
        """Return what a run with Smart Sync would decide now."""
        config = SyncConfig.from_parameters(self.parameters(**_smart(parameters)))
        root = pipeline.staging_root(PipelineOptions(temp_location=self.folder))
        return make_plan(config, open_source(config), self.client, root, datetime.now(UTC)).tables[0]

    def stage(self, plan: TableSync) -> list[StagedFile]:
        """Read and stage what `plan` says, as its pipeline would."""
        files = write_batches(read_rows(plan), rows_target(plan))
        return (
            files
            if plan.of_keys is None
            else [*files, *write_batches(read_rows(plan.of_keys), rows_target(plan.of_keys))]
        )

    def publish(self, plan: TableSync, files: list[StagedFile] | None = None) -> SyncReport:
        """Publish what `plan` says; without `files` it is read and staged first."""
        return publish(self.client, plan, self.stage(plan) if files is None else files)


def finished(process: subprocess.Popen[str]) -> Run:
    """Return the run of a process when it has ended."""
    printed, complained = process.communicate(timeout=100)
    lines = [_LEVEL.sub("", line) for line in complained.splitlines()]
    return Run(process.returncode, _errors(complained), tuple(lines), printed)


def _appends_all(parameters: dict[str, str | None]) -> bool:
    return parameters.get("enable_smart_sync") != "true" and not _DECIDING & parameters.keys()


def _smart(parameters: dict[str, str | None]) -> dict[str, str | None]:
    return {"enable_smart_sync": "true", "smart_sync_settle_seconds": "0", **parameters}


def _errors(complained: str) -> tuple[str, ...]:
    return tuple(line.removeprefix("error: ") for line in complained.splitlines() if line.startswith("error: "))
