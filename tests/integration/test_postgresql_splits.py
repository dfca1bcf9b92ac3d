"""Partitions: together they read what one statement reads, whatever the values and the statistics are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg2.extensions import connection as Connection

from sandbox import Endpoints
from sync_pipeline.errors import SourceQueryError
from sync_pipeline.smart_sync.interval import StartOrigin, SyncInterval
from sync_pipeline.sources.postgresql import split_points, splits
from sync_pipeline.sources.source import ReadPlan
from tests.integration.postgresql_reading import Reader, execute, fresh_database
from tests.integration.syncing import Syncing
from tests.source_questions import read_planned

# Values of a column, as texts that the server reads: skewed, repeated, NULL, and the ends of each type's order.
VALUES = {
    "bigint": ["1", "2", "3", "-9223372036854775808", "9223372036854775807"],
    "numeric": ["NaN", "Infinity", "-Infinity", "0", "0.0", "1e-30", "-1.5", "12345678901234567890.5"],
    "double precision": ["NaN", "Infinity", "-Infinity", "-0", "0", "1e-300", "0.1"],
    "text": ["", " ", "a", "A", "ä", "a'b", "a\\b", '"', "%s", "{x}", "zz", "\n"],
    "uuid": [f"{digit * 8}-0000-0000-0000-{digit * 12}" for digit in "012789abf"],
    "date": ["infinity", "-infinity", "4713-01-01 BC", "0001-01-01", "2024-02-29", "9999-12-31"],
    "timestamp": ["infinity", "-infinity", "2024-01-01", "2024-01-01 00:00:00.000001", "0044-03-15 BC"],
    "timestamptz": ["infinity", "-infinity", "2024-01-01 00:00+02", "2024-01-01 00:00:00.000001Z", "2024-03-31 02:30Z"],
    "boolean": ["t", "f"],
    "bytea": ["\\x", "\\x00", "\\xff00"],
    "char(3)": ["", "a", "b  ", "abc"],
    "int[]": ["{}", "{1}", "{1,2}", "{NULL}"],
}


@pytest.fixture(scope="module")
def server(endpoints: Endpoints) -> Iterator[tuple[Reader, Connection]]:
    with fresh_database(endpoints) as (reader, connection):
        execute(connection, "SET timezone = 'UTC'")
        yield reader, connection


@pytest.fixture(autouse=True)
def cut_small_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "MIN_SPLIT_ROWS", 1)
    monkeypatch.setattr(splits, "MAX_COST_RATIO", 1e9)


def planned(reader: Reader, query: str, interval: SyncInterval | None = None, **parameters: str) -> ReadPlan:
    return read_planned(reader.source(query, **parameters), interval)


def numbers(connection: Connection, plan: ReadPlan) -> list[list[int]]:
    """The values of the column `n` that each partition reads."""
    return [
        [n for (n,) in execute(connection, f"SELECT p.n FROM ({partition.statement}) AS p")]
        for partition in plan.splits
    ]


@settings(derandomize=True, database=None, deadline=None, max_examples=60)
@given(
    data=st.data(),
    type_name=st.sampled_from(sorted(VALUES)),
    count=st.integers(2, 7),
    is_analyzed=st.booleans(),
    later=st.integers(0, 5),
)
def test_each_row_is_in_exactly_one_partition(
    server: tuple[Reader, Connection], data: st.DataObject, type_name: str, count: int, is_analyzed: bool, later: int
) -> None:
    reader, connection = server
    values = st.none() | st.sampled_from(VALUES[type_name]) | st.just(VALUES[type_name][0])
    before = data.draw(st.lists(values, max_size=25))
    after = data.draw(st.lists(values, min_size=later, max_size=later))
    execute(connection, f"DROP TABLE IF EXISTS t; CREATE TABLE t (n serial, c {type_name})")
    insert = f"INSERT INTO t (c) SELECT c::{type_name} FROM unnest(%s::text[]) WITH ORDINALITY AS u(c, o) ORDER BY o"
    execute(connection, insert, [before])
    if is_analyzed:
        execute(connection, "ANALYZE t")
    with pytest.MonkeyPatch.context() as patch:
        # An empty table has no rows for the planner to estimate, too.
        patch.setattr(splits, "MIN_SPLIT_ROWS", 1e-9)
        plan = planned(reader, "SELECT n, c FROM t", partition_column="c", num_partitions=str(count))
    assert 1 <= len(plan.splits) <= count
    # What is written after the cuts were chosen has its partition as well.
    execute(connection, insert, [after])
    read = [n for partition in numbers(connection, plan) for n in partition]
    assert sorted(read) == list(range(1, len(before) + len(after) + 1))


@pytest.mark.parametrize(
    "create",
    [
        pytest.param(
            "CREATE TABLE lax (n int, c int NOT NULL NO INHERIT); CREATE TABLE lax_child () INHERITS (lax)",
            id="in a child table",
        ),
        pytest.param(
            "CREATE TABLE lax (n int, c int); CREATE TABLE lax_child () INHERITS (lax)", id="before a check of new rows"
        ),
    ],
)
def test_a_null_in_a_column_that_is_declared_not_null_is_read(server: tuple[Reader, Connection], create: str) -> None:
    reader, connection = server
    execute(connection, create)
    try:
        execute(connection, "INSERT INTO lax SELECT n, n FROM generate_series(1, 50) AS n")
        execute(connection, "INSERT INTO lax_child VALUES (51, NULL), (52, 52)")
        if "NOT NULL" not in create:
            execute(connection, "ALTER TABLE lax ADD CONSTRAINT checked NOT NULL c NOT VALID")
        execute(connection, "ANALYZE lax")
        plan = planned(reader, "SELECT n, c FROM lax", partition_column="c", num_partitions="3")
        assert len(plan.splits) == 3
        assert sorted(n for part in numbers(connection, plan) for n in part) == list(range(1, 53))
    finally:
        execute(connection, "DROP TABLE lax CASCADE")


def test_partitions_are_even_on_skewed_values(server: tuple[Reader, Connection]) -> None:
    reader, connection = server
    execute(
        connection,
        """
        CREATE TABLE skewed (n int PRIMARY KEY, c bigint);
        -- Half of the rows are in one thousandth of the range, and every tenth is NULL.
        INSERT INTO skewed SELECT n, CASE WHEN n % 10 = 0 THEN NULL WHEN n % 2 = 0 THEN n ELSE n * 1000 END
        FROM generate_series(1, 20000) AS n;
        """,
    )
    plan = planned(reader, "SELECT * FROM skewed", partition_column="c", num_partitions="4")
    sizes = [len(part) for part in numbers(connection, plan)]
    # Of 18,000 values each part has a fourth; the 2,000 without one are in the first.
    assert sizes == [6500, 4500, 4500, 4500]


def test_a_value_that_most_rows_have_is_one_partition(server: tuple[Reader, Connection]) -> None:
    reader, connection = server
    execute(
        connection,
        """
        CREATE TABLE monotonous (n int PRIMARY KEY, c int NOT NULL);
        INSERT INTO monotonous SELECT n, CASE WHEN n <= 900 THEN 5 ELSE n END FROM generate_series(1, 1000) AS n;
        """,
    )
    plan = planned(reader, "SELECT * FROM monotonous", partition_column="c", num_partitions="4")
    assert [len(part) for part in numbers(connection, plan)] == [900, 100]
    assert planned(reader, "SELECT * FROM monotonous WHERE c = 5", num_partitions="4").splits[0].count == 4
    only = planned(reader, "SELECT 5 AS c, n FROM monotonous", partition_column="c", num_partitions="4")
    assert (len(only.splits), only.splitting) == (1, "c has too few distinct values to split by")


@pytest.fixture(scope="module")
def big(server: tuple[Reader, Connection]) -> Reader:
    reader, connection = server
    execute(
        connection,
        """
        CREATE TABLE big (n bigint PRIMARY KEY, name text NOT NULL, updated_at timestamptz, other int NOT NULL);
        INSERT INTO big
        SELECT n, 'name ' || n, timestamptz '2024-01-01' + n * interval '1 second', n % 7
        FROM generate_series(1, 100000) AS n;
        CREATE INDEX ON big (updated_at);
        CREATE VIEW big_view AS SELECT * FROM big;
        CREATE TABLE small (n int PRIMARY KEY, text text);
        INSERT INTO small SELECT n, 'x' FROM generate_series(1, 10) AS n;
        CREATE TABLE nothing (n int PRIMARY KEY);
        CREATE TABLE by_month (n int, day date, PRIMARY KEY (n, day)) PARTITION BY RANGE (day);
        CREATE TABLE by_month_1 PARTITION OF by_month FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
        CREATE TABLE by_month_2 PARTITION OF by_month FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');
        INSERT INTO by_month SELECT n, date '2024-01-01' + n % 60 FROM generate_series(1, 5000) AS n;
        CREATE TABLE named (name text PRIMARY KEY, n int);
        INSERT INTO named SELECT 'name ' || n, n FROM generate_series(1, 5000) AS n;
        CREATE FUNCTION picks(int) RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN $1; END';
        """,
    )
    execute(connection, "VACUUM ANALYZE")
    return reader


@pytest.mark.parametrize(
    ("query", "parameters", "count", "reason"),
    [
        pytest.param(
            "SELECT * FROM big", {"num_partitions": "4"}, 4, "by ranges of n, about 25,000 rows each", id="key"
        ),
        pytest.param(
            "SELECT n FROM big WHERE other < 3 ORDER BY name", {"num_partitions": "4"}, 4, "by ranges of n,", id="some"
        ),
        pytest.param("SELECT * FROM by_month", {"num_partitions": "3"}, 3, "by ranges of n,", id="partitioned table"),
        pytest.param("SELECT * FROM big", {}, 1, "one is enough for about 100,000 rows, ", id="by size"),
        pytest.param("SELECT * FROM big", {"num_partitions": "1"}, 1, "from num_partitions", id="one"),
        pytest.param(
            "SELECT * FROM nothing", {"num_partitions": "4"}, 1, "one is enough for about 1 rows, 0 MiB", id="empty"
        ),
        pytest.param("SELECT name FROM big", {"num_partitions": "4"}, 1, "no column can split the read", id="no key"),
        pytest.param("SELECT * FROM big_view", {"num_partitions": "4"}, 1, "no column can split the read", id="view"),
        pytest.param(
            "SELECT * FROM named", {"num_partitions": "4"}, 1, "splits a read only if partition_column names", id="text"
        ),
        pytest.param(
            "SELECT * FROM named",
            {"num_partitions": "4", "partition_column": "name"},
            4,
            "by ranges of name,",
            id="text, named",
        ),
        pytest.param(
            "SELECT * FROM big_view",
            {"num_partitions": "4", "partition_column": "n"},
            4,
            "by ranges of n,",
            id="view, named",
        ),
        pytest.param(
            "SELECT b.n FROM big b JOIN small s ON s.n = b.other + 1",
            {"num_partitions": "4"},
            1,
            "the query reads more than one table",
            id="join",
        ),
        pytest.param(
            "SELECT s.n, b.name FROM big b LEFT JOIN small s ON s.n = b.n",
            {"num_partitions": "4", "partition_column": "n"},
            4,
            "by ranges of n,",
            id="outer join, named",
        ),
        pytest.param(
            "SELECT b.n, a.name FROM big a LEFT JOIN big b ON b.n = a.n * 2",
            {"num_partitions": "4", "partition_column": "n"},
            4,
            "by ranges of n,",
            id="outer join with itself, named",
        ),
        pytest.param(
            "SELECT b.n, a.name FROM big a LEFT JOIN big b ON b.n = a.n * 2",
            {"num_partitions": "4"},
            1,
            "the query reads more than one table",
            id="outer join with itself",
        ),
        pytest.param(
            "SELECT * FROM big LIMIT 50000", {"num_partitions": "4"}, 1, "because it has a LIMIT or OFFSET", id="limit"
        ),
        pytest.param("SELECT *, now() AS t FROM big", {"num_partitions": "4"}, 1, "because it calls now()", id="now"),
    ],
)
def test_how_a_query_is_cut(
    server: tuple[Reader, Connection], big: Reader, query: str, parameters: dict[str, str], count: int, reason: str
) -> None:
    plan = planned(big, query, **parameters)
    assert plan.splitting.startswith(reason) or reason in plan.splitting
    assert [(part.index, part.count) for part in plan.splits] == [(n, count) for n in range(1, count + 1)]
    if "now()" not in query and "LIMIT" not in query:
        parts = [row for part in plan.splits for row in execute(server[1], part.statement)]
        whole = execute(server[1], f"SELECT * FROM ({query}) AS q")
        assert Counter(map(repr, parts)) == Counter(map(repr, whole))


@pytest.mark.parametrize(
    ("query", "column", "words"),
    [
        pytest.param("SELECT * FROM big LIMIT 50000", "n", "it has a LIMIT or OFFSET", id="limit"),
        pytest.param("SELECT * FROM big OFFSET 5", "n", "it has a LIMIT or OFFSET", id="offset"),
        pytest.param(
            "SELECT * FROM (SELECT * FROM big ORDER BY name LIMIT 9) AS s", "n", "it has a LIMIT", id="inside"
        ),
        pytest.param(
            "SELECT * FROM big WHERE random() < 0.5",
            "n",
            "it calls random(), which is declared volatile",
            id="random",
        ),
        pytest.param("SELECT *, gen_random_uuid() AS u FROM big", "n", "it calls gen_random_uuid()", id="new uuid"),
        pytest.param("SELECT * FROM big WHERE updated_at < now()", "n", "it calls now()", id="now"),
        pytest.param(
            "SELECT *, current_timestamp AS t FROM big", "n", "it uses CURRENT_TIMESTAMP", id="current_timestamp"
        ),
        pytest.param("SELECT *, 'now'::timestamptz AS t FROM big", "n", "it has 'now'", id="text now"),
        pytest.param(
            "SELECT picks(other) AS p, n FROM big",
            "n",
            "it calls picks(), which is declared only stable",
            id="stable",
        ),
        pytest.param("SELECT DISTINCT other FROM big", "other", "it groups rows or has DISTINCT", id="distinct"),
        pytest.param("SELECT DISTINCT ON (other) * FROM big", "n", "it groups rows or has DISTINCT", id="distinct on"),
        pytest.param("SELECT other, count(*) AS k FROM big GROUP BY 1", "k", "it groups rows", id="group"),
        pytest.param(
            "SELECT *, row_number() OVER (ORDER BY other) AS r FROM big", "r", "it has a window function", id="window"
        ),
        pytest.param("SELECT * FROM big TABLESAMPLE SYSTEM (10)", "n", "it draws a sample", id="sample"),
        pytest.param("SELECT * FROM big EXCEPT SELECT * FROM big WHERE n < 5", "n", "compute again", id="except"),
    ],
)
def test_a_query_that_cannot_be_cut_by_the_column_that_is_named(
    big: Reader, query: str, column: str, words: str
) -> None:
    with pytest.raises(SourceQueryError) as caught:
        planned(big, query, partition_column=column, num_partitions="4")
    message = str(caught.value)
    assert message.startswith(f"partition_column: the read cannot be split by {column}, because it ")
    assert words in message
    assert message.endswith(": omit partition_column to read with one statement")


@pytest.mark.parametrize(
    ("query", "column", "message"),
    [
        pytest.param(
            "SELECT n, name FROM big",
            "nam",
            "partition_column: nam is not among the columns of the query (n, name); did you mean name?",
            id="no such column",
        ),
        pytest.param(
            "SELECT n, '{}'::json AS j FROM big",
            "j",
            "partition_column: the type of j has no order: name another column",
            id="no order",
        ),
    ],
)
def test_a_column_that_cannot_be_used(big: Reader, query: str, column: str, message: str) -> None:
    with pytest.raises(SourceQueryError) as caught:
        planned(big, query, partition_column=column, num_partitions="4")
    assert str(caught.value) == message


SMART = {"enable_smart_sync": "true", "num_partitions": "4"}


def at(hour: int) -> datetime:
    return datetime(2024, 1, 1, hour, tzinfo=UTC)


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        pytest.param("SELECT * FROM big", {}, id="around the query"),
        pytest.param(
            None,
            {
                "postgresql_base_query": "SELECT * FROM big WHERE updated_at > '{start_timestamp}' "
                "AND updated_at <= '{end_timestamp}' ORDER BY updated_at ASC"
            },
            id="placeholders",
        ),
    ],
)
def test_an_interval_is_cut_at_quantiles_of_its_timestamps(
    server: tuple[Reader, Connection], big: Reader, query: str | None, parameters: dict[str, str]
) -> None:
    interval = SyncInterval(at(4), at(12), StartOrigin.DESTINATION, latest=at(4))
    plan = planned(big, query or "SELECT 1", interval, **SMART, **parameters)
    assert plan.splitting.startswith("by ranges of updated_at, about ")
    assert plan.risks == ()
    parts = numbers(server[1], plan)
    assert [len(part) for part in parts] == [7200] * 4
    assert sorted(n for part in parts for n in part) == list(range(14401, 43201))


def test_null_timestamps_that_are_included_are_read_once(server: tuple[Reader, Connection], big: Reader) -> None:
    _, connection = server
    execute(
        connection, "CREATE TABLE some_null AS SELECT n, CASE WHEN n % 5 > 0 THEN updated_at END AS updated_at FROM big"
    )
    interval = SyncInterval(at(0), at(12), StartOrigin.DESTINATION, latest=at(0))
    included = {"smart_sync_null_timestamps": "include", "primary_key": "n"}
    plan = planned(big, "SELECT * FROM some_null", interval, **SMART, **included)
    assert len(plan.splits) == 4
    read = sorted(n for part in numbers(connection, plan) for n in part)
    assert read == [n for n in range(1, 100001) if n <= 43200 or n % 5 == 0]


def test_a_short_interval_of_a_large_table_is_neither_sampled_nor_cut(
    big: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splits, "MIN_SPLIT_ROWS", 1000)
    monkeypatch.setattr(splits, "bounds_of", lambda *_: pytest.fail("sampled"))
    interval = SyncInterval(at(4), datetime(2024, 1, 1, 4, 10, tzinfo=UTC), StartOrigin.DESTINATION, latest=at(4))
    assert len(planned(big, "SELECT * FROM big", interval, **SMART).splits) == 1


def test_a_short_interval_is_read_by_the_index(server: tuple[Reader, Connection], big: Reader) -> None:
    interval = SyncInterval(at(4), datetime(2024, 1, 1, 4, 10, tzinfo=UTC), StartOrigin.DESTINATION, latest=at(4))
    (part,) = planned(big, "SELECT * FROM big", interval, enable_smart_sync="true").splits
    execute(server[1], "SET jit = off")
    (((document,),),) = [execute(server[1], f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {part.statement}")]
    plan = document[0]["Plan"]
    assert (plan["Node Type"], plan["Actual Rows"]) == ("Index Scan", 600)
    # Of the table's 700 and more.
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 25


def test_a_sample_is_enough(server: tuple[Reader, Connection], big: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split_points, "SAMPLE_PAGES", 100)
    plan = planned(big, "SELECT * FROM big", num_partitions="4")
    parts = numbers(server[1], plan)
    assert sorted(n for part in parts for n in part) == list(range(1, 100001))
    assert all(10_000 < len(part) < 45_000 for part in parts)
    monkeypatch.setattr(split_points, "MIN_SAMPLED_ROWS", 1_000_000)
    assert planned(big, "SELECT * FROM big", num_partitions="4").splitting == (
        "the sample has too few rows to split by n"
    )


def test_no_time_to_sample(big: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split_points, "SAMPLE_MILLISECONDS", 1)
    plan = planned(big, "SELECT * FROM big", num_partitions="4")
    assert (len(plan.splits), plan.splitting) == (1, "sampling the values of n took too long")


def test_by_size(big: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "SPLIT_BYTES", 2**20)
    assert 3 <= len(planned(big, "SELECT * FROM big").splits) <= 8
    monkeypatch.setattr(splits, "MAX_SPLITS", 2)
    assert len(planned(big, "SELECT * FROM big").splits) == 2


def test_values_outside_of_their_rows_count(server: tuple[Reader, Connection], monkeypatch: pytest.MonkeyPatch) -> None:
    reader, connection = server
    execute(
        connection,
        """
        CREATE TABLE wide (n int PRIMARY KEY, t text);
        ALTER TABLE wide ALTER t SET STORAGE EXTERNAL;
        INSERT INTO wide SELECT n, repeat('x', 20000) FROM generate_series(1, 1000) AS n;
        ANALYZE wide;
        """,
    )
    monkeypatch.setattr(splits, "SPLIT_BYTES", 2**22)
    assert len(planned(reader, "SELECT * FROM wide").splits) == 5


def test_parts_without_an_index(big: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "MAX_COST_RATIO", 2.5)
    plan = planned(big, "SELECT * FROM big", partition_column="other", num_partitions="4")
    assert len(plan.splits) == 4
    cost, changes = plan.risks
    assert cost.startswith("read splits by other cost the server ")
    assert cost.endswith(" as one read: create an index on other, or omit partition_column")
    assert changes == (
        "the splits are read at different times: a row whose other changes during the run may be read "
        "twice or not at all"
    )
    assert planned(big, "SELECT * FROM big", partition_column="n", num_partitions="4").risks == ()


def test_a_run_in_parts(syncing: Syncing) -> None:
    syncing.execute("CREATE TABLE items (id int PRIMARY KEY, name text)")
    syncing.execute("INSERT INTO items SELECT n, 'x' || n FROM generate_series(1, 20000) AS n; ANALYZE items")
    run = syncing.run(num_partitions="3", create_disposition="CREATE_IF_NEEDED").succeeded()
    assert (
        "plan: 2 columns, 3 read splits (by ranges of the table's pages, about 6,666 rows each, all in one snapshot), "
        "rows: about 20,000" in run.everything
    )
    assert [line for line in run.log if line.startswith("read split ")] != []
    assert (run.rows_read, run.rows_loaded) == (20000, 20000)
    assert syncing.query("SELECT COUNT(*), COUNT(DISTINCT id), SUM(id) FROM items") == [(20000, 20000, 200010000)]
    shown = syncing.run(num_partitions="3", partition_column="id", dry_run="true")
    assert "    3 read splits (by ranges of id, about 6,666 rows each), at most 1,000 rows per batch" in shown.printed


def test_a_run_in_parts_side_by_side(syncing: Syncing) -> None:
    syncing.execute("CREATE TABLE items (id int PRIMARY KEY, name text)")
    syncing.execute("INSERT INTO items SELECT n, 'x' || n FROM generate_series(1, 20000) AS n; ANALYZE items")
    options = ("--direct_num_workers=2", "--direct_running_mode=multi_threading")
    process = syncing.begin_process(*options, num_partitions="4")
    _, complained = process.communicate(timeout=100)
    assert process.returncode == 0, complained
    assert syncing.query("SELECT COUNT(*), COUNT(DISTINCT id), SUM(id) FROM items") == [(20000, 20000, 200010000)]


def test_no_value_is_shown(big: Reader) -> None:
    plan = planned(big, "SELECT * FROM named", partition_column="name", num_partitions="4")
    shown: Any = (plan.query, plan.splitting, plan.risks)
    assert "name 1" not in repr(shown)
