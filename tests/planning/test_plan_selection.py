from __future__ import annotations

from unittest.mock import sentinel

import pytest

from sync_pipeline.errors import (
    ConfigError,
    EmptySourceError,
    PublishError,
    PublishUnavailableError,
    SchemaError,
    SourceBusyError,
    SourceQueryError,
    SourceUnavailableError,
    SyncError,
)
from sync_pipeline.planning.plan_selection import _Attempts


def fail(error: SyncError) -> None:
    raise error


@pytest.mark.parametrize(
    "error",
    [
        ConfigError(["wrong"]),
        SchemaError("drifted"),
        SourceQueryError("no right"),
        SourceBusyError("locked"),
        PublishError("refused"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_of_a_table_is_kept(error: SyncError) -> None:
    attempts = _Attempts(sentinel.client)
    assert attempts.result("orders", lambda: fail(error)) is None
    assert [(table.name, table.error) for table in attempts.failed] == [("orders", error)]


@pytest.mark.parametrize("kind", [SourceUnavailableError, PublishUnavailableError])
def test_a_server_that_does_not_answer_ends_the_run(kind: type[SyncError]) -> None:
    attempts = _Attempts(sentinel.client)
    with pytest.raises(kind):
        attempts.result("orders", lambda: fail(kind("no answer")))
    assert attempts.failed == []


def test_an_empty_source_is_no_failure() -> None:
    attempts = _Attempts(sentinel.client)
    assert attempts.result("orders", lambda: fail(EmptySourceError("no rows yet"))) is None
    assert ([name for name, _ in attempts.empty], attempts.failed) == (["orders"], [])
