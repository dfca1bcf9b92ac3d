"""`init` on a terminal: it asks for what is not given, shows the tables, and keeps a password to itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg2.extensions import connection as Connection

from sandbox import Endpoints
from sync_pipeline.cli.init import main
from sync_pipeline.cli.questions import Questions
from sync_pipeline.launching.local_run import read_local_run
from tests.integration.postgresql_reading import execute

TABLES = """
    CREATE TABLE orders (id int PRIMARY KEY, modified_at timestamptz NOT NULL);
    CREATE SCHEMA old;
    CREATE TABLE old.orders (id int PRIMARY KEY, modified_at timestamptz NOT NULL)
"""


@pytest.fixture
def answers(endpoints: Endpoints, postgresql_database: str) -> Iterator[str]:
    return iter(
        [
            *("", endpoints.postgresql_host, postgresql_database, endpoints.postgresql_username),
            # The secret itself, which is refused.
            *(endpoints.postgresql_password, "env:ASKED_PASSWORD"),
            # All tables; a project that is none; no bucket yet.
            *("", "My Project", "my-project", "shop", "tmp", ""),
        ]
    )


def test_a_person_is_asked(
    answers: Iterator[str],
    endpoints: Endpoints,
    postgresql: Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    execute(postgresql, TABLES)
    monkeypatch.chdir(tmp_path)
    # So that it is taken away after the test.
    monkeypatch.setenv("ASKED_PASSWORD", "")
    monkeypatch.delenv("ASKED_PASSWORD")
    questions = Questions(lambda: next(answers), lambda _: endpoints.postgresql_password)
    assert main([f"--postgresql_port={endpoints.postgresql_port}"], questions) == 0
    assert next(answers, None) is None
    seen = capsys.readouterr()
    assert "PostgreSQL host: " in seen.err
    assert "  postgresql_password is the secret itself" in seen.err
    assert "read -rs ASKED_PASSWORD && export ASKED_PASSWORD" in seen.err
    assert "  write gs://BUCKET/FOLDER" in seen.err
    assert "merges what has changed, by modified_at" in seen.out
    assert read_local_run(Path("sync.yaml").read_text()) == {
        "data_source": "postgresql",
        "postgresql_host": endpoints.postgresql_host,
        "postgresql_port": str(endpoints.postgresql_port),
        "postgresql_database": postgresql.info.dbname,
        "postgresql_username": endpoints.postgresql_username,
        "postgresql_password": "env:ASKED_PASSWORD",
        "postgresql_table": "*.*",
        "smart_sync_timestamp_column": "modified_at",
        "destination_bigquery_project": "my-project",
        "destination_bigquery_dataset": "shop",
        "destination_bigquery_table": "{schema}_{table}",
    }
