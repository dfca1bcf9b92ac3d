"""What a position asks of a server, and what a message names; the rest is shown with a real primary and its standby."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.sources.postgresql import wal_position
from sync_pipeline.sources.postgresql.config import PostgresqlConfig
from sync_pipeline.sources.postgresql.wal_position import WalPosition
from tests.parameter_sets import POSTGRESQL


@pytest.fixture
def config() -> PostgresqlConfig:
    source = SyncConfig.from_parameters(POSTGRESQL).source
    assert isinstance(source, PostgresqlConfig)
    return source


class Row:
    """A cursor with one row."""

    def __init__(self, *values: Any) -> None:
        self._values = values

    def fetchone(self) -> tuple[Any, ...]:
        return self._values


@pytest.mark.parametrize(
    ("lsn", "expected"),
    [
        pytest.param(8192 * 5 + 24, 8192 * 5, id="after a page's header"),
        pytest.param(2**24 + 40, 2**24, id="after a segment's header"),
        pytest.param(8192 * 5 + 48, 8192 * 5 + 48, id="after a record"),
        pytest.param(8192 * 5, 8192 * 5, id="end of a page"),
    ],
)
def test_a_standby_can_reach_the_position(lsn: int, expected: int) -> None:
    assert wal_position._found(Row(lsn, 7)) == WalPosition(expected, 7)


def test_a_standby_that_has_replayed_nothing_tells_no_position() -> None:
    assert wal_position._found(Row(None, 7)) is None


def test_only_a_known_identifier_is_asked_for() -> None:
    assert "pg_control_system" in WalPosition(1, 7).statement
    assert "pg_control_system" not in WalPosition(1, None).statement


@pytest.mark.parametrize(
    ("instance", "parameter"), [(None, "postgresql_host"), ("project:region:name", "postgresql_instance")]
)
def test_the_message_names_the_parameter(config: PostgresqlConfig, instance: str | None, parameter: str) -> None:
    connection = replace(config, instance=instance)
    assert wal_position._lagging(connection, 12345) == (
        "PostgreSQL: the server that answered is 12,345 bytes of the write-ahead log behind the one with which the run "
        "began, and did not catch up in 60 seconds: rows would be missed, or count as deleted: "
        f"let {parameter} lead to one server, at best the primary, or run the job again later"
    )
