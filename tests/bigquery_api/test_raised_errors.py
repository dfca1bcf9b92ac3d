from __future__ import annotations

import pytest

from sync_pipeline.bigquery_api.raised_errors import raised_error, raised_text
from sync_pipeline.errors import ConcurrentSyncError, RecordError, SchemaError, SourceQueryError, SyncError


@pytest.mark.parametrize(
    ("message", "error"),
    [
        pytest.param("sync:RecordError: column 'a' is bad :sync", RecordError("column 'a' is bad"), id="alone"),
        pytest.param(
            "Query error: sync:SourceQueryError: outside :sync at [1:7] (job x in EU)",
            SourceQueryError("outside"),
            id="among BigQuery's words",
        ),
        pytest.param("Bad int64 value: 12a", None, id="BigQuery's own"),
        pytest.param("sync:OtherError: x :sync", None, id="no error of ours"),
        pytest.param(raised_text(ConcurrentSyncError, "late"), ConcurrentSyncError("late"), id="of another run"),
        pytest.param(raised_text(SchemaError, "too many"), SchemaError("too many"), id="as written"),
    ],
)
def test_raised_error(message: str, error: SyncError | None) -> None:
    found = raised_error(message)
    assert (type(found), str(found)) == (type(error), str(error))
