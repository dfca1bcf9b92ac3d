"""Runs at the same time, and steps that are done twice: the destination is as after one of them."""

from __future__ import annotations

from typing import Any

import pytest
from google.cloud import bigquery

from sync_pipeline import command, pipeline
from sync_pipeline.planning.make_plan import make_plan
from sync_pipeline.planning.plan import TableSync
from tests.integration.syncing import Syncing, finished

IDS = "SELECT id FROM items ORDER BY id"
PLAIN = "SELECT id, updated_at FROM items"
WITH_JSON = "SELECT id, updated_at, to_jsonb(items) AS document FROM items"
MODES = [
    pytest.param({"postgresql_query": PLAIN}, id="one load job"),
    pytest.param({"postgresql_query": WITH_JSON}, id="staging table"),
    pytest.param({"postgresql_query": WITH_JSON, "primary_key": "id"}, id="merge"),
]


@pytest.fixture(autouse=True)
def items(syncing: Syncing) -> None:
    syncing.execute("CREATE TABLE items (id int PRIMARY KEY, updated_at timestamptz NOT NULL DEFAULT now())")
    syncing.execute("INSERT INTO items VALUES (1, '2024-01-01Z'), (2, '2024-01-02Z')")


@pytest.mark.parametrize("parameters", MODES)
def test_of_two_runs_from_the_same_timestamp_one_publishes(syncing: Syncing, parameters: dict[str, str]) -> None:
    first, second = syncing.plan(**parameters), syncing.plan(**parameters)
    files = [syncing.stage(first), syncing.stage(second)]
    assert syncing.publish(first, files[0]).rows_loaded == 2
    report = syncing.publish(second, files[1])
    assert report.rows_loaded == 0
    assert report.outcome == (
        f"skipped: run {first.run_id.lower()} already loaded this interval into {syncing.table_id()}; newer rows come "
        "with the next run"
    )
    assert syncing.column(IDS) == [1, 2]
    assert syncing.left_over() == []


def test_what_only_the_losing_run_saw_comes_with_the_next(syncing: Syncing) -> None:
    first = syncing.plan()
    syncing.execute("INSERT INTO items VALUES (3, '2024-01-03Z')")
    second = syncing.plan()
    syncing.publish(first, syncing.stage(first)[:1])
    # The file of the first was read after the third row came; its interval ends before, but the stamp is old.
    syncing.query("DELETE FROM items WHERE id = 3")
    syncing.publish(second)
    assert syncing.column(IDS) == [1, 2]
    assert syncing.smart().succeeded().rows_loaded == 1
    assert syncing.column(IDS) == [1, 2, 3]


@pytest.mark.parametrize("parameters", MODES)
def test_a_run_that_was_overtaken_says_so_in_one_line_and_ends_well(
    syncing: Syncing, monkeypatch: pytest.MonkeyPatch, parameters: dict[str, str]
) -> None:
    def overtaken(*arguments: Any) -> TableSync:
        plan = make_plan(*arguments)
        syncing.publish(syncing.plan(**parameters))
        return plan

    monkeypatch.setattr(pipeline, "make_plan", overtaken)
    run = syncing.smart(**parameters).succeeded()
    assert [line for line in run.log if "already loaded this interval" in line] == [
        line for line in run.log if line.startswith("sync report:")
    ]
    assert (run.rows_read, run.rows_loaded) == (2, 0)
    assert syncing.column(IDS) == [1, 2]
    assert syncing.left_over() == []


@pytest.mark.parametrize("parameters", MODES)
def test_a_repeated_publish_changes_nothing(syncing: Syncing, parameters: dict[str, str]) -> None:
    plan = syncing.plan(**parameters)
    files = syncing.stage(plan)
    reports = [syncing.publish(plan, files) for _ in range(3)]
    assert [report.rows_loaded for report in reports] == [2, 2, 2]
    assert {report.outcome for report in reports} == {reports[0].outcome}
    assert syncing.column(IDS) == [1, 2]
    assert syncing.left_over() == []


@pytest.mark.parametrize("disposition", ["WRITE_APPEND", "WRITE_TRUNCATE"])
@pytest.mark.parametrize("query", [PLAIN, WITH_JSON], ids=["one load job", "staging table"])
def test_a_repeated_publish_without_smart_sync_changes_nothing(syncing: Syncing, query: str, disposition: str) -> None:
    plan = syncing.plan(enable_smart_sync="false", postgresql_query=query, write_disposition=disposition)
    files = syncing.stage(plan)
    for _ in range(2):
        assert syncing.publish(plan, files).rows_loaded == 2
    assert syncing.column(IDS) == [1, 2]


