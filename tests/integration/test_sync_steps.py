"""`smart_sync_max_interval_hours`: a long interval is loaded in atomic steps, none of which is repeated."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import make_dsn

from sync_pipeline.errors import RecordError
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.publishing import publish
from sync_pipeline.publishing.report import SyncReport
from tests.integration.bigquery_syncing import WAYS, BigquerySyncing
from tests.integration.mongodb_syncing import MongodbSyncing
from tests.integration.syncing import Run, Syncing

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
# Days since `BEGIN` of the rows: three within a day, an empty month, three within a day, an empty year, one.
DAYS = [0, 0.25, 1, 40, 40.5, 41, 500]
STEPS = [[0, 0.25, 1], [40, 40.5, 41], [500]]
DAILY = {"smart_sync_max_interval_hours": "24"}
KEYED = {"primary_key": "id"}


def moments(days: list[float]) -> list[datetime]:
    return [BEGIN + timedelta(days=day) for day in days]


def load(syncing: Syncing, **parameters: str | None) -> list[list[datetime]]:
    """Plan, stage and publish until nothing is left; return the timestamps that each step has added."""
    steps: list[list[datetime]] = []
    known = timestamps(syncing) if "items" in syncing.tables() else []
    while True:
        plan = syncing.plan(**DAILY, **parameters)
        report = syncing.publish(plan)
        assert report.more_is_left is plan.more_is_left
        loaded = timestamps(syncing)
        steps.append([at for at in loaded if at not in known])
        known = loaded
        if not plan.more_is_left:
            return steps
        assert len(steps) < 10


def timestamps(syncing: Syncing) -> list[datetime]:
    column = syncing.column("SELECT updated_at FROM items WHERE updated_at IS NOT NULL ORDER BY updated_at")
    return [at if at.tzinfo else at.replace(tzinfo=UTC) for at in column]


def interval(plan: TableSync) -> tuple[datetime, datetime]:
    assert plan.interval is not None
    return plan.interval.start, plan.interval.end


def insert(syncing: Syncing, type_: str = "timestamptz", days: list[float] = DAYS) -> None:
    syncing.execute(f"CREATE TABLE items (id serial PRIMARY KEY, updated_at {type_})")
    syncing.execute(f"INSERT INTO items (updated_at) SELECT unnest(%s::timestamptz[])::{type_}", (moments(days),))


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param({}, id="append"),
        pytest.param(KEYED, id="merge"),
        pytest.param(
            {
                "postgresql_query": None,
                "postgresql_base_query": "SELECT * FROM items WHERE updated_at > '{start_timestamp}' "
                "AND updated_at <= '{end_timestamp}'",
            },
            id="placeholders",
        ),
        pytest.param(KEYED | {"smart_sync_lookback_seconds": "259200"}, id="lookback"),
        pytest.param({"sync_all_on_empty_table": "false", "fallback_days": "36500"}, id="fallback"),
    ],
)
def test_postgresql(syncing: Syncing, parameters: dict[str, str | None]) -> None:
    insert(syncing)
    assert load(syncing, **parameters) == list(map(moments, STEPS))
    assert syncing.query("SELECT COUNT(*) FROM items") == [(len(DAYS),)]
    assert not syncing.plan(**DAILY, **parameters).more_is_left


def test_readings_of_a_wall_clock(syncing: Syncing) -> None:
    insert(syncing, "timestamp")
    assert load(syncing, smart_sync_time_zone="America/New_York") == list(map(moments, STEPS))


def test_rows_without_a_timestamp_are_read_by_each_step(syncing: Syncing) -> None:
    insert(syncing)
    syncing.execute("INSERT INTO items (updated_at) VALUES (NULL)")
    parameters = KEYED | {"smart_sync_null_timestamps": "include"}
    assert load(syncing, **parameters) == list(map(moments, STEPS))
    assert syncing.query("SELECT COUNT(*) FROM items") == [(len(DAYS) + 1,)]


def test_only_rows_without_a_timestamp(syncing: Syncing) -> None:
    syncing.execute("CREATE TABLE items (id int PRIMARY KEY, updated_at timestamptz); INSERT INTO items VALUES (1)")
    assert load(syncing, **KEYED, smart_sync_null_timestamps="include") == [[]]


def test_rows_before_the_default_start_and_in_the_future(syncing: Syncing) -> None:
    insert(syncing, days=[-300_000, -36_500, 0, 0.5, 36_500])
    assert load(syncing) == list(map(moments, [[-300_000], [-36_500], [0, 0.5]]))


def test_an_open_transaction_holds_the_last_step_back(syncing: Syncing) -> None:
    syncing.execute("CREATE TABLE items (id int, updated_at timestamptz DEFAULT now())")
    syncing.execute("INSERT INTO items SELECT n, now() - n * '25 hours'::interval FROM generate_series(1, 3) n")
    late = psycopg2.connect(make_dsn(syncing.endpoints.postgresql_dsn, dbname=syncing.database))
    with contextlib.closing(late), late.cursor() as cursor:
        cursor.execute("INSERT INTO items VALUES (0)")
        syncing.execute("INSERT INTO items VALUES (-1)")
        assert [len(step) for step in load(syncing)] == [1, 1, 1]
        late.commit()
    assert [len(step) for step in load(syncing)] == [2]


def test_an_increment_within_a_step_asks_nothing(syncing: Syncing) -> None:
    insert(syncing, days=[0])
    syncing.publish(syncing.plan())
    syncing.execute("UPDATE items SET updated_at = now() - '1 hour'::interval")
    plan = syncing.plan(**KEYED, **DAILY, sync_all_on_empty_table="true")
    assert not plan.more_is_left


def test_a_load_that_is_killed_goes_on_where_it_was(syncing: Syncing) -> None:
    insert(syncing)
    syncing.publish(syncing.plan(**DAILY))
    killed = syncing.plan(**DAILY)
    staged = syncing.stage(killed)
    assert staged
    again = syncing.plan(**DAILY)
    assert interval(again) == interval(killed)
    assert load(syncing) == list(map(moments, STEPS[1:]))
    # What the killed run has left behind cannot be published any more.
    assert syncing.publish(killed, staged).rows_loaded == 0
    assert timestamps(syncing) == moments(DAYS)


def test_deleted_rows_are_found_though_more_is_left(syncing: Syncing) -> None:
    """The keys are those of the whole source, so rows that no step has loaded yet are not taken for deleted ones."""
    insert(syncing)
    deletes = KEYED | {"deletes": "remove", "max_deleted_percent": "100"}
    syncing.publish(syncing.plan(**DAILY, **deletes))
    syncing.execute("DELETE FROM items WHERE id IN (1, 5)")
    assert load(syncing, **deletes) == [moments([40, 41]), moments([500])]
    assert timestamps(syncing) == moments([0.25, 1, 40, 41, 500])


def test_many_tables(syncing: Syncing, tmp_path: Any) -> None:
    insert(syncing)
    syncing.execute("CREATE TABLE others AS SELECT * FROM items; ALTER TABLE others ADD PRIMARY KEY (id)")
    syncing.execute("CREATE TABLE whole (id int PRIMARY KEY); INSERT INTO whole VALUES (1)")
    file = tmp_path / "tables.yaml"
    file.write_text("tables: [{postgresql_table: items, smart_sync_max_interval_hours: 24}]")
    many = {"postgresql_query": None, "destination_bigquery_table": None, "tables_file": str(file)}
    many |= {"postgresql_table": "public.*", "smart_sync_settle_seconds": "0"}
    run = syncing.run(**many).succeeded()
    assert timestamps(syncing) == moments(STEPS[0])
    assert syncing.query("SELECT COUNT(*) FROM others") == [(len(DAYS),)]
    (left,) = [line for line in run.log if "sync report" in line and "more_is_left=true" in line]
    assert syncing.table_id() in left
    found = json.loads(syncing.run(**many, output="json").printed)
    assert {table["source"]: table["more_is_left"] for table in found["runs"][0]["tables"]} == {
        "public.items": True,
        "public.others": False,
        "public.whole": False,
    }
    assert timestamps(syncing) == moments(STEPS[0] + STEPS[1])


def test_the_plan_and_the_report_say_that_more_is_left(syncing: Syncing) -> None:
    insert(syncing)
    page = syncing.smart(**DAILY, dry_run="true").printed
    assert "more is left: smart_sync_max_interval_hours ends the interval; the next run goes on" in page
    run = syncing.smart(**DAILY).succeeded()
    assert run.report["more_is_left"] == "true"
    assert any(line.startswith("plan: more is left") for line in run.log)


def test_a_step_of_rejected_rows_fails_as_no_run_would_get_beyond_it(syncing: Syncing) -> None:
    syncing.execute("CREATE TABLE items (id int, v numeric, updated_at timestamptz)")
    syncing.execute("INSERT INTO items VALUES (1, 'NaN', '2024-01-01Z'), (2, 1, '2025-01-01Z')")
    letters = {"dead_letter_table": syncing.table_id("letters")}
    run = syncing.smart(**DAILY, **letters)
    assert run.exit_code == RecordError.exit_code
    assert "all 1 rows of the interval were rejected" in run.errors[0]
    assert syncing.query("SELECT COUNT(*) FROM letters") == [(1,)]
    assert syncing.left_over() == []
    syncing.execute("UPDATE items SET v = 2")
    load(syncing, **letters)
    assert len(timestamps(syncing)) == 2


def until_current(syncing: Syncing, *flags: str, **parameters: str | None) -> Run:
    """Run with these flags, by default --output=json, until nothing is left."""
    return syncing.run(
        *("--until-current", *(flags or ["--output=json"])),
        **{"enable_smart_sync": "true", "smart_sync_settle_seconds": "0", **DAILY, **parameters},
    )


def test_until_current(syncing: Syncing) -> None:
    insert(syncing)
    run = until_current(syncing, **KEYED).succeeded()
    found = json.loads(run.printed)
    assert [one["tables"][0]["rows_loaded"] for one in found["runs"]] == list(map(len, STEPS))
    assert (found["totals"]["runs"], found["totals"]["rows_loaded"]) == (len(STEPS), len(DAYS))
    assert len([line for line in run.log if line.startswith("sync report: ")]) == len(STEPS)
    assert timestamps(syncing) == moments(DAYS)
    again = json.loads(until_current(syncing, **KEYED).printed)
    assert [one["tables"][0]["status"] for one in again["runs"]] == ["unchanged"]


def test_until_current_ends_with_the_first_failure(syncing: Syncing) -> None:
    insert(syncing)
    run = until_current(syncing, postgresql_query="SELECT *, CASE WHEN id = 4 THEN 'NaN'::numeric END AS v FROM items")
    found = json.loads(run.printed)
    assert (run.exit_code, found["exit_code"], found["error"]["kind"]) == (2, 2, "RecordError")
    assert [one["tables"][0]["status"] for one in found["runs"]] == ["published", "failed"]
    assert timestamps(syncing) == moments(STEPS[0])


def test_until_current_ends_when_a_run_gets_no_further(syncing: Syncing, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of the first step vanish, as in a table whose partitions expire."""
    insert(syncing)
    syncing.query("CREATE TABLE items (id INT64, updated_at TIMESTAMP)")
    report_of = publish.report_of

    def forgetful(*arguments: Any) -> SyncReport:
        syncing.query("TRUNCATE TABLE items")
        return report_of(*arguments)

    monkeypatch.setattr(publish, "report_of", forgetful)
    run = until_current(syncing)
    assert run.exit_code == 1
    assert "further runs would load the same interval" in run.errors[0]
    assert json.loads(run.printed)["totals"]["runs"] == 1


