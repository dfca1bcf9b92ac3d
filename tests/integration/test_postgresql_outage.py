"""The server goes away, before the read or in the middle of it."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

import pytest

import sandbox
from sandbox import Endpoints
from sync_pipeline.errors import SourceUnavailableError
from tests.integration.postgresql_reading import ENDLESS, Reader, assert_nothing_is_left, connect, failure
from tests.source_questions import described


@dataclass(frozen=True)
class Clock:
    """Stands in for the module `time`, in one module only: the sandbox waits as well."""

    sleep: Callable[[float], None]


def test_an_outage_that_ends_is_survived(
    endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    waits: list[float] = []

    def wait_for_the_server(seconds: float) -> None:
        waits.append(seconds)
        sandbox.start_server(endpoints.folder, "postgresql")

    monkeypatch.setattr("sync_pipeline.sources.access.time", Clock(wait_for_the_server))
    source = Reader(endpoints, endpoints.postgresql_database).source("SELECT 1 AS a", max_retries="1")
    sandbox.stop_server(endpoints.folder, "postgresql")
    with caplog.at_level(logging.WARNING, "sync_pipeline"):
        assert described(source).schema.names == ("a",)
    assert waits == [1]
    [message] = caplog.messages
    assert message.startswith("PostgreSQL cannot be reached at ")
    assert message.endswith("; trying again in 1 s (1 of 1)")


def test_a_server_that_stops_midway(endpoints: Endpoints) -> None:
    reader = Reader(endpoints, endpoints.postgresql_database)
    threads = set(threading.enumerate())
    batches = reader.batches(ENDLESS)
    assert next(batches).num_rows == 1000
    sandbox.stop_server(endpoints.folder, "postgresql")
    try:
        error = failure(reader, lambda: [None for _ in batches])
    finally:
        sandbox.start_server(endpoints.folder, "postgresql")
    assert type(error) is SourceUnavailableError
    # The driver's words depend on the moment.
    assert str(error).startswith("PostgreSQL: ")
    with contextlib.closing(connect(endpoints, endpoints.postgresql_database)) as connection:
        assert_nothing_is_left(connection, reader, threads)
