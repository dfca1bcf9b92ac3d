from __future__ import annotations

from pathlib import Path

import pytest

from sync_pipeline.planning.plan import TableSync
from sync_pipeline.publishing.finished_splits import FinishedSplits, manifest_folder
from sync_pipeline.publishing.staged_files import StagedFile
from sync_pipeline.sources.source import ReadSplit
from tests.plans import plan, run_plan

SPLITS = [ReadSplit(1, 2, "SELECT 1"), ReadSplit(2, 2, "SELECT 2")]


@pytest.fixture
def tables(tmp_path: Path) -> tuple[TableSync, ...]:
    names = ("first", "second")
    return run_plan(*(plan({"destination_bigquery_table": name}, staging_root=f"{tmp_path}/") for name in names)).tables


def finished(tables: tuple[TableSync, ...]) -> FinishedSplits:
    """Return what another attempt knows."""
    return FinishedSplits(manifest_folder(run_plan(*tables)))


def files_of(table: TableSync) -> list[StagedFile]:
    return [
        StagedFile(f"{table.staging_folder}1.parquet", 3, 100, frozenset({"2025-07-22", None})),
        StagedFile(f"{table.staging_folder}dead_letters/2.parquet", 1, 10, is_dead_letters=True),
    ]


def test_another_attempt_finds_what_is_kept(tables: tuple[TableSync, ...]) -> None:
    first, second = tables
    manifests = finished(tables)
    assert manifests.find(second, SPLITS[1]) is None
    manifests.keep(second, SPLITS[1], files_of(second))
    manifests.keep(first, SPLITS[0], [])
    # The list is the one of the beginning.
    assert manifests.find(second, SPLITS[1]) is None
    manifests.forget()
    for each in (manifests, finished(tables)):
        assert each.find(second, SPLITS[1]) == files_of(second)
        # A split without rows has no file.
        assert each.find(first, SPLITS[0]) == []
        assert each.find(first, SPLITS[1]) is None
        assert each.find(second, SPLITS[0]) is None


def test_the_clean_up_of_the_first_table_finds_the_manifests(tables: tuple[TableSync, ...]) -> None:
    assert manifest_folder(run_plan(*tables)).startswith(tables[0].staging_folder)


def test_files_of_another_run_do_not_count(tables: tuple[TableSync, ...]) -> None:
    table = tables[1]
    other = plan({"destination_bigquery_table": "second"}, run_id="20250722T150000_ffffffff")
    finished(tables).keep(table, SPLITS[0], files_of(other))
    assert finished(tables).find(table, SPLITS[0]) is None


@pytest.mark.parametrize("text", ["", "[", "{}", '[{"uri": 1}]', "[1]", '[{"partitions": [], "name": "x"}]'])
def test_what_cannot_be_read_does_not_count(tables: tuple[TableSync, ...], text: str) -> None:
    table = tables[1]
    finished(tables).keep(table, SPLITS[0], [])
    (manifest,) = Path(manifest_folder(run_plan(*tables))).iterdir()
    manifest.write_text(text)
    assert not finished(tables).find(table, SPLITS[0])


def test_a_manifest_that_cannot_be_written_stops_nothing(
    tables: tuple[TableSync, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    FinishedSplits(f"{tmp_path}/file/").keep(tables[0], SPLITS[0], [])
    assert "was not written" in caplog.text
