from __future__ import annotations

import itertools

import pytest

from sync_pipeline.publishing.removal_limit import allowed_sql, is_too_many

NUMBERS = (0, 1, 2, 10, 11, 99, 100, 101, 1_000)


@pytest.mark.parametrize("percent", [0, 1, 10, 99, 100])
def test_the_script_decides_as_the_report(percent: int) -> None:
    sql = allowed_sql("removed", "existing", "before", percent)
    python = sql.replace(" AND ", " and ").replace(" OR ", " or ").replace(" = ", " == ")
    for removed, existing, before in itertools.product(NUMBERS, repeat=3):
        numbers = {"removed": removed, "existing": existing, "before": before}
        is_allowed = eval(python, {"GREATEST": max, **numbers})
        assert is_allowed is (removed > 0 and not is_too_many(removed, existing, before, percent))


def test_a_table_is_not_emptied_below_100_percent() -> None:
    assert is_too_many(2, 2, 2, 99)
    assert not is_too_many(2, 2, 2, 100)