@pytest.mark.parametrize("parameters", MODES)
def test_a_publish_that_was_cut_off_goes_on_where_it_was(
    syncing: Syncing, monkeypatch: pytest.MonkeyPatch, parameters: dict[str, str]
) -> None:
    plan = syncing.plan(**parameters)
    files = syncing.stage(plan)

    class CutOff(BaseException):
        pass

    def cut_off(*_: Any) -> None:
        raise CutOff

    # The worker goes away when the job that publishes has been begun.
    with monkeypatch.context() as patch:
        patch.setattr("sync_pipeline.publishing.publish.clean_up", lambda *_, **__: None)
        patch.setattr("sync_pipeline.publishing.publish.report_of", cut_off)
        with pytest.raises(CutOff):
            syncing.publish(plan, files)
    assert syncing.objects() != []
    assert syncing.publish(plan, files).rows_loaded == 2
    assert syncing.column(IDS) == [1, 2]
    assert syncing.left_over() == []


@pytest.mark.parametrize("statement", ["TRUNCATE TABLE items", "DELETE FROM items WHERE TRUE", "DROP TABLE items"])
@pytest.mark.parametrize("parameters", [MODES[0], MODES[2]])
def test_a_table_that_was_emptied_by_hand_is_loaded_again_and_again(
    syncing: Syncing, statement: str, parameters: dict[str, str]
) -> None:
    for _ in range(3):
        assert syncing.smart(**parameters).succeeded().rows_loaded == 2
        assert syncing.column(IDS) == [1, 2]
        syncing.query(statement)


def test_rows_that_were_deleted_by_hand_come_again(syncing: Syncing) -> None:
    syncing.smart().succeeded()
    syncing.execute("INSERT INTO items VALUES (3, '2024-01-03Z')")
    for _ in range(2):
        assert syncing.smart().succeeded().rows_loaded == 1
        syncing.query("DELETE FROM items WHERE id = 3")


def test_a_run_after_one_that_failed_to_publish_is_not_blocked(syncing: Syncing) -> None:
    overrides = '{"type_overrides": {"document": "JSON"}}'
    query = "SELECT id, updated_at, {} AS document FROM items"
    for _ in range(3):
        run = syncing.smart(postgresql_query=query.format("'{no json'::text"), transformation_config=overrides)
        run.refused("JSON")
    good = syncing.smart(postgresql_query=query.format("'{\"a\": 1}'::text"), transformation_config=overrides)
    assert good.succeeded().rows_loaded == 2


def test_a_job_that_fails_for_the_moment_is_tried_again(syncing: Syncing, monkeypatch: pytest.MonkeyPatch) -> None:
    load, failures = bigquery.Client.load_table_from_uri, iter([True, True])

    def fail_twice(client: bigquery.Client, *arguments: Any, job_id: str, **options: Any) -> Any:
        if next(failures, False):
            # The job itself fails; the emulator cannot be asked to.
            job = client.query("SELECT 1", job_id=f"{job_id}-failing", job_retry=None)
            job._properties["status"] = {"state": "DONE", "errorResult": {"reason": "backendError", "message": "x"}}
            return job
        return load(client, *arguments, job_id=job_id, **options)

    monkeypatch.setattr(bigquery.Client, "load_table_from_uri", fail_twice)
    monkeypatch.setattr("sync_pipeline.bigquery_api.jobs.time.sleep", lambda _: None)
    run = syncing.smart(max_retries="2")
    assert run.exit_code == 0, run.everything
    assert len([line for line in run.log if "failed by a transient failure; trying again" in line]) == 2


def test_two_processes_at_the_same_moment(syncing: Syncing) -> None:
    parameters = {"enable_smart_sync": "true", "postgresql_query": WITH_JSON}
    processes = [syncing.begin_process(**parameters) for _ in range(2)]
    runs = [finished(process).succeeded() for process in processes]
    # One is too late to publish, or came so late that there was nothing new any more.
    assert sorted(run.rows_loaded for run in runs) == [0, 2]
    assert syncing.column(IDS) == [1, 2]
    assert syncing.left_over() == []


def test_a_run_that_was_killed_leaves_nothing_when_the_next_has_published(
    syncing: Syncing, bigquery_client: bigquery.Client
) -> None:
    killed = syncing.plan(postgresql_query=WITH_JSON)
    syncing.stage(killed)
    bigquery_client.create_table(bigquery.Table(killed.staging_table_id, schema=killed.schema.staged))
    assert len(syncing.left_over()) == 2
    syncing.smart(postgresql_query=WITH_JSON).succeeded()
    assert syncing.left_over() == []


def test_rows_are_published_by_jobs_of_the_destinations_project(
    syncing: Syncing, bigquery_client: bigquery.Client
) -> None:
    """A job's id is taken within a project: runs that are launched from two projects must meet in one."""
    plan = syncing.plan()
    assert command.main([*syncing.argv(enable_smart_sync="true"), "--project=another-project"]) == 0
    job = bigquery_client.get_job(f"{plan.publish_id}-r0", location="US")
    assert job.project == syncing.endpoints.project
    assert syncing.publish(plan).rows_loaded == 0
    assert syncing.column(IDS) == [1, 2]
