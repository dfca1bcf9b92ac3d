"""Reads by ranges of pages: together they return the rows of one snapshot, whatever happens to the table meanwhile."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from sandbox import Endpoints
from sync_pipeline.errors import SourceError, SourceUnavailableError
from sync_pipeline.sources.postgresql import connection as settings
from sync_pipeline.sources.postgresql import snapshot, splits
from sync_pipeline.sources.postgresql.snapshot import SnapshotSplit
from sync_pipeline.sources.postgresql.source import PostgresqlSource
from sync_pipeline.sources.source import ReadPlan
from tests.integration.postgresql_reading import Reader, connect, execute, fresh_database, rows_of
from tests.integration.reading import read_splits
from tests.integration.syncing import Syncing
from tests.source_questions import described, read_planned

PARTS = 8


@pytest.fixture(scope="module")
def server(endpoints: Endpoints) -> Iterator[tuple[Reader, Connection]]:
    with fresh_database(endpoints) as (reader, connection):
        yield reader, connection


@pytest.fixture
def items(server: tuple[Reader, Connection]) -> tuple[Reader, Connection]:
    """A table of some hundred pages without a key."""
    _, connection = server
    execute(
        connection,
        "DROP TABLE IF EXISTS items CASCADE; CREATE TABLE items (id int, version int, filler text); "
        "INSERT INTO items SELECT n, 0, repeat('x', 200) FROM generate_series(1, 9000) AS n; ANALYZE items",
    )
    return server


def source_of(reader: Reader, query: str = "SELECT * FROM items", **parameters: str) -> PostgresqlSource:
    return reader.source(query, **{"num_partitions": str(PARTS), **parameters}).holding()


def rows_in(source: PostgresqlSource, plan: ReadPlan, between: Any = lambda: None) -> Counter[tuple[Any, ...]]:
    """Return the rows of all splits, and call `between` before each."""
    schema = described(source).schema
    found: Counter[tuple[Any, ...]] = Counter()
    for split in plan.splits:
        between()
        found.update(row for batch in read_splits(source, schema, [split]) for row in rows_of(batch))
    return found


def rows_now(connection: Connection) -> Counter[tuple[Any, ...]]:
    return Counter(execute(connection, "SELECT * FROM items"))


def hold(source: PostgresqlSource, stack: ExitStack) -> ReadPlan:
    return stack.enter_context(source.hold(read_planned(source)))


def test_a_table_without_a_key_is_split(items: tuple[Reader, Connection]) -> None:
    reader, connection = items
    source = source_of(reader)
    with ExitStack() as stack:
        plan = hold(source, stack)
        assert len(plan.splits) == PARTS
        assert plan.splitting == "by ranges of the table's pages, about 1,125 rows each, all in one snapshot"
        assert rows_in(source, plan) == rows_now(connection)
    assert execute(connection, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sync-to-bigquery'") == [
        (0,)
    ]


def test_a_split_is_never_read_without_its_snapshot(items: tuple[Reader, Connection]) -> None:
    source = source_of(items[0])
    with pytest.raises(AssertionError):
        rows_in(source, read_planned(source))


CHANGES = (
    "UPDATE items SET version = version + 1 WHERE id % 3 = 0",
    "DELETE FROM items WHERE id % 5 = 0",
    "INSERT INTO items SELECT n, -1, repeat('y', 300) FROM generate_series(1, 700) AS n",
    "VACUUM items",
    "UPDATE items SET filler = 'short' WHERE id % 7 = 0",
)


def test_changes_between_the_splits(items: tuple[Reader, Connection]) -> None:
    reader, connection = items
    source = source_of(reader)
    before = rows_now(connection)
    changes = iter(CHANGES * PARTS)
    with ExitStack() as stack:
        plan = hold(source, stack)
        assert rows_in(source, plan, lambda: execute(connection, next(changes))) == before
    assert rows_now(connection) != before


@pytest.mark.parametrize("parallel", [False, True])
def test_a_writer_beside_the_read(endpoints: Endpoints, items: tuple[Reader, Connection], parallel: bool) -> None:
    """A writer that never rests, and a VACUUM FULL that gives up each time: the lock keeps it from the table."""
    reader, _ = items
    source = source_of(reader)
    stop, refused = threading.Event(), []

    def write() -> None:
        writer = connect(endpoints, reader.database)
        execute(writer, "SET lock_timeout = '5ms'")
        while not stop.is_set():
            for change in ("UPDATE items SET version = version + 1 WHERE id % 20 = 7", *CHANGES[1:4]):
                execute(writer, change)
            try:
                execute(writer, "VACUUM FULL items")
            except psycopg2.errors.LockNotAvailable:
                refused.append(1)
        writer.close()

    with ExitStack() as stack:
        plan = hold(source, stack)
        (first, *_) = [split for split in plan.splits if isinstance(split, SnapshotSplit)]
        assert first.snapshot is not None
        with snapshot.imported(first, source.connection, 0) as observer, observer.cursor() as cursor:
            cursor.execute("SELECT * FROM items")
            expected = Counter(cursor.fetchall())
        writing = threading.Thread(target=write)
        writing.start()
        try:
            if parallel:
                found: list[Counter[tuple[Any, ...]]] = []
                readers = [
                    threading.Thread(
                        target=lambda split: found.append(rows_in(source, replace(plan, splits=(split,)))),
                        args=(split,),
                    )
                    for split in plan.splits
                ]
                for one in readers:
                    one.start()
                for one in readers:
                    one.join()
                total: Counter[tuple[Any, ...]] = sum(found, Counter())
                assert (len(found), total) == (PARTS, expected)
            else:
                assert rows_in(source, plan) == expected
        finally:
            stop.set()
            writing.join()
    assert refused


@pytest.mark.parametrize("then", ["", "VACUUM FULL items", "TRUNCATE items"])
def test_a_keeper_that_dies_ends_the_read(items: tuple[Reader, Connection], then: str) -> None:
    reader, connection = items
    source = source_of(reader)

    def between() -> None:
        execute(
            connection,
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'sync-to-bigquery'",
        )
        if then:
            execute(connection, then)

    with ExitStack() as stack:
        plan = hold(source, stack)
        with pytest.raises(
            SourceUnavailableError, match=r"the snapshot that all splits read is lost.*num_partitions=1"
        ):
            rows_in(source, plan, between)


def test_a_split_in_whose_file_the_rows_are_at_other_places(items: tuple[Reader, Connection]) -> None:
    """The snapshot lives on, but the lock was lost for a moment: as when the keeper dies after the import."""
    reader, _ = items
    source = source_of(reader)
    with ExitStack() as stack:
        plan = hold(source, stack)
        other = stack.enter_context(source.hold(read_planned(source)))
        (first, *_) = [split for split in plan.splits if isinstance(split, SnapshotSplit)]
        (later, *_) = [split for split in other.splits if isinstance(split, SnapshotSplit)]
        assert later.snapshot is not None
        moved = replace(first, snapshot=replace(later.snapshot, place=("another start", later.snapshot.place[1])))
        with pytest.raises(SourceUnavailableError, match="is lost"):
            rows_in(source, replace(plan, splits=(moved,)))
        moved = replace(first, snapshot=replace(later.snapshot, place=(later.snapshot.place[0], 1)))
        with pytest.raises(SourceUnavailableError, match="is lost"):
            rows_in(source, replace(plan, splits=(moved,)))


def test_a_table_that_is_locked_meanwhile_fails_the_split(
    endpoints: Endpoints, items: tuple[Reader, Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, _ = items
    monkeypatch.setitem(settings.TRANSACTION_SETTINGS, "lock_timeout", "100ms")
    source = source_of(reader)
    with ExitStack() as stack:
        plan = hold(source, stack)
        rewriter = connect(endpoints, reader.database)
        waiting = threading.Thread(target=lambda: execute(rewriter, "VACUUM FULL items"))
        waiting.start()
        try:
            with pytest.raises(SourceError, match="the table is locked"):
                read_for_ever(source, plan)
        finally:
            stack.close()
            waiting.join()
            rewriter.close()


def read_for_ever(source: PostgresqlSource, plan: ReadPlan) -> None:
    while True:
        rows_in(source, plan)


@pytest.mark.parametrize("function", ["_exported", "_is_importable"])
def test_without_a_shared_snapshot_one_statement_reads(
    items: tuple[Reader, Connection], monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    reader, connection = items
    source = source_of(reader)
    monkeypatch.setattr(snapshot, function, lambda *_: None)
    with ExitStack() as stack:
        plan = hold(source, stack)
        assert len(plan.splits) == 1
        assert rows_in(source, plan) == rows_now(connection)


OTHERS = """
    CREATE TABLE numbers AS SELECT 1 AS number;
    CREATE TABLE parent (id int, version int, filler text);
    CREATE TABLE child () INHERITS (parent);
    CREATE TABLE parted (id int, version int, filler text) PARTITION BY RANGE (id);
    CREATE TABLE part PARTITION OF parted FOR VALUES FROM (0) TO (100000);
    INSERT INTO parent SELECT * FROM items; INSERT INTO child SELECT * FROM items;
    INSERT INTO parted SELECT * FROM items;
    CREATE VIEW seen AS SELECT * FROM items; CREATE MATERIALIZED VIEW stored AS SELECT * FROM items;
    ANALYZE parent, child, parted, stored
