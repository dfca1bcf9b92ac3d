"""The arithmetic and the tables of `benchmarks.postgresql`; the measurement itself is `make bench`."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import postgresql, postgresql_report
from benchmarks.memory import MIB
from benchmarks.postgresql import Run, exponent, result
from benchmarks.postgresql_cases import FULL, QUICK, Case, cases
from benchmarks.postgresql_report import misses

ROOT = Path(__file__).parents[2]
KEYS = {
    "staged_vs_copy",
    "staged_vs_dlt_connectorx",
    "staged_vs_row_beam",
    "whole_run_vs_copy",
    "peak_mb_2m",
    "peak_mb_8m",
    "growth_exponent",
}
BUFFERS = {"step": "Index Scan", "rows": 100, "buffers": 7, "table_buffers": 2000}


@pytest.fixture
def document() -> dict[str, Any]:
    """A result in which the limit takes 1 µs a row, ours 2 µs, all others 4 µs, in 300 MiB.

    The server's CPU is half of that.
    """
    microseconds = {"limit": 1, "staged": 2}
    runs = {
        case.name: [
            Run(
                case.expected_rows,
                case.expected_rows * microseconds.get(case.reader, 4) * factor / 1e6,
                0.5,
                300 * MIB,
                9.0,
                case.expected_rows * microseconds.get(case.reader, 4) / 2e6,
            )
            # The median counts, not the mean.
            for factor in (1, 1, 9)
        ]
        for case in cases(QUICK)
    }
    return result(QUICK, runs, BUFFERS)


NEW_KEYS = {
    "staged_vs_copy_binary",
    "staged_vs_duckdb",
    "staged_vs_duckdb_2_connections",
    "server_cpu_vs_copy_csv",
    "client_cpu_seconds_per_million",
}


def test_ratios_are_of_medians(document: dict[str, Any]) -> None:
    assert {name: document[name] for name in KEYS | NEW_KEYS} == {
        "staged_vs_copy": 0.5,
        "staged_vs_copy_binary": 2.0,
        "staged_vs_duckdb": 2.0,
        "staged_vs_duckdb_2_connections": 2.0,
        "server_cpu_vs_copy_csv": 2.0,
        "client_cpu_seconds_per_million": 25.0,
        "staged_vs_dlt_connectorx": 2.0,
        "staged_vs_row_beam": 2.0,
        "whole_run_vs_copy": 0.25,
        "peak_mb_2m": 300.0,
        "peak_mb_8m": 300.0,
        "growth_exponent": 1.0,
    }
    assert document["cases"]["limit, 20,000 rows"] == {
        "rows": 20000,
        "seconds": 0.02,
        "total_seconds": 9.0,
        "rows_per_second": 1_000_000,
        "rows_per_core_second": 40000,
        "server_cpu_seconds": 0.01,
        "peak_mb": 300.0,
    }


def test_aims_that_are_missed_are_told(document: dict[str, Any]) -> None:
    assert misses(document) == [
        "staged_vs_copy is 0.5, the aim is 1.2",
        "staged_vs_copy_8m is 0.5, the aim is 1.2",
        "staged_vs_row_beam is 2.0, the aim is 40.0",
        "whole_run_vs_copy is 0.25, the aim is 0.6",
        "server_cpu_vs_copy_csv is 2.0, the aim is at most 0.65",
        "client_cpu_seconds_per_million is 25.0, the aim is at most 1.2",
    ]
    reached = {name: postgresql_report.AIMS[name] for name in postgresql_report.AIMS} | postgresql_report.MOST
    assert misses(document | reached) == []
    assert misses(document | reached | {"peak_mb_8m": 351.0, "growth_exponent": 1.2, "startup_seconds_help": 0.5}) == [
        "peak_mb_8m is 351.0, the aim is at most 350",
        "startup_seconds_help is 0.5, the aim is at most 0.4",
        "growth_exponent is 1.2, the aim is 1 within 0.1",
    ]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        pytest.param([3, 6, 12], 1.0, id="linear"),
        pytest.param([1, 4, 16], 2.0, id="square"),
        pytest.param([5, 5, 5], 0.0, id="constant"),
    ],
)
def test_exponent(seconds: list[float], expected: float) -> None:
    assert exponent([100, 200, 400], seconds) == pytest.approx(expected)


def test_the_cases_are_those_that_were_promised() -> None:
    full = list(cases(FULL))
    assert len({case.name for case in full}) == len(full)
    staged = [case for case in full if case.reader == "staged"]
    assert {case.table.rows for case in staged if case.table.name.startswith("orders")} == {
        1_000_000,
        2_000_000,
        4_000_000,
        8_000_000,
    }
    assert {case.partitions for case in staged if case.table.name == "orders_2000000" and not case.interval} == {
        1,
        2,
        4,
    }
    assert {case.table.name for case in staged} >= {"columns_10", "columns_100", "wide_100", "wide_10000"}
    assert [case.interval for case in full if case.interval] == [1000] * 4
    assert FULL.rounds >= 3


def test_a_case_knows_how_many_rows_it_reads() -> None:
    table = next(iter(cases(QUICK))).table
    assert Case("x", "limit", table).expected_rows == 10_000
    assert Case("x", "limit", table, rows=5).expected_rows == 5
    assert Case("x", "staged", table, interval=7).expected_rows == 7


@pytest.mark.parametrize(
    ("load", "is_told"), [pytest.param(0.4, False, id="quiet machine"), pytest.param(3.0, True, id="busy machine")]
)
def test_a_busy_machine_is_told(document: dict[str, Any], load: float, is_told: bool) -> None:
    facts = {"date": "2026-01-02T", "machine": {"cpus": 2, "memory_gb": 4}, "peers": {"dlt": "1", "connectorx": "2"}}
    starts = {"startup_seconds_help": 0.3, "nothing_new_seconds": 2.0}
    lines = "\n".join(postgresql_report.render(document | facts | starts | {"load_before": load}))
    assert ("The machine was busy" in lines) is is_told
    assert "| ours, read to staged files, 20,000 rows | 500 | 40 | 300 | 0.50 |" in lines
    assert "Aims: missed: staged_vs_copy is 0.5, the aim is 1.2; staged_vs_copy_8m is" in lines
    assert "| DuckDB's postgres extension, to Parquet, 20,000 rows | 250 | 40 | 300 | 0.25 |" in lines
    assert "`main.py --help` takes 0.3 s, a run that finds nothing new 2.0 s." in lines


def test_a_peer_whose_values_differ_is_told(document: dict[str, Any]) -> None:
    facts = {"date": "2026-01-02T", "machine": {"cpus": 2, "memory_gb": 4}, "load_before": 0.1}
    peers = {"dlt": "1", "connectorx": "2", "ingestr": "3"}
    starts = {"startup_seconds_help": 0.3, "nothing_new_seconds": 2.0}
    document["cases"]["ingestr, 20,000 rows"]["inexact"] = ["order_uuid"]
    lines = "\n".join(postgresql_report.render(document | facts | starts | {"peers": peers}))
    assert "The files hold other values than the table: ingestr in order_uuid. The values of all others" in lines
    assert ", ingestr 3, ConnectorX 2;" in lines


def test_the_files_whose_values_are_known() -> None:
    readers = {case.reader for case in cases(QUICK) if case.has_known_values}
    assert readers == {"staged", "duckdb", "connectorx", "sqlalchemy", "adbc", "ingestr", "sling"}


def test_the_documents_have_the_figures_of_the_recorded_result() -> None:
    recorded = json.loads(postgresql.RESULTS.read_text(encoding="utf-8"))
    assert recorded.keys() >= KEYS | {"date", "machine", "versions", "peers", "rounds"}
    assert not recorded["quick"]
    for name, lines in (
        ("docs/reference/performance.md", postgresql_report.render(recorded)),
        ("README.md", postgresql_report.summary(recorded)),
    ):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert postgresql_report.replace_figures(text, lines) == text
    assert postgresql.RESULTS.with_suffix(".png").stat().st_size > 10_000


def test_what_is_only_tried_is_not_written_over_the_results(tmp_path: Path) -> None:
    assert postgresql.arguments([]).output == postgresql.RESULTS
    assert postgresql.arguments(["--quick"]).output.is_relative_to(ROOT / "build")
    assert postgresql.arguments(["--quick", f"--output={tmp_path}"]).output == tmp_path
