"""The arithmetic of `benchmarks.bigquery`; the measurement itself is `make bench-bigquery`."""

import json
from collections.abc import Iterator

import pytest

from benchmarks import bigquery

WAYS = {"query": {"seconds": 1.234, "worker_bytes": 0}, "storage_api": {"seconds": 5.0, "worker_bytes": 123}}


def test_the_median_of_each_reader_counts() -> None:
    seconds = {
        "ours": [1.0, 90.0, 2.0],
        "row_dicts": [8.0, 8.0, 8.0],
        "beam": [10.0, 12.0, 11.0],
        "one_stream": [3.0],
        "several_streams": [2.0],
    }
    assert bigquery.result(1000, seconds, WAYS, {"date": "today"}) == {
        "rows": 1000,
        "ours_vs_beam_read": 5.5,
        "ours_vs_row_dicts": 4.0,
        "several_streams_vs_one": 1.5,
        "short_way_worker_bytes": 0,
        "general_way_worker_bytes": 123,
        "rows_per_second": {"ours": 500, "row_dicts": 125, "beam": 91, "one_stream": 333, "several_streams": 500},
        "seconds": seconds,
        "sync_seconds": {"query": 1.23, "storage_api": 5.0},
        "date": "today",
    }


def test_the_readers_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    clock: Iterator[float] = iter(range(100))
    monkeypatch.setattr(bigquery.time, "monotonic", lambda: next(clock))
    calls = []
    readers = {name: lambda name=name: calls.append(name) or 7 for name in ("a", "b")}
    assert bigquery.measure(readers, 7) == {"a": [1, 1, 1], "b": [1, 1, 1]}
    assert calls == ["a", "b"] * 3


def test_a_reader_that_loses_rows_is_no_competitor() -> None:
    with pytest.raises(RuntimeError, match="a read 6 rows of 7"):
        bigquery.measure({"a": lambda: 6}, 7)


def test_the_results_are_those_of_the_readme() -> None:
    document = json.loads(bigquery.RESULTS.read_text())
    assert document["ours_vs_beam_read"] >= bigquery.LEAST_RATIO
    assert document["short_way_worker_bytes"] == 0
    assert document["rows"] == bigquery.ROWS
