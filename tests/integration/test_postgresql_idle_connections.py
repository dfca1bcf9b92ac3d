"""One connection serves the splits that a thread reads one after the other; none that anything went wrong on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import apache_beam as beam
import pytest
from psycopg2.extensions import connection as Connection

from sandbox import Endpoints
from sync_pipeline.errors import RecordError, SourceQueryError
from sync_pipeline.schema import Field, Schema
from sync_pipeline.sources.postgresql import connection as connecting
from sync_pipeline.sources.postgresql.copy_read import CopyReader
from sync_pipeline.sources.reading import ReadByTable
from sync_pipeline.sources.source import BATCHES, ReadSplit, TableRead
from tests.integration.postgresql_reading import Reader, execute, fresh_database, rows_of, sessions
from tests.integration.reading import read_splits

PROCESS = Schema((Field("pid", "INT64"),))
ONE_PROCESS = "SELECT pg_backend_pid() AS pid"


@pytest.fixture(scope="module")
def server(endpoints: Endpoints) -> Iterator[tuple[Reader, Connection]]:
    with fresh_database(endpoints) as (reader, connection):
        yield reader, connection


@pytest.fixture
def reader(server: tuple[Reader, Connection]) -> Iterator[CopyReader]:
    """A reader whose thread has no connection before and after the test."""
    own = server[0].source("SELECT 1").reader(PROCESS)
    yield own
    own.close_idle()
    assert_closed(*server)


def assert_closed(reader: Reader, connection: Connection) -> None:
    deadline = time.monotonic() + 5
    while sessions(connection, reader) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert sessions(connection, reader) == []


def read(reader: CopyReader, statement: str = ONE_PROCESS) -> int:
    """Return the only value of the only row."""
    [table] = reader.read(ReadSplit(1, 1, statement))
    [(value,)] = rows_of(table.to_batches()[0])
    assert isinstance(value, int)
    return value


def test_a_connection_is_used_again_for_another_table(server: tuple[Reader, Connection], reader: CopyReader) -> None:
    other = server[0].source("SELECT 2", partition_column="n").reader(PROCESS)
    pids = {read(reader), read(reader), read(other)}
    assert len(pids) == 1
    other.close_idle()
    assert read(reader) not in pids


def test_a_connection_that_the_server_ended_is_replaced(server: tuple[Reader, Connection], reader: CopyReader) -> None:
    first = read(reader)
    execute(server[1], "SELECT pg_terminate_backend(%s, 5000)", [first])
    assert read(reader) != first


def test_a_connection_whose_read_failed_is_not_used_again(reader: CopyReader) -> None:
    first = read(reader)
    with pytest.raises(SourceQueryError):
        read(reader, "SELECT 1 / 0 AS pid")
    assert read(reader) != first


def test_a_connection_whose_rows_were_not_all_taken_is_not_used_again(reader: CopyReader) -> None:
    first = read(reader)
    parts = reader.read(ReadSplit(1, 1, "SELECT generate_series(1, 100000000) AS pid"))
    next(parts)
    parts.close()
    assert read(reader) != first


def test_each_read_begins_with_the_settings_of_a_session(reader: CopyReader) -> None:
    first = read(reader)
    changed = "set_config('timezone', 'Asia/Tokyo', false) || set_config('statement_timeout', '1', false)"
    assert read(reader, f"SELECT length({changed}) AS pid") > 0
    settings = "current_setting('timezone') = 'UTC' AND current_setting('transaction_read_only') = 'on'"
    assert read(reader, f"SELECT ({settings} AND current_setting('statement_timeout') = '0')::int AS pid") == 1
    assert read(reader) == first


def test_threads_and_logins_share_none(server: tuple[Reader, Connection], reader: CopyReader) -> None:
    first = read(reader)
    found: list[int] = []

    def run() -> None:
        found.append(read(reader))
        reader.close_idle()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found != [first]
    assert read(reader) == first
    other = Reader(server[0].endpoints, server[0].endpoints.postgresql_database)
    elsewhere = other.source("SELECT 1").reader(PROCESS)
    assert read(elsewhere) != first
    elsewhere.close_idle()


def test_a_run_leaves_no_connection(server: tuple[Reader, Connection], monkeypatch: pytest.MonkeyPatch) -> None:
    reader, connection = server
    source = reader.source("SELECT 1")
    opened: list[None] = []
    connect = connecting._connect

    def counted(config: object) -> Connection:
        opened.append(None)
        return connect(config)  # type: ignore[arg-type]

    monkeypatch.setattr(connecting, "_connect", counted)
    splits = [(table, ReadSplit(1, 1, ONE_PROCESS)) for table in range(20)]
    reads = {table: TableRead(source.reader(PROCESS), 10) for table in range(20)}
    with beam.Pipeline("FnApiRunner") as pipeline:
        # One element, as a bundle may be cut between elements.
        read = (
            pipeline | beam.Create([splits]) | beam.FlatMap(lambda all_of_them: all_of_them) | source.transform(reads)
        )
        _ = read[BATCHES] | beam.Map(lambda batch: None)
    assert len(opened) == 1
    assert_closed(reader, connection)


class ReadAndFail(beam.DoFn):
    """A read whose rows cannot be stored."""

    def __init__(self, reader: CopyReader) -> None:
        self._reader = reader

    def process(self, _: object) -> Iterator[int]:
        yield read(self._reader)
        raise OSError


def test_a_failed_bundle_leaves_no_connection(server: tuple[Reader, Connection]) -> None:
    reader = server[0].source("SELECT 1").reader(PROCESS)
    bundle = ReadByTable({0: ReadAndFail(reader)}, [TableRead(reader, 10)], "")
    outputs = bundle.process((0, None))
    next(outputs)
    with pytest.raises(OSError):  # noqa: PT011 - it has no message
        next(outputs)
    assert_closed(*server)


@pytest.mark.parametrize("statement", [ONE_PROCESS, "SELECT 'x' AS pid"], ids=["read", "failed"])
def test_reading_without_beam_leaves_no_connection(server: tuple[Reader, Connection], statement: str) -> None:
    reader, connection = server
    batches = read_splits(reader.source("SELECT 1"), PROCESS, [ReadSplit(1, 1, statement)])
    if statement == ONE_PROCESS:
        assert len(list(batches)) == 1
    else:
        with pytest.raises(RecordError):
            list(batches)
    assert_closed(reader, connection)