def test_until_current_needs_a_run_in_this_process(syncing: Syncing) -> None:
    run = until_current(syncing, "--runner=DataflowRunner", "--region=r")
    run.refused("--until-current can only follow a run in this process")


def test_what_it_cannot_be_given_with(syncing: Syncing) -> None:
    syncing.smart(**DAILY, delete_existing_table="true").refused("delete_existing_table", "smart_sync_max_interval")
    both = {"interval_start": "2024-01-01T00:00:00Z", "interval_end": "2024-01-02T00:00:00Z"}
    syncing.smart(**DAILY, **both).refused("smart_sync_max_interval_hours divides intervals")


def documents(days: list[float]) -> list[dict[str, Any]]:
    return [{"_id": number, "at": {"changed": at}, "updated_at": at} for number, at in enumerate(moments(days))]


@pytest.mark.parametrize("has_index", [True, False])
def test_mongodb(mongodb_syncing: MongodbSyncing, has_index: bool) -> None:
    mongodb_syncing.insert(*documents(DAYS), {"_id": "x", "updated_at": None}, {"_id": "y", "updated_at": moments([7])})
    if has_index:
        mongodb_syncing.collection.create_index("updated_at")
    assert load(mongodb_syncing) == list(map(moments, STEPS))


def test_mongodb_with_placeholders(mongodb_syncing: MongodbSyncing) -> None:
    mongodb_syncing.insert(*documents(DAYS))
    query = '{"updated_at": {"$gt": {"$date": "{start_timestamp}"}, "$lte": {"$date": "{end_timestamp}"}}}'
    assert load(mongodb_syncing, mongodb_query=query) == list(map(moments, STEPS))


