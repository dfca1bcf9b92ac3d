"""The tutorials, command by command, against the servers: each prints what the page says that it prints."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from sandbox import Endpoints, mongodb
from sandbox.query import query
from sync_pipeline.cli import program
from tests.test_docs import read
from tests.test_docs_commands import recorded


def steps(name: str) -> Iterator[tuple[list[tuple[list[str], str]], list[str]]]:
    """Yield the commands of each block of a tutorial, and the lines that the page shows below it."""
    parts = re.findall(r"^```(bash|text)\n(.*?)^```$", read(f"docs/tutorials/{name}.md"), re.DOTALL | re.MULTILINE)
    before: list[str] = []
    for number, (language, text) in enumerate(parts):
        if language == "bash":
            shown = []
            for following, lines in parts[number + 1 :]:
                if following == "bash":
                    break
                shown += lines.splitlines()
            # The shell has the variables of the blocks before.
            known = len(recorded("".join(before)))
            before.append(text)
            yield recorded("".join(before))[known:], shown


def play(words: list[str], text: str, endpoints: Endpoints) -> int:
    """Carry out a command in this process and return its exit code."""
    match words:
        case ["sync-to-bigquery", name, *arguments]:
            here = {"--postgresql_port=5432": f"--postgresql_port={endpoints.postgresql_port}"}
            here |= {"--mongodb_port=27017": f"--mongodb_port={endpoints.mongodb_port}"}
            # What the tutorial waits for, by starting a program.
            waits = [] if name == "init" else ["--smart_sync_settle_seconds=0"]
            return program.main([name, *(here.get(word, word) for word in arguments), *waits])
        case ["python", "-m", "sandbox", "psql", *arguments]:
            given = [word.removeprefix("--command=") for word in arguments if word.startswith("--command=")]
            with contextlib.closing(psycopg2.connect(endpoints.postgresql_dsn)) as connection, connection:
                connection.cursor().execute(given[0] if given else text)
        case ["python", "-m", "sandbox", "mongo", document]:
            mongodb.run_command(endpoints.mongodb_uri, document)
        case ["python", "-m", "sandbox", "query", sql]:
            query(endpoints, sql)
        case ["make", "install"] | ["python", "-m", "sandbox", "up" | "env" | "down"]:
            pass
        case _:
            pytest.fail(f"nothing here plays {words}")
    return 0


@pytest.mark.parametrize("name", ["postgresql", "mongodb", "bigquery", "whole-database"])
def test_a_tutorial_shows_what_it_says(
    name: str,
    endpoints: Endpoints,
    clean: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.chdir(tmp_path)
    for commands, shown in steps(name):
        caplog.clear()
        exit_codes = [play(words, text, endpoints) for words, text in commands]
        printed = [f"exit code {exit_code}" for exit_code in exit_codes]
        printed += [f"{record.levelname} {record.getMessage()}" for record in caplog.records]
        # What a terminal shows of them.
        printed += [record.__dict__.get("screen") or "" for record in caplog.records]
        printed += [line for text in capsys.readouterr() for line in text.splitlines()]
        for line in shown:
            wanted = _spaced(line).rstrip("…").rstrip()
            assert any(wanted in _spaced(given) for given in printed), "\n".join([line, "is not in:", *printed])


def _spaced(line: str) -> str:
    """The width of a column depends on values that change."""
    return " ".join(line.split())


@pytest.fixture
def clean(endpoints: Endpoints) -> Iterator[None]:
    """Leave no table of a tutorial behind."""
    yield
    with contextlib.closing(psycopg2.connect(endpoints.postgresql_dsn)) as connection, connection:
        connection.cursor().execute("DROP TABLE IF EXISTS orders; DROP SCHEMA IF EXISTS shop CASCADE")
    tables = ("orders", "orders_log", "users", "events", "events_copy")
    for table in (*tables, *(f"shop_{name}" for name in ("customers", "orders", "countries", "clicks", "suppliers"))):
        query(endpoints, f"DROP TABLE IF EXISTS {table}")
    mongodb.run_command(endpoints.mongodb_uri, '{"delete": "users", "deletes": [{"q": {}, "limit": 0}]}')
