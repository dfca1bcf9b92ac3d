"""The publishing step of several tables: what it does with their outcomes. Its work on each is in tests/integration."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from typing import Any

import pytest
from apache_beam.pvalue import TaggedOutput
from google.cloud import bigquery

from sync_pipeline.bigquery_api import threads
from sync_pipeline.errors import ConfigError, PublishError, PublishUnavailableError, SchemaError, SyncError
from sync_pipeline.output.cloud_log import CloudLog
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.planning.run_plan import FailedTable, RunPlan
from sync_pipeline.publishing import publish
from sync_pipeline.publishing.publish import _PublishFilesFn
from sync_pipeline.publishing.report import SyncReport
from tests.plans import plan, run_plan

RUN = run_plan(*(plan({"destination_bigquery_table": f"t{number}"}) for number in range(40)))
NAME = RUN.tables[0].table_id.removesuffix("t0")


def outcome(
    monkeypatch: pytest.MonkeyPatch, errors: dict[str, Exception], running: RunPlan = RUN
) -> tuple[list[Any], Exception | None]:
    """Return what the step emits and raises when publishing fails by `errors`, by the tables' names."""

    def publish_table(client: bigquery.Client, table: TableSync, elements: Any) -> SyncReport:
        name = table.config.destination.table
        if name in errors:
            raise errors[name]
        return SyncReport(table.run_id, table.table_id, "all", 2, 2, 0, 10, 1.0, None, "loaded")

    monkeypatch.setattr(threads, "open_client", lambda project: object())
    monkeypatch.setattr(publish, "_publish_table", publish_table)
    outputs: list[Any] = []
    try:
        outputs.extend(_PublishFilesFn(running).process(None, []))
    except Exception as error:  # noqa: BLE001 - the tests look at it
        return outputs, error
    return outputs, None


def emitted_error(outputs: list[Any]) -> SyncError:
    (error,) = [output.value.error for output in outputs if isinstance(output, TaggedOutput)]
    assert isinstance(error, SyncError)
    return error


def test_final_errors_are_counted_and_each_has_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the tables; they are emitted, so that a runner does not repeat what was published."""
    errors: dict[str, Exception] = {"t7": PublishError("refused"), "t3": ConfigError(["one", "two"])}
    running = replace(RUN, failed=(FailedTable("public.views", SchemaError("no columns")),))
    outputs, raised = outcome(monkeypatch, errors, running)
    assert raised is None
    assert sum(isinstance(output, SyncReport) for output in outputs) == 38
    error = emitted_error(outputs)
    assert type(error) is SchemaError
    assert str(error).split("\n") == [
        "3 of 41 tables failed",
        "public.views: no columns",
        f"{NAME}t3: one; two",
        f"{NAME}t7: refused",
    ]


def test_a_transient_error_is_raised_when_the_others_are_published(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    errors: dict[str, Exception] = {"t0": PublishError("refused"), "t1": PublishUnavailableError("gone")}
    _, raised = outcome(monkeypatch, errors)
    assert type(raised) is PublishUnavailableError
    assert str(raised).split("\n") == ["2 of 40 tables failed", f"{NAME}t0: refused", f"{NAME}t1: gone"]
    lines = [record.getMessage() for record in caplog.records]
    assert sum(line.startswith("sync report: ") for line in lines) == 38
    failed = [line.split(": run_id=")[0] for line in lines if line.startswith("sync failed: ")]
    assert sorted(failed) == ["sync failed: gone", "sync failed: refused"]
    told = [record.__dict__["sync"] for record in caplog.records if record.levelno == logging.ERROR]
    assert sorted((one["table"], one["error"], one["is_transient"]) for one in told) == [
        (f"{NAME}t0", "PublishError", False),
        (f"{NAME}t1", "PublishUnavailableError", True),
    ]
    assert lines[-1].startswith("sync total: 40 tables: 38 published, 0 unchanged, 2 failed: ")
    assert {record.threadName for record in caplog.records} == {threading.current_thread().name}


def test_what_is_no_error_of_ours_is_raised_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    bug = ValueError("a bug")
    _, raised = outcome(monkeypatch, {"t0": PublishError("refused"), "t1": bug})
    assert raised is bug


def test_a_table_that_could_not_be_planned_fails_the_run_even_if_it_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The step is not repeated for it: planning is over."""
    failed = (FailedTable("public.views", PublishUnavailableError("gone")),)
    outputs, raised = outcome(monkeypatch, {}, replace(run_plan(RUN.tables[0]), failed=failed))
    assert raised is None
    assert str(emitted_error(outputs)) == "1 of 2 tables failed\npublic.views: gone"


def test_one_table_raises_its_own_error(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    error = PublishError("refused")
    outputs, raised = outcome(monkeypatch, {"t0": error}, run_plan(RUN.tables[0]))
    assert (outputs, raised) == ([], error)
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith("sync failed: refused: run_id=")


def test_the_reports_go_to_the_log_of_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those of an attempt that fails."""
    written: list[list[str]] = []
    monkeypatch.setattr(
        CloudLog, "_write", lambda _, entries: written.append([e["jsonPayload"]["sync"]["status"] for e in entries])
    )
    monkeypatch.setattr(threads, "open_client", lambda project: object())

    def refuse(*_: object) -> SyncReport:
        raise PublishError("refused")

    monkeypatch.setattr(publish, "_publish_table", refuse)
    step = _PublishFilesFn(run_plan(RUN.tables[0]), cloud_log=CloudLog("p", "r", "job"))
    with pytest.raises(PublishError):
        list(step.process(None, []))
    assert written == [["failed"]]
