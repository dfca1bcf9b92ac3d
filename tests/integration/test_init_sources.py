"""`init` and `check` on MongoDB and BigQuery: the tables as they are, and a file by which a run does what was shown."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from sandbox import Endpoints
from sync_pipeline.cli.init import main as init
from sync_pipeline.cli.program import main
from sync_pipeline.cli.questions import Questions
from sync_pipeline.launching.local_run import read_local_run
from tests.integration.bigquery_syncing import BigquerySyncing
from tests.integration.mongodb_syncing import MongodbSyncing

PASSWORD = "env:READER_PASSWORD"
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoints: Endpoints) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("READER_PASSWORD", endpoints.mongodb_password)


def words(parameters: dict[str, str], folder: str) -> list[str]:
    given = {**parameters, "temp_location": folder}
    return ["--no-input", *(f"--{name}={text}" for name, text in given.items())]


def connection(syncing: MongodbSyncing | BigquerySyncing, *left_out: str) -> dict[str, str]:
    """The parameters of the source and the destination, without tables."""
    names = {"destination_bigquery_table", "enable_smart_sync", "mongodb_collection", "source_bigquery_table"}
    names |= {"source_bigquery_read", "smart_sync_timestamp_column", "write_disposition", *left_out}
    given = {name: text for name, text in syncing.parameters().items() if name not in names and text is not None}
    return given | ({"mongodb_password": PASSWORD} if "mongodb_password" in given else {})


def write_file(syncing: MongodbSyncing | BigquerySyncing, **others: str) -> None:
    """Write `sync.yaml` without a question."""
    assert main(["init", *words({**connection(syncing), **others}, syncing.folder)]) == 0


def written() -> dict[str, str]:
    return read_local_run(Path("sync.yaml").read_text())


def shown(text: str) -> dict[str, list[str]]:
    """The cells of the table of `init`, by the table's name."""
    rows = [[cell.strip() for cell in line.split("  ") if cell] for line in text.splitlines()]
    return {row[0]: row[1:] for row in rows if len(row) == 6}