def test_mongodb_by_a_path(mongodb_syncing: MongodbSyncing) -> None:
    mongodb_syncing.insert(*documents(DAYS))
    assert load(mongodb_syncing, smart_sync_timestamp_column="at.changed") == list(map(moments, STEPS))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("type_", ["TIMESTAMP", "DATETIME"])
def test_bigquery(bigquery_syncing: BigquerySyncing, way: str, type_: str) -> None:
    rows = ", ".join(f"({number}, '{at:%Y-%m-%d %H:%M:%S}')" for number, at in enumerate(moments(DAYS)))
    bigquery_syncing.at_source(f"CREATE TABLE items (id INT64, updated_at {type_}); INSERT INTO items VALUES {rows}")
    assert load(bigquery_syncing.by(way)) == list(map(moments, STEPS))


def test_bigquery_with_placeholders_and_a_required_filter(bigquery_syncing: BigquerySyncing) -> None:
    rows = ", ".join(f"({number}, '{at:%Y-%m-%d %H:%M:%S}')" for number, at in enumerate(moments(DAYS)))
    bigquery_syncing.at_source(
        "CREATE TABLE items (id INT64, updated_at TIMESTAMP) PARTITION BY DATE(updated_at) "
        f"OPTIONS (require_partition_filter = TRUE); INSERT INTO items VALUES {rows}"
    )
    assert load(bigquery_syncing) == list(map(moments, STEPS))
    bigquery_syncing.query("DROP TABLE items")
    query = "SELECT * FROM items WHERE updated_at > '{start_timestamp}' AND updated_at <= '{end_timestamp}'"
    parameters = {"source_bigquery_query": query, "source_bigquery_dataset": bigquery_syncing.source}
    assert load(bigquery_syncing, **parameters) == list(map(moments, STEPS))
