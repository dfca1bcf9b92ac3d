from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sync_pipeline.errors import ConfigError, PublishUnavailableError
from sync_pipeline.planning.plan import Run
from sync_pipeline.publishing.failure_report import FailureReport


def test_a_run_that_was_not_planned() -> None:
    failure = FailureReport.of(ConfigError(["one", "two"]), None)
    assert str(failure) == "sync failed: one; two: error=ConfigError"
    assert failure.values["seconds"] is None


def test_a_table_that_another_attempt_may_publish() -> None:
    run = Run("r1", datetime.now(UTC) - timedelta(seconds=90), "p", "")
    failure = FailureReport.of(PublishUnavailableError("gone"), run, "p.d.t")
    line = "sync failed: gone: run_id=r1 table=p.d.t error=PublishUnavailableError is_transient=true seconds=90.0"
    assert str(failure) == line
    assert failure.values == {
        "status": "failed",
        "run_id": "r1",
        "table": "p.d.t",
        "error": "PublishUnavailableError",
        "is_transient": True,
        "seconds": 90.0,
        "reason": "gone",
    }


def test_the_text_of_another_error_is_not_shown() -> None:
    failure = FailureReport.of(ValueError("the value of a row"), None)
    assert str(failure) == "sync failed: unexpected error: error=ValueError"
    assert "row" not in str(failure.values)
