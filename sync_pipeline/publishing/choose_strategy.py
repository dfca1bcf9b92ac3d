"""Chooses the strategy that publishes the rows; `planning/writing.py` decides whether to append or to merge."""

from __future__ import annotations

from sync_pipeline.auto_schema.partitions import MAX_PARTITIONS_PER_JOB
from sync_pipeline.planning.plan import TableSync, WriteMode
from sync_pipeline.publishing.backfill import ReplaceInterval
from sync_pipeline.publishing.insert import InsertRows
from sync_pipeline.publishing.jobs import MAX_FILES_PER_JOB
from sync_pipeline.publishing.load import LoadFiles
from sync_pipeline.publishing.merge import MergeRows
from sync_pipeline.publishing.refill import EmptyTable, RefillTable
from sync_pipeline.publishing.replace import ReplaceTable, SwapTables
from sync_pipeline.publishing.staged_files import StagedFiles
from sync_pipeline.publishing.strategy import KeepTable, Strategy


def choose_strategy(table: TableSync, staged: StagedFiles) -> type[Strategy]:
    """Return the strategy that publishes `staged`, or the rows of the table's selection."""
    mode = table.write_mode
    if table.replaces_interval:
        return ReplaceInterval
    if table.selection is None and not staged.rows and mode is not WriteMode.REPLACE:
        return EmptyTable if mode is WriteMode.TRUNCATE else KeepTable
    match mode:
        case WriteMode.APPEND:
            return LoadFiles if _one_load_job_can(table, staged) else InsertRows
        case WriteMode.MERGE:
            return LoadFiles if table.is_first_load and _one_load_job_can(table, staged) else MergeRows
        case WriteMode.TRUNCATE:
            return LoadFiles if _one_load_job_can(table, staged) else RefillTable
        case WriteMode.REPLACE:
            return SwapTables if table.changes_layout or len(staged.partition_groups) > 1 else ReplaceTable


def _one_load_job_can(table: TableSync, staged: StagedFiles) -> bool:
    """Return whether one load job can publish the files."""
    return (
        table.selection is None
        and not table.needs_staging_table
        and len(staged.files) <= MAX_FILES_PER_JOB
        and len(staged.partitions) <= MAX_PARTITIONS_PER_JOB
    )
