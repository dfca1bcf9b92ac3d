from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from google.api_core import exceptions

from sync_pipeline.bigquery_api.client import DESTINATION_MEANINGS
from sync_pipeline.bigquery_api.job_records import TRANSIENT_REASONS, belongs_to, is_transient, job_error, job_labels
from sync_pipeline.errors import PublishError, PublishUnavailableError


def failed(reason: str, message: str = "no", *errors: dict[str, str]) -> Any:
    result = {"reason": reason, "message": message}
    return SimpleNamespace(
        job_id="j", error_result=result, errors=list(errors), exception=lambda: exceptions.BadRequest("no")
    )


def test_a_job_is_known_by_its_label() -> None:
    job = SimpleNamespace(labels=job_labels("20250722T150000_0A1B2C3D", "postgresql"))
    assert belongs_to(job, "20250722T150000_0A1B2C3D")
    assert not belongs_to(job, "20250722T150000_00000000")
    assert not belongs_to(SimpleNamespace(labels=None), "20250722T150000_0A1B2C3D")


@pytest.mark.parametrize("reason", sorted(TRANSIENT_REASONS))
def test_reasons_that_pass(reason: str) -> None:
    assert is_transient(failed(reason))


def test_a_statement_that_was_overtaken_may_succeed_later() -> None:
    assert is_transient(failed("invalidQuery", "Transaction is aborted due to concurrent update against table p:d.t."))


def test_what_does_not_pass() -> None:
    assert not is_transient(failed("invalidQuery", "Syntax error"))
    assert not is_transient(SimpleNamespace(error_result=None))


@pytest.mark.parametrize(
    ("reason", "kind"), [("invalidQuery", PublishError), ("backendError", PublishUnavailableError)]
)
def test_the_error_of_a_job(reason: str, kind: type[PublishError]) -> None:
    said = {"reason": reason, "message": "Not found: Table p:d.t"}
    error = job_error(failed(reason, "no", said, said), "load it", "EU", DESTINATION_MEANINGS)
    assert type(error) is kind
    assert str(error) == "BigQuery: cannot load it: Not found: Table p:d.t (job j in EU); nothing was published"
