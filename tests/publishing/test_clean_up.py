from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from google.api_core.exceptions import Forbidden

from sync_pipeline.bigquery_api import threads
from sync_pipeline.planning.plan import WriteMode
from sync_pipeline.planning.staging_names import FOLDER
from sync_pipeline.publishing import clean_up
from sync_pipeline.publishing.clean_up import (
    RunFolder,
    _folders,
    is_newer,
    is_superseded,
    is_too_old,
    remove_all,
    remove_staged_once,
)
from sync_pipeline.smart_sync.interval import StartOrigin
from tests.plans import INTERVAL, deletions, moment, plan, run_plan

OWN = "2025-07-22T130000.000000"
PLAN = plan(interval=INTERVAL)
RUN_ID = "20250722T150000_c1ea4ed0"


@pytest.mark.parametrize(
    ("start", "moved", "expected"),
    [
        pytest.param("2025-07-22T125959.999999", False, True, id="earlier"),
        pytest.param("0", False, True, id="from the empty table"),
        pytest.param(OWN, False, False, id="the same, nothing was published"),
        pytest.param(OWN, True, True, id="the same, one has published"),
        pytest.param("2025-07-22T130000.000001", True, False, id="later"),
        pytest.param("none", True, False, id="no Smart Sync"),
    ],
)
def test_is_superseded(start: str, moved: bool, expected: bool) -> None:
    assert PLAN.staging_start == OWN
    assert is_superseded(start, PLAN, destination_moved=moved) is expected


@pytest.mark.parametrize(
    ("start", "written", "expected"),
    [
        pytest.param("2025-07-22T125959.999999", timedelta(0), True, id="earlier start, planned later"),
        pytest.param("2025-07-22T125959.999999", timedelta(microseconds=-1), False, id="earlier start"),
        pytest.param(OWN, timedelta(0), False, id="the same start"),
    ],
)
def test_after_a_backfill_a_later_run_may_start_earlier(start: str, written: timedelta, expected: bool) -> None:
    assert is_newer(RunFolder("gs://bucket/folder/", start, RUN_ID, PLAN.observed_at + written), PLAN) is expected


def test_a_backfill_that_others_may_overtake_supersedes_nobody() -> None:
    interval = replace(INTERVAL, origin=StartOrigin.BACKFILL, latest=moment("2025-07-23"))
    assert not is_superseded("0", plan(interval=interval), destination_moved=True)


def test_where_rows_are_removed_an_earlier_start_may_be_a_later_run() -> None:
    removing = plan(interval=INTERVAL, write_mode=WriteMode.MERGE, deletions=deletions())
    marking = replace(removing, deletions=deletions(marks=True))
    assert not is_superseded("0", removing, destination_moved=True)
    assert is_superseded("0", marking, destination_moved=True)


@pytest.mark.parametrize("moved", [False, True])
def test_from_an_empty_table_nobody_is_earlier(moved: bool) -> None:
    first = plan(interval=replace(INTERVAL, latest=None))
    assert is_superseded("0", first, destination_moved=moved) is moved
    assert not is_superseded(OWN, first, destination_moved=moved)


@pytest.mark.parametrize("mode", [WriteMode.TRUNCATE, WriteMode.REPLACE])
def test_who_does_not_compete_supersedes_nobody(mode: WriteMode) -> None:
    interval = None if mode is WriteMode.TRUNCATE else INTERVAL
    assert not is_superseded("0", plan(interval=interval, write_mode=mode), destination_moved=True)


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        pytest.param(timedelta(days=10, microseconds=1), True, id="more than ten days"),
        pytest.param(timedelta(days=10), False, id="ten days"),
        pytest.param(timedelta(0), False, id="now"),
        pytest.param(timedelta(days=-1), False, id="later"),
    ],
)
def test_what_no_job_can_still_be_at_is_orphaned(age: timedelta, expected: bool) -> None:
    # A launcher's clock, which names runs, may be years off.
    folder = RunFolder("gs://bucket/folder/", OWN, "19700101T000000_0a1b2c3d", PLAN.observed_at - age)
    assert is_too_old(folder, PLAN) is expected


