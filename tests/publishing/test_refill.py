from __future__ import annotations

from sync_pipeline.publishing.refill import refill_sql, truncate_sql
from tests.plans import plan
from tests.publishing.expected_sql import INSERT, THREE_STAGED, USERS_TABLE


def test_refill() -> None:
    transaction = ["BEGIN TRANSACTION", f"TRUNCATE TABLE {USERS_TABLE}", INSERT, "COMMIT TRANSACTION"]
    assert refill_sql(plan(), 3).split(";\n") == [THREE_STAGED, *transaction]


def test_truncate() -> None:
    assert truncate_sql(plan()) == f"TRUNCATE TABLE {USERS_TABLE}"
