"""The figures of `benchmarks.mongodb`; the measurement itself is `make bench-mongodb`."""

import pytest

from benchmarks import mongodb
from benchmarks.memory import MIB

SECONDS = {
    "raw_drain": [2.0, 1.0, 9.0],
    "reply_drain": [1.0, 0.5, 9.0],
    "ours": [4.0, 2.5, 4.5],
    "planning": [1.0, 1.0, 1.0],
    "row_beam": [60.0, 40.0, 20.0],
    "dlt": [50.0, 30.0, 60.0],
    "whole_run": [10.0, 12.5, 15.0],
}


def test_the_result_has_the_ratios_of_the_medians() -> None:
    assert mongodb.result(1_000_000, SECONDS, {1_000_000: 400.04 * MIB, 3_000_000: 420 * MIB}, {"date": "today"}) == {
        "ours_vs_raw_drain": 0.5,
        "ours_vs_reply_drain": 0.25,
        "ours_vs_row_beam": 10.0,
        "ours_vs_dlt": 12.5,
        "ours_with_planning_vs_dlt": 10.0,
        "whole_run_vs_dlt": 4.0,
        "documents": 1_000_000,
        "rows_per_second": {
            "raw_drain": 500_000,
            "reply_drain": 1_000_000,
            "ours": 250_000,
            "row_beam": 25_000,
            "dlt": 20_000,
            "whole_run": 80_000,
        },
        "seconds": SECONDS,
        "peak_mb": {"1,000,000": 400.0, "3,000,000": 420.0},
        "peak_ratio": 1.05,
        "date": "today",
    }


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({}, [], id="all reached"),
        pytest.param({"ours_vs_dlt": 2.9}, ["ours_vs_dlt is 2.9, not 3.0"], id="slower"),
        pytest.param({"ours_vs_raw_drain": 0.8}, ["ours_vs_raw_drain is 0.8, not 0.9"], id="far from the limit"),
        pytest.param({"peak_ratio": 1.31}, ["peak_ratio is 1.31, more than 1.3"], id="memory grows"),
    ],
)
def test_a_missed_aim_is_told(change: dict[str, float], expected: list[str]) -> None:
    assert mongodb.missed({"ours_vs_raw_drain": 0.9, "ours_vs_dlt": 3.0, "peak_ratio": 1.3} | change) == expected