def test_a_database_of_mongodb(
    mongodb_syncing: MongodbSyncing, mongodb_database: Database[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    mongodb_database.command({"insert": "logs", "documents": [{"_id": 1, "text": "a"}]})
    users = [{"_id": n, "name": "Ada", "updatedAt": LONG_AGO} for n in range(3)]
    mongodb_database.command({"insert": "users", "documents": users})
    index = {"key": {"updatedAt": 1}, "name": "u"}
    mongodb_database.command({"createIndexes": "users", "indexes": [index]})
    mongodb_database.command({"create": "seen", "viewOn": "users", "pipeline": []})
    write_file(mongodb_syncing)
    found = shown(capsys.readouterr().out)
    assert found["users"] == [
        "3",
        found["users"][1],
        "_id",
        "updatedAt (index)",
        "merges what has changed, by updatedAt",
    ]
    assert found["logs"][-1] == "replaces all rows: the collection has no timestamp column updatedAt"
    assert found["seen"][-1].startswith("it is a view")
    assert written()["mongodb_collection"] == "*"
    assert written()["smart_sync_timestamp_column"] == "updatedAt"
    assert main(["check"]) == 0
    seen = capsys.readouterr().out
    assert "ok       source    mongodb: it answers; 2 tables to sync" in seen
    assert "ok       tables    2 can be synced" in seen


def test_a_single_collection_is_merged_as_shown(
    mongodb_syncing: MongodbSyncing, capsys: pytest.CaptureFixture[str]
) -> None:
    mongodb_syncing.insert({"_id": 1, "updated_at": LONG_AGO})
    write_file(mongodb_syncing)
    assert "merges what has changed, by updated_at" in capsys.readouterr().out
    assert written()["mongodb_collection"] == "items"
    assert "\n  enable_smart_sync: true\n" in Path("sync.yaml").read_text()
    assert main(["plan"]) == 0
    assert "merge by _id" in capsys.readouterr().out


def test_rights_in_mongodb(mongodb_syncing: MongodbSyncing, capsys: pytest.CaptureFixture[str]) -> None:
    given = {**connection(mongodb_syncing), "mongodb_collection": "*", "mongodb_database": "secrets_of_others"}
    assert main(["check", *words(given, mongodb_syncing.folder)[1:]]) == 2
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0].startswith("MISSING  source    MongoDB: not authorized on secrets_of_others")
    user = mongodb_syncing.endpoints.mongodb_username
    assert lines[1] == (
        f'db.getSiblingDB("admin").grantRolesToUser("{user}", [{{ role: "read", db: "secrets_of_others" }}])'
    )


@pytest.mark.parametrize(
    ("secret", "command"),
    [
        pytest.param("env:NOT_SET", "read -rs NOT_SET && export NOT_SET", id="a variable"),
        pytest.param(
            "projects/sandbox-project/secrets/none/versions/latest",
            'read -rs MONGODB_PASSWORD && printf %s "$MONGODB_PASSWORD" | '
            "gcloud secrets create none --project=sandbox-project --data-file=-",
            id="a secret",
        ),
    ],
)
def test_a_secret_that_is_missing(
    secret: str, command: str, mongodb_syncing: MongodbSyncing, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {**connection(mongodb_syncing), "mongodb_collection": "*", "mongodb_password": secret}
    assert main(["check", *words(given, mongodb_syncing.folder)[1:]]) == 2
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0].startswith("MISSING  secret    mongodb_password: ")
    assert lines[1] == command
    assert lines[-1] == "1 of 3 checks failed."


def test_a_dataset_of_bigquery(bigquery_syncing: BigquerySyncing, capsys: pytest.CaptureFixture[str]) -> None:
    run = bigquery_syncing.at_source
    run(
        "CREATE TABLE events (id INT64 NOT NULL, updated_at TIMESTAMP, PRIMARY KEY (id) NOT ENFORCED) "
        "PARTITION BY DATE(updated_at)"
    )
    run("INSERT INTO events VALUES (1, TIMESTAMP '2026-01-01 00:00:00 UTC')")
    run("CREATE TABLE countries (code STRING, seen_at TIMESTAMP) CLUSTER BY seen_at")
    write_file(bigquery_syncing)
    found = shown(capsys.readouterr().out)
    mode = "replaces all rows: BigQuery does not enforce its key id; to merge by it, give primary_key"
    assert found["events"] == ["1", found["events"][1], "-", "updated_at (partition)", mode]
    assert found["countries"][2:] == ["-", "seen_at (cluster)", "replaces all rows: the table has no primary key"]
    assert written()["source_bigquery_table"] == "*"
    assert main(["check"]) == 0
    seen = capsys.readouterr().out
    assert "bigquery: it answers; 2 tables to sync" in seen
    assert "2 can be synced" in seen


def test_a_single_table_of_bigquery_is_replaced_as_shown(
    bigquery_syncing: BigquerySyncing, capsys: pytest.CaptureFixture[str]
) -> None:
    bigquery_syncing.at_source("CREATE TABLE items (id INT64)")
    write_file(bigquery_syncing)
    assert "replaces all rows: the table has no primary key" in capsys.readouterr().out
    assert written()["write_disposition"] == "WRITE_TRUNCATE"
    assert main(["plan"]) == 0
    assert "replace all rows" in capsys.readouterr().out


def test_a_key_that_bigquery_does_not_enforce_is_given(
    bigquery_syncing: BigquerySyncing, capsys: pytest.CaptureFixture[str]
) -> None:
    bigquery_syncing.at_source("CREATE TABLE items (id INT64, updated_at TIMESTAMP)")
    write_file(bigquery_syncing, primary_key="id")
    assert "merges what has changed, by updated_at" in capsys.readouterr().out
    assert main(["plan"]) == 0
    assert "merge by id" in capsys.readouterr().out


def test_a_person_with_mongodb(
    mongodb_syncing: MongodbSyncing, endpoints: Endpoints, capsys: pytest.CaptureFixture[str]
) -> None:
    mongodb_syncing.insert({"_id": 1})
    # No connection string; host, port, database, user, password, no TLS, the collection, destination, no bucket yet.
    server = ["", endpoints.mongodb_host, str(endpoints.mongodb_port), mongodb_syncing.database]
    answers = iter([*server, endpoints.mongodb_username, PASSWORD, "", "", "my-project", "shop", ""])
    assert init(["--data_source=mongodb"], Questions(lambda: next(answers))) == 0
    assert next(answers, None) is None
    asked = capsys.readouterr().err
    assert (
        "MongoDB connection string: env:NAME for an environment variable, or a name in Secret Manager (empty: none)"
        in asked
    )
    assert "MongoDB port [27017]: " in asked
    assert "MongoDB user (empty: none): " in asked
    assert written()["mongodb_port"] == str(endpoints.mongodb_port)
