"""A whole query into a table: appended or in place of its rows, all of it or nothing, and nothing left behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from apache_beam.io.filesystems import FileSystems
from google.cloud import bigquery
from google.cloud.bigquery.job import LoadJob, QueryJob

from sync_pipeline.errors import ConcurrentSyncError, PublishError
from sync_pipeline.pipeline import EXECUTION_VARIABLE
from sync_pipeline.planning.plan import TableSync
from tests.integration.syncing import Syncing

IDS = "SELECT id FROM items ORDER BY id"
# How rows get to the table: by one load job, or by way of a staging table, as JSON has to.
DIRECT = pytest.param("SELECT id, name FROM items", id="direct")
STAGED = pytest.param("SELECT id, name, to_jsonb(items) AS document FROM items", id="staged")
TRUNCATE = {"write_disposition": "WRITE_TRUNCATE"}
REMEDIES = ("write_disposition=WRITE_TRUNCATE", "WRITE_APPEND", "primary_key", "enable_smart_sync=true")


def plan_by_default(syncing: Syncing, query: str) -> TableSync:
    return syncing.plan(enable_smart_sync="false", postgresql_query=query, write_disposition=None)


@pytest.fixture(autouse=True)
def items(syncing: Syncing) -> None:
    syncing.execute("CREATE TABLE items (id int PRIMARY KEY, name text)")
    syncing.execute("INSERT INTO items VALUES (1, 'a'), (2, NULL), (3, '')")


@pytest.mark.parametrize("query", [DIRECT, STAGED])
def test_all_rows_are_appended_by_every_run(syncing: Syncing, query: str) -> None:
    for count in (1, 2):
        run = syncing.run(postgresql_query=query).succeeded()
        assert (run.rows_read, run.rows_loaded, run.report["interval"]) == (3, 3, "all")
        assert run.report["outcome"] == f"loaded 3 rows into {syncing.table_id()}"
        assert syncing.query("SELECT id, name, COUNT(*) FROM items GROUP BY id, name ORDER BY id") == [
            (1, "a", count),
            (2, None, count),
            (3, "", count),
        ]


def test_all_rows_are_appended_once_by_default(syncing: Syncing) -> None:
    run = syncing.run(write_disposition=None).succeeded()
    assert any("the next run ends with an error" in risk for risk in run.risks)
    again = syncing.run(write_disposition=None)
    again.refused(f"write_disposition is not given, and {syncing.table_id()} has rows", *REMEDIES)
    assert len(again.errors) == 1
    assert syncing.column(IDS) == [1, 2, 3]
    assert syncing.left_over() == []
    # A table that was emptied is filled again.
    syncing.query("DELETE FROM items WHERE TRUE")
    assert syncing.run(write_disposition=None).succeeded().rows_loaded == 3


@pytest.mark.parametrize("query", [DIRECT, STAGED])
def test_of_two_first_runs_at_once_one_appends(syncing: Syncing, query: str) -> None:
    plans = [plan_by_default(syncing, query) for _ in range(2)]
    files = [syncing.stage(plan) for plan in plans]
    assert syncing.publish(plans[0], files[0]).rows_loaded == 3
    # Another attempt of the step finds its job.
    assert syncing.publish(plans[0], files[0]).rows_loaded == 3
    with pytest.raises(ConcurrentSyncError, match="has rows that were written after the plan"):
        syncing.publish(plans[1], files[1])
    assert syncing.column(IDS) == [1, 2, 3]
    assert syncing.left_over() == []


@pytest.mark.parametrize("query", [DIRECT, STAGED])
def test_rows_of_others_keep_a_first_run_from_publishing(syncing: Syncing, query: str) -> None:
    plan = plan_by_default(syncing, query)
    files = syncing.stage(plan)
    syncing.run(postgresql_query=query).succeeded()
    with pytest.raises(PublishError, match="rows that were written after the plan"):
        syncing.publish(plan, files)
    assert syncing.column(IDS) == [1, 2, 3]


@pytest.mark.parametrize("query", [DIRECT, STAGED])
def test_attempts_of_an_execution_fill_an_empty_table_once(
    syncing: Syncing, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(EXECUTION_VARIABLE, "orders-sync-abcde")
    parameters = {"postgresql_query": query, "write_disposition": None}
    first = syncing.run(**parameters).succeeded()
    again = syncing.run(**parameters).succeeded()
    assert again.report["outcome"] == (
        f"skipped: run {first.report['run_id'].lower()}, an earlier attempt of orders-sync-abcde, already loaded the "
        f"rows into {syncing.table_id()}"
    )
    monkeypatch.setenv(EXECUTION_VARIABLE, "orders-sync-fghij")
    syncing.run(**parameters).refused("write_disposition is not given")
    assert syncing.column(IDS) == [1, 2, 3]
    assert syncing.left_over() == []


@pytest.mark.parametrize("query", [DIRECT, STAGED])
def test_attempts_of_an_execution_append_once(syncing: Syncing, query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EXECUTION_VARIABLE, "orders-sync-abcde")
    first = syncing.run(postgresql_query=query).succeeded()
    # The process died after it had published, and the platform starts another.
    again = syncing.run(postgresql_query=query).succeeded()
    assert again.rows_loaded == 0
    assert again.report["outcome"] == (
        f"skipped: run {first.report['run_id'].lower()}, an earlier attempt of orders-sync-abcde, already loaded the "
        f"rows into {syncing.table_id()}"
    )
    assert syncing.left_over() == []
    monkeypatch.setenv(EXECUTION_VARIABLE, "orders-sync-fghij")
    assert syncing.run(postgresql_query=query).succeeded().rows_loaded == 3
    assert syncing.column("SELECT COUNT(*) FROM items") == [6]


@pytest.mark.parametrize("query", [DIRECT, STAGED])
def test_write_truncate_replaces_the_rows_by_every_run(syncing: Syncing, query: str) -> None:
    for name in ("first", "second", "third"):
        syncing.execute("DELETE FROM items WHERE id = 1; INSERT INTO items VALUES (1, %s)", [name])
        assert syncing.run(postgresql_query=query, **TRUNCATE).succeeded().rows_loaded == 3
        assert syncing.query("SELECT id, name FROM items ORDER BY id") == [(1, name), (2, None), (3, "")]


@pytest.mark.parametrize("query", [DIRECT, STAGED])
def test_write_truncate_keeps_what_the_table_is(syncing: Syncing, query: str) -> None:
    syncing.run(postgresql_query=query).succeeded()
    table = syncing.table()
    table.description, table.labels = "of the analysts", {"team": "data"}
    table.schema = [
        bigquery.SchemaField(field.name, field.field_type, field.mode, description=f"the {field.name}")
        for field in table.schema
    ]
    table = syncing.client.update_table(table, ["description", "labels", "schema"])
    syncing.run(postgresql_query=query, **TRUNCATE).succeeded()
    again = syncing.table()
    assert (again.description, again.labels) == ("of the analysts", {"team": "data"})
    assert [(field.name, field.field_type, field.description) for field in again.schema] == [
        (field.name, field.field_type, field.description) for field in table.schema
    ]


@pytest.mark.parametrize("query", [DIRECT, STAGED])
def test_no_rows_append_nothing(syncing: Syncing, query: str) -> None:
    syncing.run(postgresql_query=query).succeeded()
    modified = syncing.table().modified
    run = syncing.run(postgresql_query=f"{query} WHERE false").succeeded()
    assert run.report["outcome"] == f"nothing new: {syncing.table_id()} is as it was"
    assert syncing.table().modified == modified
    assert syncing.column(IDS) == [1, 2, 3]


@pytest.mark.parametrize("disposition", ["WRITE_APPEND", "WRITE_TRUNCATE"])
@pytest.mark.parametrize("query", [DIRECT, STAGED])
def test_no_rows_create_a_missing_table(syncing: Syncing, query: str, disposition: str) -> None:
    run = syncing.run(postgresql_query=f"{query} WHERE false", write_disposition=disposition).succeeded()
    assert run.report["outcome"] == f"the source returned no rows: {syncing.table_id()} was created empty"
    assert [field.name for field in syncing.table().schema][:2] == ["id", "name"]
    assert syncing.column(IDS) == []


@pytest.mark.parametrize("query", [DIRECT, STAGED])
def test_no_rows_with_write_truncate_empty_the_table_and_say_so(syncing: Syncing, query: str) -> None:
    syncing.run(postgresql_query=query).succeeded()
    run = syncing.run(postgresql_query=f"{query} WHERE false", **TRUNCATE).succeeded()
    assert run.report["outcome"] == f"the source returned no rows: {syncing.table_id()} is now empty"
    assert syncing.column(IDS) == []
    assert len(syncing.table().schema) >= 2


def test_create_never_needs_the_table(syncing: Syncing) -> None:
    run = syncing.run(create_disposition="CREATE_NEVER")
    run.refused(f"{syncing.table_id()} does not exist", "CREATE_NEVER", "CREATE_IF_NEEDED")
    assert syncing.tables() == []
    syncing.query("CREATE TABLE items (id INT64, name STRING)")
    assert syncing.run(create_disposition="CREATE_NEVER").succeeded().rows_loaded == 3


def test_a_missing_dataset_is_named(syncing: Syncing) -> None:
    run = syncing.run(destination_bigquery_dataset="no_such_dataset")
    run.refused("no_such_dataset", "destination_bigquery_dataset")
    assert syncing.objects() == []


def test_a_view_is_no_destination(syncing: Syncing) -> None:
    syncing.query("CREATE VIEW items AS SELECT 1 AS id, 'a' AS name")
    syncing.run().refused(f"{syncing.table_id()} is a view, which cannot be loaded")


@pytest.mark.parametrize("query", [DIRECT, STAGED])
def test_delete_existing_table_replaces_schema_and_rows(syncing: Syncing, query: str) -> None:
    syncing.query("CREATE TABLE items (id STRING NOT NULL, other JSON) CLUSTER BY id")
    syncing.query("INSERT INTO items VALUES ('x', JSON '1')")
    run = syncing.run(postgresql_query=query, delete_existing_table="true").succeeded()
    assert (run.rows_loaded, run.rows_read) == (3, 3)
    table = syncing.table()
    assert [field.name for field in table.schema][:2] == ["id", "name"]
    assert (table.schema[0].field_type, table.schema[0].mode) == ("INTEGER", "NULLABLE")
    assert table.clustering_fields is None
    assert syncing.column(IDS) == [1, 2, 3]
    assert syncing.left_over() == []


def test_delete_existing_table_without_rows_leaves_an_empty_one(syncing: Syncing) -> None:
    syncing.query("CREATE TABLE items (other STRING)")
    syncing.query("INSERT INTO items VALUES ('x')")
    query = "SELECT id, name FROM items WHERE false"
    syncing.run(postgresql_query=query, delete_existing_table="true").succeeded()
    assert [field.name for field in syncing.table().schema] == ["id", "name"]
    assert syncing.column(IDS) == []


# Runs that fail after the plan was made: the query, and what the message names.
FAILURES = [
    pytest.param("SELECT id, 1 / (id - 3) AS other FROM items", "SQLSTATE 22012", id="read fails"),
    pytest.param("SELECT id, 'NaN'::numeric AS other FROM items", "column 'other'", id="rejected"),
    pytest.param("SELECT id, '[1, nope'::text AS other FROM items", "JSON", id="publish fails"),
]
AS_JSON = '{"type_overrides": {"other": "JSON"}}'


def failing(query: str) -> dict[str, str]:
    return {"postgresql_query": query, **({"transformation_config": AS_JSON} if "nope" in query else {})}


@pytest.mark.parametrize(("query", "reason"), FAILURES)
def test_a_run_that_fails_to_replace_keeps_the_old_table(syncing: Syncing, query: str, reason: str) -> None:
    syncing.query("CREATE TABLE items (id INT64, old STRING)")
    syncing.query("INSERT INTO items VALUES (7, 'x')")
    for parameters in (
        {"delete_existing_table": "true"},
        {**TRUNCATE, "schema_evolution": "add", "delete_existing_table": "true"},
    ):
        run = syncing.run(**failing(query), **parameters)
        assert run.exit_code in (1, 2)
        assert run.errors
    assert syncing.query("SELECT * FROM items") == [(7, "x")]
    assert syncing.left_over() == []


@pytest.mark.parametrize("disposition", ["WRITE_APPEND", "WRITE_TRUNCATE"])
@pytest.mark.parametrize(("query", "reason"), FAILURES)
def test_a_run_that_fails_changes_no_row_and_leaves_nothing(
    syncing: Syncing, query: str, reason: str, disposition: str
) -> None:
    # The same columns as the query's, so that the run gets as far as it can.
    good = query.replace("1 / (id - 3)", "id").replace("NaN", "1").replace("[1, nope", "[1]")
    syncing.run(**(failing(query) | {"postgresql_query": good})).succeeded()
    assert syncing.column(IDS) == [1, 2, 3]
    run = syncing.run(**failing(query), write_disposition=disposition)
    assert run.exit_code in (1, 2)
    assert reason in "\n".join(run.errors)
    assert syncing.column(IDS) == [1, 2, 3]
    assert syncing.left_over() == []


@pytest.mark.parametrize(("query", "reason"), FAILURES[:2])
def test_a_run_that_fails_to_read_creates_nothing(syncing: Syncing, query: str, reason: str) -> None:
    run = syncing.run(**failing(query))
    assert run.exit_code in (1, 2)
    assert reason in "\n".join(run.errors)
    assert (syncing.tables(), syncing.objects()) == ([], [])


def test_a_run_that_succeeds_leaves_nothing(syncing: Syncing, monkeypatch: pytest.MonkeyPatch) -> None:
    staged: list[str] = []
    load = bigquery.Client.load_table_from_uri

    def look(self: bigquery.Client, uris: list[str], *arguments: Any, **options: Any) -> Any:
        staged.extend(syncing.left_over())
        return load(self, uris, *arguments, **options)

    monkeypatch.setattr(bigquery.Client, "load_table_from_uri", look)
    syncing.run(postgresql_query=STAGED.values[0]).succeeded()
    # There was something to remove: a staging table and a file.
    assert [name.startswith("_staging_") for name in staged] == [True, False]
    assert syncing.left_over() == []


def one_less(count: Callable[[Any], int]) -> property:
    return property(lambda job: (count(job) or 1) - 1)


@pytest.mark.parametrize(
    ("query", "parameters", "job", "counter", "message"),
    [
        pytest.param(DIRECT.values[0], {}, LoadJob, "output_rows", "compare the table with the source", id="direct"),
        pytest.param(DIRECT.values[0], TRUNCATE, LoadJob, "output_rows", "compare the table", id="truncate direct"),
        pytest.param(STAGED.values[0], {}, LoadJob, "output_rows", "nothing was published", id="staging"),
        pytest.param(STAGED.values[0], {}, QueryJob, "num_dml_affected_rows", "compare the table", id="insert"),
        pytest.param(
            STAGED.values[0], TRUNCATE, QueryJob, "num_dml_affected_rows", "compare the table", id="truncate staged"
        ),
        pytest.param(
            DIRECT.values[0],
            {"delete_existing_table": "true"},
            None,
            "",
            "compare the table",
            id="replace",
        ),
    ],
)
def test_a_run_whose_rows_do_not_all_arrive_fails(
    syncing: Syncing,
    monkeypatch: pytest.MonkeyPatch,
    query: str,
    parameters: dict[str, str],
    job: type | None,
    counter: str,
    message: str,
) -> None:
    syncing.run(postgresql_query=query).succeeded()
    if job is None:
        monkeypatch.setattr("sync_pipeline.publishing.replace.rows_in_table", lambda *_: 2)
    else:
        monkeypatch.setattr(job, counter, one_less(getattr(job, counter).fget))
    run = syncing.run(postgresql_query=query, **parameters)
    run.refused("2 rows", "3 were staged", message, exit_code=1)
    assert syncing.left_over() == []


def test_many_rows_in_many_chunks_and_files(syncing: Syncing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sync_pipeline.sources.postgresql.copy_read.CHUNK_BYTES", 100_000)
    monkeypatch.setattr("sync_pipeline.publishing.parquet_file.ROW_GROUP_BYTES", 100_000)
    monkeypatch.setattr("sync_pipeline.publishing.staging.FILE_BYTES", 200_000)
    query = "SELECT n AS id, md5(n::text) AS name FROM generate_series(1, 60000) n"
    run = syncing.run(postgresql_query=query, batch_size="777").succeeded()
    assert run.rows_loaded == 60_000
    assert len([line for line in run.log if line.startswith("staged ")]) > 3
    assert syncing.query("SELECT COUNT(*), COUNT(DISTINCT name), SUM(id) FROM items") == [
        (60_000, 60_000, 60_000 * 60_001 // 2)
    ]
    assert syncing.left_over() == []


def test_a_large_file_that_was_begun_is_taken_back(syncing: Syncing, monkeypatch: pytest.MonkeyPatch) -> None:
    # So large that its upload has begun when the read fails.
    monkeypatch.setattr("sync_pipeline.publishing.parquet_file.ROW_GROUP_BYTES", 4_000_000)
    query = (
        "SELECT n AS id, md5(n::text) || md5((-n)::text) || md5((n / 7.0)::text) AS name, 1 / (n - 250000) AS other "
        "FROM generate_series(1, 250000) n"
    )
    syncing.run(postgresql_query=query).refused("SQLSTATE 22012")
    assert syncing.left_over() == []


def test_more_files_than_one_job_takes_go_by_way_of_a_staging_table(
    syncing: Syncing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sync_pipeline.publishing.staging.FILE_BYTES", 1)
    monkeypatch.setattr("sync_pipeline.publishing.parquet_file.ROW_GROUP_BYTES", 1)
    monkeypatch.setattr("sync_pipeline.publishing.choose_strategy.MAX_FILES_PER_JOB", 2)
    monkeypatch.setattr("sync_pipeline.publishing.jobs.MAX_FILES_PER_JOB", 2)
    for _ in range(2):
        assert syncing.run(batch_size="1", **TRUNCATE).succeeded().rows_loaded == 3
    assert syncing.column(IDS) == [1, 2, 3]
    assert syncing.left_over() == []


def test_a_folder_of_somebody_else_is_left_alone(syncing: Syncing) -> None:
    others = [f"{syncing.folder}/mine.txt", f"{syncing.folder}/sync/start=none,run=x/mine.txt"]
    for path in others:
        with FileSystems.create(path) as handle:
            handle.write(b"x")
    syncing.run().succeeded()
    assert sorted(syncing.objects()) == sorted(others)


# A column of each type: its declaration and its values; where the driver reads another value, what it is asked for.
COLUMNS: dict[str, tuple[str, list[str | None], str]] = {
    "a_bool": ("boolean", ["true", "false", None], "{c}"),
    "a_smallint": ("smallint", ["-32768", "32767", None], "{c}"),
    "an_int": ("integer", ["-2147483648", "2147483647", "0"], "{c}"),
    "a_bigint": ("bigint", ["-9223372036854775808", "9223372036854775807", None], "{c}"),
    "a_real": ("real", ["0.1", "-1.25e30", None], "{c}::float8"),
    "a_double": ("double precision", ["0.1", "-1.7976931348623157e308", None], "{c}"),
    "a_numeric": ("numeric(38,9)", ["99999999999999999999999999999.999999999", "-0.000000001", None], "{c}"),
    "a_free_numeric": ("numeric", ["12345678901234567890.12345678", "-1", "0"], "{c}"),
    "a_huge_numeric": ("numeric(90,45)", ["1.000000000000000000000000000000000000000000005", "-1", None], "{c}::text"),
    "a_text": ("text", ["", 'a "b", \\ \n\té🎉', None], "{c}"),
    "a_char": ("char(5)", ["abc", "", None], "{c}"),
    "a_uuid": ("uuid", ["a81bc81b-dead-4e5d-abff-90865d1e13b1", None, None], "{c}::text"),
    "an_interval": ("interval", ["1 year 2 days", "-00:00:01.5", None], "{c}::text"),
    "an_address": ("inet", ["10.0.0.1/8", "::1", None], "{c}"),
    "some_bytes": ("bytea", ["\\x00ff10", "\\x", None], "{c}"),
    "a_date": ("date", ["0001-01-01", "9999-12-31", None], "{c}"),
    "a_time": ("time", ["00:00:00", "23:59:59.999999", None], "{c}"),
    "a_timestamp": ("timestamp", ["0001-01-01 00:00:00", "9999-12-31 23:59:59.999999", None], "{c}"),
    "a_timestamptz": ("timestamptz", ["1970-01-01 00:00:00.000001+00", "2024-07-01 12:00:00-04", None], "{c}"),
    "a_json": ("json", ['{"b": [1, 2.5, null], "a": "x"}', "null", None], "{c}"),
    "a_jsonb": ("jsonb", ['{"b": {"c": "é"}}', '["a", 1]', "false"], "{c}"),
    # BigQuery has no NULL arrays: they are empty.
    "numbers": ("int[]", ["{1,2,3}", "{}", None], "coalesce({c}, '{{}}')"),
    "texts": ("text[]", ['{"a,b","",x}', '{"\\"q\\""}', "{}"], "{c}"),
    "moments": ("timestamptz[]", ['{"2024-01-01Z","2024-01-01 00:00:00.000001Z"}', "{}", "{}"], "{c}"),
}
JSON_COLUMNS = ("a_json", "a_jsonb")


@pytest.mark.parametrize("staged", [False, True], ids=["direct", "staged"])
def test_every_row_of_a_table_of_all_types_is_equal_to_its_source(syncing: Syncing, staged: bool) -> None:
    columns = {name: column for name, column in COLUMNS.items() if staged or name not in JSON_COLUMNS}
    declared = ", ".join(f"{name} {type_name}" for name, (type_name, *_) in columns.items())
    syncing.execute(f"SET intervalstyle = iso_8601; CREATE TABLE wide (id int PRIMARY KEY, {declared})")
    marks = ", ".join(f"%s::{type_name}" for type_name, *_ in columns.values())
    for number in range(3):
        values = [values[number] for _, values, _ in columns.values()]
        syncing.execute(f"INSERT INTO wide VALUES ({number}, {marks})", values)
    syncing.run(postgresql_query="SELECT * FROM wide").succeeded()
    for name, (_, _, selected) in columns.items():
        expected = syncing.execute(f"SELECT {selected.format(c=name)} FROM wide ORDER BY id")
        read = [(bytes(value) if isinstance(value, memoryview) else value,) for (value,) in expected]
        assert syncing.query(f"SELECT {name} FROM items ORDER BY id") == read, name
