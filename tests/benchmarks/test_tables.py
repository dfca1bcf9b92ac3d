from __future__ import annotations

from benchmarks.memory import MIB
from benchmarks.tables import Runs, Scale, Sessions, misses, result


def test_the_result_has_the_seconds_of_one_more_table() -> None:
    seconds = {
        "staged, few": [2.0],
        "staged, many": [6.5],
        "published, few": [4.0, 5.0, 6.0],
        "published, many": [22.0, 23.0, 90.0],
        "dlt, few": [1.0],
        "dlt, many": [13.0],
        "single run": [3.0, 4.0, 5.0],
    }
    runs = Runs(seconds, [300 * MIB], [0.5], [Sessions(1, 2)])
    found = result(Scale(), runs)
    assert found["marginal_seconds_per_table"] == {"staged": 0.025, "published": 0.1, "dlt": 0.0667}
    assert (found["vs_single_runs"], found["vs_dlt"], found["peak_mb"]) == (34.8, 2.0, 300.0)
    assert found["connections"] == {"most_at_once": 1, "opened": 2}
    assert misses(found) == []


def test_an_aim_that_is_missed_is_told() -> None:
    assert misses({"marginal_seconds_per_table": {"staged": 0.06, "published": 0.1}}) == [
        "one more table takes 0.06 s until it is staged, the aim is at most 0.05 s"
    ]
