"""What a person sees of a run: the plan, the report, the counters, the errors, and never a password."""

from __future__ import annotations

import re
import socket

import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineResult

from sync_pipeline import pipeline
from sync_pipeline.parameters.run_config import RunConfig
from tests.integration.syncing import Syncing, finished

RUN_ID = r"\d{8}T\d{6}_[0-9a-f]{8}"
MOMENT = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}\+00"
SMART = {"enable_smart_sync": "true", "enable_auto_schema": "true", "source_table_for_schema": "items"}


@pytest.fixture(autouse=True)
def items(syncing: Syncing) -> None:
    syncing.execute("CREATE TABLE items (id int PRIMARY KEY, name text, updated_at timestamptz NOT NULL)")
    syncing.execute("INSERT INTO items VALUES (1, 'a', '2024-01-01Z'), (2, 'b', '2024-01-02Z'); ANALYZE items")


@pytest.fixture
def closed_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def test_a_dry_run_prints_the_plan(syncing: Syncing) -> None:
    run = syncing.run(**SMART, primary_key="id", dry_run="true")
    assert (run.exit_code, run.errors, run.report) == (0, (), {})
    pattern = rf"""Merge about 2 rows \(\d+ bytes\) from PostgreSQL into the new table {syncing.table_id()} by id\.
Time: about 4 s here, at 60 MiB/s as .* Cost in BigQuery: none, loads are free\.
Risks
    - postgresql_password was given in plain text .*
Sync
    postgresql to {syncing.table_id()} in US \(run {RUN_ID}\)
    connection: not encrypted
Interval
    updated_at in \(1900-01-01 00:00:00\.000000\+00, {MOMENT}\]
    start: the destination is empty and sync_all_on_empty_table=true; includes older rows
Query
    SELECT \* FROM \(
    SELECT \* FROM items
    \) AS q
    WHERE q\."updated_at" >= '0001-01-01 00:00:00\.000000\+00' AND q\."updated_at" <= '{MOMENT}'
Rows
    about 2, as the source estimates
Reading
    1 read split \(one is enough for about 2 rows, 0 MiB\), at most 1,000 rows per batch between steps
Columns
    id integer +->  id INT64 NOT NULL
    name text +->  name STRING
    updated_at timestamp with time zone +->  updated_at TIMESTAMP NOT NULL
Table
    CREATE TABLE `{syncing.table_id()}` \(
      `id` INT64 NOT NULL,
      `name` STRING,
      `updated_at` TIMESTAMP NOT NULL,
      PRIMARY KEY \(`id`\) NOT ENFORCED
    \)
    PARTITION BY TIMESTAMP_TRUNC\(`updated_at`, DAY\)
    CLUSTER BY `id`
Publishing
    merge by id: one load job
Notes
    - clustered by the primary key \(id\), which makes merges faster
"""
    assert re.fullmatch(pattern, run.printed), run.printed


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param({}, id="new table"),
        pytest.param({"primary_key": "id"}, id="merge"),
        pytest.param({"delete_existing_table": "true", "destination_bigquery_table": "there"}, id="replace"),
        pytest.param(
            {"schema_evolution": "add", "destination_bigquery_table": "there", "enable_smart_sync": "false"}, id="alter"
        ),
        pytest.param(
            {
                "write_disposition": "WRITE_TRUNCATE",
                "enable_smart_sync": "false",
                "postgresql_query": "SELECT 1 AS id",
                "destination_bigquery_table": "there",
            },
            id="truncate",
        ),
        pytest.param({"postgresql_query": "SELECT *, 1 / (id - 1) AS v FROM items"}, id="a query that will fail"),
    ],
)
def test_a_dry_run_writes_nothing(syncing: Syncing, parameters: dict[str, str]) -> None:
    syncing.query("CREATE TABLE there AS SELECT 7 AS id")
    jobs, modified = syncing.jobs(), syncing.table("there").modified
    letters = {"dead_letter_table": syncing.table_id("letters")}
    run = syncing.run(**(SMART | parameters), **letters, dry_run="true")
    assert (run.exit_code, run.errors) == (0, ())
    assert "\nSync\n" in run.printed
    assert (syncing.tables(), syncing.objects(), syncing.jobs()) == (["there"], [], jobs)
    assert syncing.table("there").modified == modified
    assert syncing.query("SELECT * FROM there") == [(7,)]


