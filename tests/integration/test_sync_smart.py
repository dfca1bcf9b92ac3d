"""Smart Sync reads what is new since the destination's latest timestamp: each row once, and every row."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import pytest
from google.api_core import exceptions
from google.cloud import bigquery
from psycopg2.extensions import make_dsn

from tests.integration.postgresql_reading import execute
from tests.integration.syncing import Syncing

ITEMS = "CREATE TABLE items (id int PRIMARY KEY, updated_at timestamptz NOT NULL DEFAULT now())"
BASE_QUERY = (
    "SELECT * FROM items WHERE updated_at > '{start_timestamp}' AND updated_at <= '{end_timestamp}' "
    "ORDER BY updated_at ASC"
)
IDS = "SELECT id FROM items ORDER BY id"

# The query as it is given: with placeholders, and without.
QUERIES = [
    pytest.param({"postgresql_base_query": BASE_QUERY}, id="placeholders"),
    pytest.param({"postgresql_query": "SELECT * FROM items ORDER BY updated_at; -- all"}, id="plain query"),
]


def stamp(syncing: Syncing, *rows: tuple[int, str]) -> None:
    """Insert rows of an id and a timestamp."""
    for row in rows:
        syncing.execute("INSERT INTO items VALUES (%s, %s)", row)


@pytest.mark.parametrize("query", QUERIES)
def test_an_empty_table_gets_everything_and_then_only_what_is_new(syncing: Syncing, query: dict[str, str]) -> None:
    syncing.execute(ITEMS)
    stamp(syncing, (1, "1950-01-01Z"), (2, "2024-01-01Z"), (3, "2024-06-01T12:30:00.123456Z"))
    first = syncing.smart(**query).succeeded()
    assert (first.rows_read, first.rows_loaded) == (3, 3)
    assert first.interval[0] == datetime(1900, 1, 1, tzinfo=UTC)
    assert datetime.now(UTC) - first.interval[1] < timedelta(seconds=30)

    stamp(syncing, (4, "2024-06-01T12:30:00.123455Z"), (5, "2024-06-02Z"))
    second = syncing.smart(**query).succeeded()
    assert second.interval[0] == datetime(2024, 6, 1, 12, 30, 0, 123456, tzinfo=UTC)
    assert (second.rows_read, second.rows_loaded) == (1, 1)
    # The fourth was written behind the latest timestamp: without a key and a lookback it is not seen.
    assert syncing.column(IDS) == [1, 2, 3, 5]

    third = syncing.smart(**query).succeeded()
    assert (third.rows_read, third.rows_loaded) == (0, 0)
    assert third.report["outcome"] == f"nothing new: {syncing.table_id()} is as it was"
    assert syncing.column(IDS) == [1, 2, 3, 5]


def test_after_an_outage_the_next_run_reads_all_that_was_missed(syncing: Syncing) -> None:
    syncing.execute(ITEMS)
    syncing.execute("INSERT INTO items VALUES (0, now() - interval '30 hours')")
    syncing.smart(postgresql_base_query=BASE_QUERY).succeeded()
    syncing.execute("INSERT INTO items SELECT n, now() - n * interval '1 hour' FROM generate_series(1, 29) n")
    # A run that fails meanwhile moves nothing.
    syncing.smart(postgresql_base_query=BASE_QUERY, postgresql_password="wrong").refused("postgresql_password")
    run = syncing.smart(postgresql_base_query=BASE_QUERY).succeeded()
    assert run.rows_loaded == 29
    start, end = run.interval
    assert timedelta(hours=30) < end - start < timedelta(hours=31)
    assert syncing.column(IDS) == list(range(30))


def test_a_table_that_is_there_and_empty_is_loaded_whole(syncing: Syncing) -> None:
    syncing.execute(ITEMS)
    stamp(syncing, (1, "2001-01-01Z"))
    syncing.query("CREATE TABLE items (id INT64, updated_at TIMESTAMP)")
    assert syncing.smart().succeeded().rows_loaded == 1


def test_a_table_with_only_null_timestamps_is_loaded_whole(syncing: Syncing) -> None:
    syncing.execute(ITEMS)
    stamp(syncing, (1, "2001-01-01Z"))
    syncing.query("CREATE TABLE items (id INT64, updated_at TIMESTAMP)")
    syncing.query("INSERT INTO items VALUES (0, NULL)")
    assert syncing.smart().succeeded().rows_loaded == 1


@pytest.mark.parametrize(("days", "loaded"), [(None, [3]), ("7", [2, 3])], ids=["default is one day", "seven days"])
def test_without_sync_all_an_empty_table_gets_the_last_days(
    syncing: Syncing, days: str | None, loaded: list[int]
) -> None:
    syncing.execute(ITEMS)
    syncing.execute(
        "INSERT INTO items VALUES (1, now() - interval '8 days'), (2, now() - interval '25 hours'), "
        "(3, now() - interval '23 hours')"
    )
    run = syncing.smart(sync_all_on_empty_table="false", fallback_days=days).succeeded()
    assert run.interval[1] - run.interval[0] == timedelta(days=int(days or 1))
    assert syncing.column(IDS) == loaded


@pytest.mark.parametrize(
    ("column", "mapping", "there"),
    [
        pytest.param("modified", "{}", "modified", id="its own name"),
        pytest.param("modified", '{"field_mappings": {"modified": "changed_at"}}', "changed_at", id="renamed"),
        pytest.param("Last Modified", '{"field_mappings": {"Last Modified": "modified"}}', "modified", id="quoted"),
    ],
)
def test_another_timestamp_column(syncing: Syncing, column: str, mapping: str, there: str) -> None:
    # updated_at is there too, and says something else.
    syncing.execute(f'CREATE TABLE items (id int, "{column}" timestamptz, updated_at timestamptz DEFAULT now())')
    syncing.execute("INSERT INTO items VALUES (1, '2024-01-01Z')")
    parameters = {"smart_sync_timestamp_column": column, "transformation_config": mapping}
    assert syncing.smart(**parameters).succeeded().rows_loaded == 1
    syncing.execute("INSERT INTO items VALUES (2, '2024-01-02Z')")
    run = syncing.smart(**parameters).succeeded()
    assert (run.rows_loaded, run.interval[0]) == (1, datetime(2024, 1, 1, tzinfo=UTC))
    assert syncing.column(f"SELECT {there} FROM items ORDER BY id") == [
        datetime(2024, 1, 1, tzinfo=UTC),
        datetime(2024, 1, 2, tzinfo=UTC),
    ]


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("type_name", ["timestamptz", "timestamp"])
def test_rows_one_microsecond_apart_at_the_boundary(syncing: Syncing, query: dict[str, str], type_name: str) -> None:
    syncing.execute(f"CREATE TABLE items (id int, updated_at {type_name})")
    stamp(syncing, (1, "2024-01-01 00:00:00.999998Z"), (2, "2024-01-01 00:00:00.999999Z"))
    assert syncing.smart(**query).succeeded().rows_loaded == 2
    stamp(syncing, (3, "2024-01-01 00:00:00.999999Z"), (4, "2024-01-01 00:00:01Z"), (5, "2024-01-01 00:00:01.000001Z"))
    run = syncing.smart(**query).succeeded()
    assert run.interval[0] == datetime(2024, 1, 1, 0, 0, 0, 999999, tzinfo=UTC)
    # The third has the very stamp of a row that was loaded, and was written later by hand.
    assert run.rows_loaded == 2
    assert syncing.column(IDS) == [1, 2, 4, 5]


def test_rows_of_one_bulk_update_come_together(syncing: Syncing) -> None:
    syncing.execute(ITEMS)
    syncing.execute("INSERT INTO items SELECT n, '2024-01-01Z' FROM generate_series(1, 1500) n")
    assert syncing.smart(batch_size="700").succeeded().rows_loaded == 1500
    syncing.execute("UPDATE items SET updated_at = now() WHERE id <= 800")
    assert syncing.smart(batch_size="700").succeeded().rows_loaded == 800
    assert syncing.smart().succeeded().rows_loaded == 0
    assert syncing.query("SELECT COUNT(*), COUNT(DISTINCT id), COUNT(DISTINCT updated_at) FROM items") == [
        (2300, 1500, 2)
    ]


@pytest.mark.parametrize("query", QUERIES)
def test_time_zones_of_server_database_and_user(syncing: Syncing, query: dict[str, str]) -> None:
    syncing.execute(f"ALTER DATABASE {syncing.database} SET timezone = 'America/New_York'")
    syncing.execute("CREATE TABLE items (id int, updated_at timestamptz)")
    with new_york(syncing) as session:
        execute(session, "INSERT INTO items VALUES (1, '2024-03-10 01:59:59.5'), (2, '2024-11-03 01:30-04')")
        assert syncing.smart(**query).succeeded().rows_loaded == 2
        # The clock was set back: the second 01:30 of that night is an hour later.
        execute(session, "INSERT INTO items VALUES (3, '2024-11-03 01:30-05'), (4, now())")
        assert syncing.smart(**query).succeeded().rows_loaded == 2
    assert syncing.query("SELECT id, updated_at FROM items WHERE id < 4 ORDER BY id") == [
        (1, datetime(2024, 3, 10, 6, 59, 59, 500000, tzinfo=UTC)),
        (2, datetime(2024, 11, 3, 5, 30, tzinfo=UTC)),
        (3, datetime(2024, 11, 3, 6, 30, tzinfo=UTC)),
    ]
    assert syncing.smart(**query).succeeded().rows_loaded == 0


@pytest.mark.parametrize("query", QUERIES)
def test_timestamps_without_a_zone_are_compared_as_they_stand(syncing: Syncing, query: dict[str, str]) -> None:
    syncing.execute(f"ALTER DATABASE {syncing.database} SET timezone = 'America/New_York'")
    syncing.execute("CREATE TABLE items (id int, updated_at timestamp)")
    with new_york(syncing) as session:
        # New York's wall clock lies hours behind UTC: such a row is in reach at once.
        execute(session, "INSERT INTO items VALUES (1, '2024-07-01 12:00'), (2, now())")
        run = syncing.smart(**query).succeeded()
        assert run.rows_loaded == 2
        assert "by the wall clock of America/New_York, the server's TimeZone for the user" in run.everything
        execute(session, "INSERT INTO items VALUES (3, now())")
        assert syncing.smart(**query).succeeded().rows_loaded == 1
    assert syncing.column("SELECT updated_at FROM items WHERE id = 1") == [datetime(2024, 7, 1, 12)]  # noqa: DTZ001


def test_timestamps_without_a_zone_ahead_of_utc_come_later_and_are_not_lost(syncing: Syncing) -> None:
    syncing.execute("CREATE TABLE items (id int, updated_at timestamp)")
    syncing.execute("INSERT INTO items VALUES (1, now() AT TIME ZONE 'UTC'), (2, now() AT TIME ZONE 'Asia/Tokyo')")
    assert syncing.smart().succeeded().rows_loaded == 1
    syncing.execute("UPDATE items SET updated_at = now() AT TIME ZONE 'UTC' WHERE id = 2")  # hours pass
    assert syncing.smart().succeeded().rows_loaded == 1
    assert syncing.column(IDS) == [1, 2]


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("type_name", ["timestamptz", "timestamp"])
def test_everything_is_also_what_lies_before_1900(syncing: Syncing, query: dict[str, str], type_name: str) -> None:
    syncing.execute(f"CREATE TABLE items (id int, updated_at {type_name})")
    stamp(syncing, (1, "0001-01-01 00:00:00Z"), (2, "1850-01-01Z"), (3, "2024-01-01Z"), (4, "infinity"))
    stamp(syncing, (5, "-infinity"), (6, "0044-03-15 BC"), (7, "12024-01-01"))
    syncing.execute("INSERT INTO items VALUES (8, NULL)")
    run = syncing.smart(**query, enable_auto_schema="true", source_table_for_schema="items").succeeded()
    assert syncing.column(IDS) == [1, 2, 3]
    (risk,) = [risk for risk in run.risks if "cannot hold" in risk]
    assert risk == (
        '4 rows of "items" have a updated_at that BigQuery cannot hold (infinity, or a year that is not from 1 to '
        "9999) and are not read: correct them"
    )
    assert [risk for risk in run.risks if '1 rows of "items" have NULL in updated_at' in risk]
    assert syncing.smart(**query).succeeded().rows_loaded == 0


def test_what_no_interval_holds_is_counted_without_a_source_table(syncing: Syncing) -> None:
    syncing.execute(ITEMS)
    stamp(syncing, (1, "2024-01-01Z"), (2, "infinity"))
    run = syncing.smart().succeeded()
    assert [risk for risk in run.risks if risk.startswith("1 rows of the query have a updated_at that BigQuery cannot")]


@contextlib.contextmanager
def new_york(syncing: Syncing) -> Iterator[Any]:
    """A session of the application, in its own zone."""
    connection = psycopg2.connect(make_dsn(syncing.endpoints.postgresql_dsn, dbname=syncing.database))
    connection.autocommit = True
    execute(connection, "SET timezone = 'America/New_York'")
    yield connection
    connection.close()


def test_a_timestamp_in_the_future_does_not_stop_the_sync(syncing: Syncing) -> None:
    syncing.execute(ITEMS)
    stamp(syncing, (1, "2024-01-01Z"))
    syncing.smart().succeeded()
    syncing.query("INSERT INTO items VALUES (99, TIMESTAMP '2099-01-01 00:00:00')")
    stamp(syncing, (2, "2024-01-02Z"))
    run = syncing.smart().succeeded()
    assert run.rows_loaded == 1
    assert [risk for risk in run.risks if "2099-01-01" in risk and "future" in risk]
    assert syncing.column(IDS) == [1, 2, 99]


def test_a_row_of_the_source_that_lies_in_the_future_waits(syncing: Syncing) -> None:
    syncing.execute(ITEMS)
    stamp(syncing, (1, "2024-01-01Z"), (2, "2099-01-01Z"))
    assert syncing.smart().succeeded().rows_loaded == 1
    stamp(syncing, (3, "2024-01-02Z"))
    assert syncing.smart().succeeded().rows_loaded == 1
    assert syncing.column(IDS) == [1, 3]


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(exceptions.Forbidden("Access Denied: User does not have permission to query table"), id="403"),
        pytest.param(exceptions.BadRequest("Resources exceeded during query execution"), id="400"),
        pytest.param(exceptions.NotFound("Not found: Table"), id="404"),
    ],
)
def test_a_destination_that_cannot_be_asked_is_no_empty_one(
    syncing: Syncing, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    syncing.execute(ITEMS)
    stamp(syncing, (1, "2024-01-01Z"))
    syncing.smart().succeeded()

    ask = bigquery.Client.query

    def refuse(self: bigquery.Client, query: str, **arguments: Any) -> Any:
        if "MAX(" in query:
            raise error
        return ask(self, query, **arguments)

    jobs = syncing.jobs()
    with monkeypatch.context() as patch:
        patch.setattr(bigquery.Client, "query", refuse)
        syncing.smart().refused(f"cannot ask {syncing.table_id()} for its latest updated_at", exit_code=1)
    assert syncing.jobs() == jobs
    assert syncing.column(IDS) == [1]


@pytest.mark.parametrize(
    ("type_name", "value", "words"),
    [
        ("bigint", "1704067200", "has numbers"),
        ("numeric", "1704067200", "is numeric"),
        ("text", "2024-01-01", "is text"),
        ("date[]", "{2024-01-01}", "is date[]"),
    ],
)
def test_columns_that_are_no_timestamps_are_refused(syncing: Syncing, type_name: str, value: str, words: str) -> None:
    syncing.execute(f"CREATE TABLE items (id int, updated_at {type_name})")
    syncing.execute("INSERT INTO items VALUES (1, %s)", [value])
    syncing.smart(dry_run="true").refused(f"smart_sync_timestamp_column: updated_at {words}")
    assert syncing.tables() == []


def test_a_timestamp_column_that_is_misspelt_is_refused(syncing: Syncing) -> None:
    syncing.execute(ITEMS)
    syncing.smart(smart_sync_timestamp_column="updatedat").refused("updatedat", "did you mean updated_at?")


def test_a_timestamp_column_that_is_left_out_is_refused(syncing: Syncing) -> None:
    syncing.execute(ITEMS)
    leaving_out = '{"exclude_fields": ["updated_at"]}'
    syncing.smart(transformation_config=leaving_out).refused("updated_at", "Smart Sync needs it")


@pytest.mark.parametrize(
    "condition",
    [
        pytest.param("updated_at >= '{start_timestamp}' AND updated_at <= '{end_timestamp}'", id="start included"),
        pytest.param("updated_at > '{start_timestamp}' OR '{end_timestamp}' = ''", id="no upper bound"),
        pytest.param(
            "date(created_at) > '{start_timestamp}' AND date(created_at) <= '{end_timestamp}'", id="another column"
        ),
        pytest.param(
            "updated_at > '{start_timestamp}' AND updated_at <= '{end_timestamp}' OR updated_at IS NULL", id="NULL"
        ),
    ],
)
def test_a_base_query_that_leaves_the_interval_is_refused(syncing: Syncing, condition: str) -> None:
    syncing.execute("CREATE TABLE items (id int, updated_at timestamptz, created_at timestamptz DEFAULT now())")
    syncing.execute("INSERT INTO items VALUES (1, '2024-01-01Z')")
    syncing.smart().succeeded()
    syncing.execute("INSERT INTO items VALUES (2, '2024-01-02Z'), (3, '2099-01-01Z'), (4, NULL)")
    run = syncing.smart(postgresql_base_query=f"SELECT * FROM items WHERE {condition}")
    run.refused("rows whose updated_at is NULL or outside the interval", "{start_timestamp}", "{end_timestamp}")
    assert syncing.column(IDS) == [1]
    assert syncing.left_over() == []


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param({"write_disposition": "WRITE_TRUNCATE"}, id="WRITE_TRUNCATE"),
        pytest.param({"postgresql_base_query": "SELECT * FROM items WHERE updated_at > '{start}'"}, id="placeholder"),
        pytest.param(
            {"postgresql_base_query": BASE_QUERY, "smart_sync_timestamp_column": "last_modified"}, id="another column"
        ),
    ],
)
def test_contradictions_are_refused_before_anything_is_asked(syncing: Syncing, parameters: dict[str, str]) -> None:
    syncing.smart(**parameters, postgresql_host="nowhere.invalid").refused(*parameters)


def test_a_replaced_table_is_loaded_from_the_beginning(syncing: Syncing) -> None:
    syncing.execute(ITEMS)
    stamp(syncing, (1, "2024-01-01Z"), (2, "2024-01-02Z"))
    syncing.smart().succeeded()
    syncing.query("INSERT INTO items VALUES (99, TIMESTAMP '2024-01-03 00:00:00')")
    run = syncing.smart(delete_existing_table="true").succeeded()
    assert run.interval[0] == datetime(1900, 1, 1, tzinfo=UTC)
    assert syncing.column(IDS) == [1, 2]


def test_braces_in_the_query_are_left_alone(syncing: Syncing) -> None:
    syncing.execute(ITEMS)
    stamp(syncing, (1, "2024-01-01Z"))
    query = BASE_QUERY.replace("*", "*, '{a,b}'::text[] AS tags, '{start}' || '%s' AS braces")
    syncing.smart(postgresql_base_query=query).succeeded()
    assert syncing.query("SELECT tags, braces FROM items") == [(["a", "b"], "{start}%s")]


def test_the_seeds_example_by_its_own_parameters(syncing: Syncing) -> None:
    syncing.execute("CREATE TABLE organizations (id int PRIMARY KEY, status text, updated_at timestamptz NOT NULL)")
    syncing.execute("INSERT INTO organizations VALUES (1, 'active', '2024-01-01Z'), (2, 'gone', '2024-01-02Z')")
    parameters = {
        "enable_smart_sync": "true",
        "smart_sync_timestamp_column": "updated_at",
        "postgresql_base_query": BASE_QUERY.replace("items", "organizations"),
        "enable_auto_schema": "true",
        "source_table_for_schema": "public.organizations",
        "partition_field": "updated_at",
        "clustering_fields": "id,status",
        "destination_bigquery_table": "organizations",
        "write_disposition": "WRITE_APPEND",
    }
    assert syncing.run(**parameters).succeeded().rows_loaded == 2
    syncing.execute("UPDATE organizations SET status = 'new', updated_at = '2024-01-03Z' WHERE id = 1")
    assert syncing.run(**parameters).succeeded().rows_loaded == 1
    assert syncing.query("SELECT id, status FROM organizations ORDER BY updated_at") == [
        (1, "active"),
        (2, "gone"),
        (1, "new"),
    ]