"""


@pytest.mark.parametrize(
    ("query", "is_split"),
    [
        pytest.param("SELECT * FROM items", True, id="all"),
        pytest.param("select id, filler\nfrom public.items", True, id="columns"),
        pytest.param('SELECT "version" FROM "public"."items"', True, id="quoted"),
        pytest.param("SELECT * FROM stored", True, id="a materialized view"),
        pytest.param("SELECT id AS number FROM items", False, id="an alias"),
        pytest.param("SELECT id + 1 FROM items", False, id="an expression"),
        pytest.param("SELECT id, current_user FROM items", False, id="a function"),
        pytest.param("SELECT ctid FROM items", False, id="a system column"),
        pytest.param("SELECT * FROM items WHERE id > 0", False, id="a condition"),
        pytest.param("SELECT DISTINCT id FROM items", False, id="distinct"),
        pytest.param("SELECT * FROM items LIMIT 5", False, id="a limit"),
        pytest.param("SELECT * FROM items AS i", False, id="an alias of the table"),
        pytest.param("SELECT * FROM items, numbers", False, id="two tables"),
        pytest.param("SELECT * FROM parent", False, id="a parent"),
        pytest.param("SELECT * FROM child", True, id="a child"),
        pytest.param("SELECT * FROM parted", False, id="a partitioned table"),
        pytest.param("SELECT * FROM part", True, id="a partition"),
        pytest.param("SELECT * FROM seen", False, id="a view"),
    ],
)
def test_which_queries_are_whole_tables(items: tuple[Reader, Connection], query: str, is_split: bool) -> None:
    reader, connection = items
    execute(connection, f"DROP TABLE IF EXISTS numbers, parent, child, parted CASCADE; {OTHERS}")
    source = source_of(reader, query)
    with ExitStack() as stack:
        plan = hold(source, stack)
        assert any(isinstance(split, SnapshotSplit) for split in plan.splits) is is_split
        if is_split:
            assert len(plan.splits) == PARTS
            assert rows_in(source, plan) == Counter(execute(connection, query))


def test_what_needs_another_read_is_not_split_by_pages(
    items: tuple[Reader, Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, _ = items
    monkeypatch.setattr(splits, "MIN_SPLIT_ROWS", 1)
    for source in (
        source_of(reader, num_partitions="1"),
        source_of(reader, partition_column="id"),
        # On Dataflow, the launcher is gone before the read.
        reader.source("SELECT * FROM items", num_partitions=str(PARTS)),
    ):
        plan = read_planned(source)
        assert not any(isinstance(split, SnapshotSplit) for split in plan.splits)
        assert "ctid" not in "".join(split.statement for split in plan.splits)


def test_the_only_table_of_a_run(syncing: Syncing) -> None:
    syncing.execute("CREATE TABLE items (id int, name text)")
    syncing.execute("INSERT INTO items SELECT n, 'x' || n FROM generate_series(1, 20000) AS n; ANALYZE items")
    table = {"postgresql_query": "", "destination_bigquery_table": "", "postgresql_table": "items"}
    run = syncing.run(**table, num_partitions="3").succeeded()
    assert (
        "3 read splits (by ranges of the table's pages, about 6,666 rows each, all in one snapshot)" in run.everything
    )
    assert syncing.query("SELECT COUNT(*), COUNT(DISTINCT id), SUM(id) FROM items") == [(20000, 20000, 200010000)]