def test_a_dry_run_finds_what_a_run_would_find(syncing: Syncing) -> None:
    syncing.run(postgresql_query="SELECT nothing FROM items", dry_run="true").refused("nothing")
    syncing.query("CREATE TABLE items (id BYTES)")
    syncing.run(dry_run="true").refused("column id is INT64")


def test_the_plan_and_the_report_in_the_log(syncing: Syncing) -> None:
    run = syncing.run(**SMART).succeeded()
    run_id = run.report["run_id"]
    assert re.fullmatch(RUN_ID, run_id)
    table = syncing.table_id()
    lines = [line for line in run.log if line.startswith(("plan:", "sync report:"))]
    expected = [
        rf"plan: Append about 2 rows \(\d+ bytes\) from PostgreSQL to the new table {re.escape(table)}\.",
        "plan: Time: about 4 s here, .* Cost in BigQuery: none, loads are free\\.",
        f"plan: run {run_id}: postgresql to {re.escape(table)}, append: one load job",
        (
            r"plan: 3 columns, 1 read split \(one is enough for about 2 rows, 0 MiB\), "
            r"rows: about 2, as the source estimates"
        ),
        "plan: connection: not encrypted",
        rf"plan: interval \(1900-01-01 00:00:00\.000000\+00, {MOMENT}\]: the destination is empty and .*",
        r"plan: the table will be created, partitioned by updated_at \(DAY\)",
        r"plan: note: the source's primary key \(id\) is not declared: .*",
        "plan: risk: postgresql_password was given in plain text .*",
        (
            rf"sync report: loaded 2 rows into {re.escape(table)}: run_id={run_id} table={re.escape(table)} "
            rf"interval=\(\S+,\S+\] rows_read=2 rows_loaded=2 dead_letters=0 bytes_staged=\d+ seconds=\d+\.\d "
            r"lag_seconds=\d+\.\d"
        ),
    ]
    assert len(lines) == len(expected), lines
    for line, pattern in zip(lines, expected, strict=True):
        assert re.fullmatch(pattern, line), line
    # One line each, so that a search of logs finds them.
    assert all("\n" not in line for line in run.log)


def counters(result: PipelineResult) -> dict[str, int]:
    found = result.metrics().query()
    values = {
        f"{counter.key.metric.namespace.rpartition('.')[2]}/{counter.key.metric.name}": counter.committed
        for counter in found["counters"]
    }
    lag = [one for one in found["distributions"] if one.key.metric.name == "interval_lag_seconds"]
    return values | {"lags": len(lag)}


def test_the_counters(syncing: Syncing) -> None:
    syncing.execute("INSERT INTO items SELECT n, 'x', '2024-01-03Z' FROM generate_series(3, 50) n")
    query = "SELECT *, CASE WHEN id % 10 = 0 THEN 'NaN'::numeric ELSE 1 END AS v FROM items"
    parameters = syncing.parameters(
        **SMART, postgresql_query=query, dead_letter_table=syncing.table_id("letters"), smart_sync_settle_seconds="0"
    )
    result = pipeline.run(RunConfig.from_parameters(parameters), PipelineOptions(temp_location=syncing.folder))
    assert result is not None
    found = counters(result)
    assert found.pop("WriteStagedFiles/bytes_staged") > 1000
    assert found == {
        "ReadFromPostgresql/rows_read": 50,
        "ReadFromPostgresql/dead_letters": 5,
        "WriteStagedFiles/rows_staged": 45,
        "WriteStagedFiles/dead_letters_staged": 5,
        "PublishStagedFiles/rows_loaded": 45,
        "lags": 1,
    }


def test_no_output_holds_the_password(syncing: Syncing, closed_port: str) -> None:
    password = syncing.endpoints.postgresql_password
    assert len(password) > 8
    said = [
        syncing.run(**(SMART | parameters)).everything
        for parameters in (
            {},
            {"dry_run": "true"},
            {"postgresql_query": "SELECT nothing"},
            {"postgresql_query": f"SELECT '{password}'::int AS v"},
            {"postgresql_query": "SELECT 'NaN'::numeric AS v, now() AS updated_at"},
            {"postgresql_port": closed_port},
            {"postgresql_username": "nobody_we_know"},
            {"postgresql_database": "no_such_database"},
            {"destination_bigquery_dataset": "no_such_dataset"},
            {"batch_size": "many"},
            {"postgresql_pasword": password},
            {"postgresql_sslmode": "require"},
        )
    ]
    assert all(said)
    for output in said:
        assert password not in output


