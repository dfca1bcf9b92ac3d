from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.planning.plan import WriteMode
from sync_pipeline.publishing.backfill import ReplaceInterval
from sync_pipeline.publishing.choose_strategy import choose_strategy
from sync_pipeline.publishing.insert import InsertRows
from sync_pipeline.publishing.load import LoadFiles
from sync_pipeline.publishing.merge import MergeRows
from sync_pipeline.publishing.refill import EmptyTable, RefillTable
from sync_pipeline.publishing.replace import ReplaceTable, SwapTables
from sync_pipeline.publishing.staged_files import StagedFile, StagedFiles
from sync_pipeline.publishing.strategy import KeepTable, Strategy
from sync_pipeline.schema import Field, Schema
from sync_pipeline.smart_sync.interval import StartOrigin
from sync_pipeline.sources.source import Selection
from tests.plans import INTERVAL, USERS, plan

APPEND, MERGE, TRUNCATE, REPLACE = WriteMode.APPEND, WriteMode.MERGE, WriteMode.TRUNCATE, WriteMode.REPLACE
NONE = StagedFiles()
ONE = StagedFiles([StagedFile("gs://b/1", 3, 100)])
MANY = StagedFiles(ONE.files * 10_001)
SPREAD = StagedFiles([StagedFile("gs://b/1", 3, 100, frozenset(map(str, range(4_001))))])
WITH_JSON: dict[str, Any] = {"schema": Schema((*USERS, Field("document", "JSON")))}
SELECTED: dict[str, Any] = {"selection": Selection("SELECT 1", USERS, "US", "p")}
NEW: dict[str, Any] = {"creates_table": True}
FIRST: dict[str, Any] = {**NEW, "has_distinct_keys": True, "interval": INTERVAL}
BACKFILL: dict[str, Any] = {"interval": replace(INTERVAL, origin=StartOrigin.BACKFILL)}


@pytest.mark.parametrize(
    ("mode", "parts", "staged", "strategy"),
    [
        pytest.param(APPEND, {}, ONE, LoadFiles, id="append"),
        pytest.param(APPEND, WITH_JSON, ONE, InsertRows, id="append, JSON"),
        pytest.param(APPEND, {}, MANY, InsertRows, id="append, too many files for one job"),
        pytest.param(APPEND, {}, SPREAD, InsertRows, id="append, too many partitions for one job"),
        pytest.param(APPEND, SELECTED, NONE, InsertRows, id="append, selected"),
        pytest.param(APPEND, {}, NONE, KeepTable, id="append of nothing"),
        pytest.param(APPEND, BACKFILL, ONE, ReplaceInterval, id="backfill"),
        pytest.param(APPEND, BACKFILL, NONE, ReplaceInterval, id="backfill by nothing"),
        pytest.param(MERGE, BACKFILL, ONE, MergeRows, id="backfill by a merge"),
        pytest.param(MERGE, {}, ONE, MergeRows, id="merge"),
        pytest.param(MERGE, SELECTED, NONE, MergeRows, id="merge, selected"),
        pytest.param(MERGE, FIRST, ONE, LoadFiles, id="merge into a new table, each key once"),
        pytest.param(MERGE, FIRST | WITH_JSON, ONE, MergeRows, id="merge into a new table, JSON"),
        pytest.param(MERGE, {**FIRST, "interval": None}, ONE, MergeRows, id="merge into a new table, no shared job id"),
        pytest.param(MERGE, {**FIRST, "has_distinct_keys": False}, ONE, MergeRows, id="merge of repeated keys"),
        pytest.param(MERGE, {}, NONE, KeepTable, id="merge of nothing"),
        pytest.param(TRUNCATE, {}, ONE, LoadFiles, id="truncate"),
        pytest.param(TRUNCATE, WITH_JSON, ONE, RefillTable, id="truncate, JSON"),
        pytest.param(TRUNCATE, {"layout": TableLayout("updated_at")}, ONE, RefillTable, id="truncate, partitioned"),
        pytest.param(TRUNCATE, {"loads_all_columns": False}, ONE, RefillTable, id="truncate, some columns"),
        pytest.param(TRUNCATE, SELECTED, NONE, RefillTable, id="truncate, selected"),
        pytest.param(TRUNCATE, {}, NONE, EmptyTable, id="truncate of nothing"),
        pytest.param(TRUNCATE, NEW, NONE, EmptyTable, id="truncate of nothing, new table"),
        pytest.param(REPLACE, {}, ONE, ReplaceTable, id="replace"),
        pytest.param(REPLACE, {"changes_layout": True}, ONE, SwapTables, id="replace by another layout"),
        pytest.param(REPLACE, {}, SPREAD, SwapTables, id="replace, too many partitions for one statement"),
        pytest.param(REPLACE, SELECTED, NONE, ReplaceTable, id="replace, selected"),
        pytest.param(REPLACE, {}, NONE, ReplaceTable, id="replace by nothing"),
    ],
)
def test_choose_strategy(mode: WriteMode, parts: dict[str, Any], staged: StagedFiles, strategy: type[Strategy]) -> None:
    assert choose_strategy(plan(write_mode=mode, **parts), staged) is strategy
