from __future__ import annotations

from sync_pipeline.smart_sync.placeholder_columns import compared_columns, is_readable, mismatch
from sync_pipeline.sources.mongodb.checks import comparisons


def test_fields_that_a_filter_compares() -> None:
    bounds = '{"$gt": {"$date": "{start_timestamp}"}, "$lte": {"$date": "{end_timestamp}"}}'
    assert mismatch(comparisons, f'{{"updated_at": {bounds}}}', "updated_at") is None
    assert (
        mismatch(comparisons, f'{{"$and": [{{"changed": {bounds}}}]}}', "updated_at")
        == "{start_timestamp} with changed"
    )
    compared = (
        '{"$expr": {"$and": [{"$gt": ["$%s", {"$date": "{start_timestamp}"}]}, {"$lte": ["$%s", "{end_timestamp}"]}]}}'
    )
    assert mismatch(comparisons, compared % ("m", "m"), "updated_at") == "{start_timestamp} with m"
    assert compared_columns(comparisons, compared % ("updated_at", "m"), "updated_at", "{start_timestamp}") == {
        "updated_at"
    }
    unclear = '{"$expr": {"$f": {"$date": "{start_timestamp}{end_timestamp}"}}}'
    assert mismatch(comparisons, unclear, "updated_at") is None
    assert not is_readable(comparisons, unclear, "updated_at")