def test_a_folder_is_as_old_as_its_last_file(tmp_path: Path) -> None:
    root = f"{tmp_path}/"
    folder = tmp_path / f"start={OWN},run=20250722T150000_0a1b2c3d"
    folder.mkdir()
    for name, seconds in (("a", 1_000), ("b", 3_000), ("c", 2_000)):
        (folder / name).touch()
        os.utime(folder / name, (seconds, seconds))
    (found,) = _folders(root)
    assert [replace(found, files=tuple(sorted(found.files)))] == [
        RunFolder(
            f"{folder}/",
            OWN,
            "20250722T150000_0a1b2c3d",
            datetime.fromtimestamp(3_000, UTC),
            tuple(f"{folder}/{name}" for name in "abc"),
        )
    ]


@pytest.mark.parametrize("latest", [None, moment("2025-07-22 13:00:00.5")])
def test_a_folder_tells_what_it_was_named_by(latest: object) -> None:
    named = plan(interval=replace(INTERVAL, latest=latest))
    match = FOLDER.match(f"{named.staging_folder}file.parquet".removeprefix(named.staging_root))
    assert match is not None
    assert (match["start"], match["run"]) == (named.staging_start, named.run_id)


@pytest.mark.parametrize(
    "path",
    [
        "other/file",
        "start=0/file",
        "start=0,run=20250722T150000_0a1b2c3d",
        "x/start=0,run=20250722T150000_0a1b2c3d/file",
        # Whoever may write to the bucket could name a staging table that is not a run's, or a pattern of objects.
        "start=0,run=orders_archive/file",
        "start=*,run=*/file",
        "start=0,run=*/file",
        "start=*,run=20250722T150000_0a1b2c3d/file",
        "start=0,run=20250722T150000_0a1b2c3d?/file",
        "start=0,run=20250722T150000_0A1B2C3D/file",
        "start=\u0660,run=20250722T150000_0a1b2c3d/file",
        "start=-1,run=20250722T150000_0a1b2c3d/file",
        "start=0,run=20250722T150000_0a1b2c3d\n/file",
    ],
)
def test_what_is_no_folder_of_a_run(path: str) -> None:
    assert FOLDER.match(path) is None


def test_tables_that_are_clean_are_not_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"t{number}" for number in range(30)]
    tables = run_plan(*(plan({"destination_bigquery_table": name}, run_id=RUN_ID) for name in names)).tables
    asked: list[str] = []

    def remove(client: object, folder: str, table_ids: Sequence[str]) -> bool:
        asked.append(folder)
        assert list(table_ids) == there.get(folder, [])
        # One of them fails the first time.
        return folder != tables[7].staging_folder or len(asked) > 30

    # Only one table was created.
    there = {tables[3].staging_folder: [tables[3].staging_table_id]}
    staging = SimpleNamespace(table_id=tables[3].staging_table_id.rpartition(".")[2])
    client = SimpleNamespace(list_tables=lambda dataset, retry: [staging, SimpleNamespace(table_id="other")])
    monkeypatch.setattr(clean_up, "open_client", lambda _: client)
    monkeypatch.setattr(threads, "open_client", lambda _: object())
    monkeypatch.setattr(clean_up, "remove", remove)
    remove_staged_once(tables)
    assert sorted(asked) == sorted(table.staging_folder for table in tables)
    there = {tables[7].staging_folder: [tables[7].staging_table_id]}
    remove_staged_once(tables)
    remove_staged_once(tables)
    assert asked[30:] == [tables[7].staging_folder]


def test_tables_of_a_dataset_that_cannot_be_listed_are_all_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(dataset: str, retry: object) -> list[object]:
        raise Forbidden("no")

    removed: list[Sequence[str]] = []
    monkeypatch.setattr(clean_up, "open_client", lambda _: SimpleNamespace(list_tables=refuse))
    monkeypatch.setattr(threads, "open_client", lambda _: object())
    monkeypatch.setattr(clean_up, "remove", lambda client, folder, table_ids: bool(removed.append(table_ids)))
    assert remove_all("p", [("gs://b/1/", ["p.d.1"]), ("gs://b/2/", ["p.d.2"])]) == []
    assert sorted(removed) == [["p.d.1"], ["p.d.2"]]