@pytest.mark.parametrize(
    ("parameters", "exit_code", "words"),
    [
        pytest.param({"batch_size": "0"}, 2, "batch_size is '0'", id="parameter"),
        pytest.param({"postgresql_pasword": "x"}, 2, "did you mean --postgresql_password?", id="misspelt parameter"),
        pytest.param(
            {"postgresql_password": "wrong"}, 2, "check postgresql_username and postgresql_password", id="password"
        ),
        pytest.param({"postgresql_query": "SELECT 1 +"}, 2, "SQLSTATE 42601", id="query"),
        pytest.param({"postgresql_query": "SELECT 'NaN'::numeric AS v"}, 2, "column 'v'", id="value"),
        pytest.param({"partition_field": "name", "enable_auto_schema": "true"}, 2, "partition_field", id="layout"),
        pytest.param({"postgresql_host": "name.invalid"}, 2, "check postgresql_host", id="unknown host"),
    ],
)
def test_exit_codes_of_what_has_to_be_changed(
    syncing: Syncing, parameters: dict[str, str], exit_code: int, words: str
) -> None:
    syncing.run(**parameters).refused(words, exit_code=exit_code)


def test_a_database_that_cannot_be_reached(syncing: Syncing, closed_port: str) -> None:
    run = syncing.run(postgresql_port=closed_port)
    run.refused("PostgreSQL", closed_port, exit_code=1)
    assert len(run.errors) == 1
    assert (syncing.tables(), syncing.objects()) == ([], [])


def test_it_is_tried_again_as_often_as_max_retries_says(
    syncing: Syncing, closed_port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("sync_pipeline.sources.access.time.sleep", waits.append)
    syncing.run(postgresql_port=closed_port, max_retries="3").refused(exit_code=1)
    assert waits == [1, 2, 4]


def test_all_mistakes_of_a_command_line_at_once(syncing: Syncing) -> None:
    run = syncing.run(batch_size="many", write_disposition="APPEND", postgresql_host=None, primary_key="a,,b")
    assert sorted(line.split(" ")[0] for line in run.errors) == [
        "batch_size",
        "postgresql_host",
        "primary_key",
        "write_disposition",
    ]
    assert run.exit_code == 2


def test_main_py_ends_with_the_code_and_without_a_traceback(syncing: Syncing) -> None:
    failing = finished(syncing.begin_process(postgresql_query="SELECT 'NaN'::numeric AS v"))
    assert failing.refused("column 'v' (numeric to BIGNUMERIC)")
    assert "Traceback" not in failing.everything
    good = finished(syncing.begin_process()).succeeded()
    assert good.rows_loaded == 2
    assert good.printed == ""


def test_the_exit_code_tells_what_a_run_found(syncing: Syncing) -> None:
    query = "SELECT *, CASE WHEN name = 'odd' THEN 'NaN'::numeric ELSE 1 END AS v FROM items"
    parameters = {"primary_key": "id", "postgresql_query": query, "dead_letter_table": syncing.table_id("letters")}

    def exit_code(*flags: str) -> int:
        smart = {"enable_smart_sync": "true", "smart_sync_settle_seconds": "0"}
        return syncing.run("--detailed-exitcode", *flags, **parameters, **smart).exit_code

    assert exit_code("--dry_run=true") == 0
    assert [exit_code(), exit_code()] == [0, 4]
    syncing.execute("INSERT INTO items VALUES (3, 'odd', '2024-01-03Z'), (4, 'd', '2024-01-04Z')")
    assert exit_code() == 5
    assert syncing.smart(**parameters).exit_code == 0


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        pytest.param({"postgresql_query": "SELECT nothing"}, "SourceQueryError", id="while it is planned"),
        pytest.param({"postgresql_query": "SELECT 'NaN'::numeric AS v"}, "RecordError", id="while it is read"),
    ],
)
def test_a_run_that_fails_has_a_last_line(syncing: Syncing, parameters: dict[str, str], error: str) -> None:
    run = syncing.run(**parameters)
    [line] = [line for line in run.log if line.startswith("sync failed: ")]
    assert f" error={error}" in line
    assert line == run.log[-1]
    assert run.errors[0] in line
    assert [line for line in syncing.run(**parameters, dry_run="true").log if "sync failed" in line] == []
