"""Clean-up: deletes what the run staged, and the orphaned files and tables of runs that were killed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from apache_beam.io.filesystems import FileSystems
from google.cloud import bigquery

from sync_pipeline.bigquery_api.client import CLIENT_ERRORS, REQUEST_RETRY, open_client
from sync_pipeline.bigquery_api.threads import THREADS, each_with_client
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.planning.staging_names import FOLDER, NO_START, staging_table_id
from sync_pipeline.publishing.cloud_storage import delete_staged_files
from sync_pipeline.publishing.pacing import wait_to_delete

_LOGGER = logging.getLogger(__name__)

# Dataflow cancels a batch job after ten days. https://cloud.google.com/dataflow/quotas
LONGEST_JOB = timedelta(days=10)

# The table syncs of this process, by name, whose staged tables and files were all removed. The publishing step of such
# a run may be attempted again, fill a staging table again and has to remove that too.
_CLEAN_RUNS: set[str] = set()


@dataclass(frozen=True)
class RunFolder:
    """The folder of what a run staged.

    Attributes:
        start, name: see `TableSync.staging_start` and `TableSync.name`.
        updated_at: when Cloud Storage took the last file, by Google's clock as `TableSync.observed_at` is: a launcher's
            may be wrong, and must not make a running job's files look orphaned.
        files: the URIs of its files.
    """

    uri: str
    start: str
    name: str
    updated_at: datetime
    files: tuple[str, ...] = ()


def clean_up(client: bigquery.Client, table: TableSync, table_ids: Iterable[str], *, destination_moved: bool) -> None:
    """Delete what this run staged, and what was staged by runs that can no longer publish.

    A failure is logged, never raised: tables expire, and a later run tries to delete the files again. One request lists
    the files of all runs.

    Args:
        table_ids: the tables that this run may have created beside the destination.
        destination_moved: this run, or another from the same timestamp, has published rows.
    """
    is_clean = _remove_tables(client, table_ids)
    try:
        folders = _folders(table.staging_root)
    except Exception as error:  # noqa: BLE001 - as below
        _LOGGER.warning(
            "%s could not be searched for orphaned files (%s)", table.staging_root, error.__class__.__name__
        )
        return
    for folder in folders:
        if folder.name == table.name:
            is_clean &= _remove_files(folder)
        elif (
            is_superseded(folder.start, table, destination_moved=destination_moved) and not is_newer(folder, table)
        ) or is_too_old(folder, table):
            _LOGGER.info("removing the orphaned files of run %s", folder.name)
            _remove_tables(client, [staging_table_id(table.config.destination, folder.name)])
            _remove_files(folder)
    if is_clean:
        _CLEAN_RUNS.add(table.name)


def remove_staged_once(tables: Sequence[TableSync]) -> None:
    """Delete what the run staged of each table, except of those that are clean already, in this process.

    A failure to delete is logged.

    Raises:
        PublishError: there are no credentials.
    """
    left = {table.staging_folder: table for table in tables if table.name not in _CLEAN_RUNS}
    staged = [(folder, table.temporary_table_ids) for folder, table in left.items()]
    _CLEAN_RUNS.update(left[folder].name for folder in remove_all(tables[0].run.job_project, staged))


def remove_all(project: str, staged: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """Do what `remove` does for several tables at once; return the folders of which nothing is left.

    Args:
        project: the project that the requests to BigQuery run in.
        staged: for each table a folder, and the ids of its tables.

    Raises:
        PublishError: there are no credentials.
    """
    if len(staged) > 1:
        there = _existing([table_id for _, table_ids in staged for table_id in table_ids], project)
        staged = [(folder, [table_id for table_id in table_ids if table_id in there]) for folder, table_ids in staged]
    removed = each_with_client(lambda client, each: remove(client, *each), staged, project, THREADS)
    return [folder for (folder, _), is_clean in removed if is_clean]


def _existing(table_ids: Sequence[str], project: str) -> set[str]:
    """Return the tables that exist, by a request for each dataset, and all tables of one that cannot be listed."""
    client = open_client(project)
    found: set[str] = set()
    for dataset in {table_id.rpartition(".")[0] for table_id in table_ids}:
        try:
            found.update(f"{dataset}.{table.table_id}" for table in client.list_tables(dataset, retry=REQUEST_RETRY))
        except CLIENT_ERRORS:
            found.update(table_id for table_id in table_ids if table_id.rpartition(".")[0] == dataset)
    return found & set(table_ids)


def is_too_old(folder: RunFolder, table: TableSync) -> bool:
    """Return whether the run wrote its last file so long before this one was planned that no job can still use it."""
    return table.observed_at - folder.updated_at > LONGEST_JOB


def is_newer(folder: RunFolder, table: TableSync) -> bool:
    """Return whether a run that started from an earlier timestamp may have been planned after this one.

    That happens after a backfill has deleted the destination's latest rows. Such a run wrote its files later.
    """
    return folder.start < table.staging_start and folder.updated_at >= table.observed_at


def is_superseded(start: str, table: TableSync, *, destination_moved: bool) -> bool:
    """Return whether a run that started from `start` can no longer publish, so that its files are orphaned.

    Of the runs from one timestamp only one publishes, and the destination's latest timestamp then is a later one. So a
    run that started from an earlier timestamp than this one can publish nothing any more. Where rows are removed, the
    latest timestamp may go back, so nothing follows from it.
    """
    if table.deletions is not None and not table.deletions.marks:
        return False
    own = table.staging_start
    if NO_START in (own, start):
        return False
    return start < own or (destination_moved and start == own)


def _folders(root: str) -> list[RunFolder]:
    """Return the folder of each run that staged files under `root`."""
    folders: dict[str, RunFolder] = {}
    for entry in FileSystems.match([f"{root}**"])[0].metadata_list:
        match = FOLDER.match(entry.path.removeprefix(root))
        if match:
            uri, updated_at = f"{root}{match[0]}", datetime.fromtimestamp(entry.last_updated_in_seconds, UTC)
            before = folders.get(uri, RunFolder(uri, match["start"], match["run"], updated_at))
            folders[uri] = replace(
                before, updated_at=max(before.updated_at, updated_at), files=(*before.files, entry.path)
            )
    return [folder for _, folder in sorted(folders.items())]


def remove(client: bigquery.Client, folder: str, table_ids: Iterable[str]) -> bool:
    """Delete what one run staged, its tables and all files of its folder, and return whether nothing is left.

    A failure is logged, never raised.
    """
    # The tables before the files: the folder is what tells a later run that there may be tables.
    is_clean = _remove_tables(client, table_ids)
    try:
        delete_staged_files(folder)
    except Exception as error:  # noqa: BLE001 - Beam's file system raises TypeError and the like for a failed answer
        _LOGGER.warning("%s was not removed (%s)", folder, error.__class__.__name__)
        return False
    return is_clean


def _remove_files(folder: RunFolder) -> bool:
    try:
        FileSystems.delete(list(folder.files))
    except Exception as error:  # noqa: BLE001 - as above
        _LOGGER.warning("%s was not removed (%s)", folder.uri, error.__class__.__name__)
        return False
    return True


def _remove_tables(client: bigquery.Client, table_ids: Iterable[str]) -> bool:
    removed = [_remove_table(client, table_id) for table_id in table_ids]
    return all(removed)


def _remove_table(client: bigquery.Client, table_id: str) -> bool:
    wait_to_delete()
    try:
        client.delete_table(table_id, not_found_ok=True, retry=REQUEST_RETRY)
    except CLIENT_ERRORS as error:
        _LOGGER.warning("%s was not removed (%s); it expires by itself", table_id, error.__class__.__name__)
        return False
    return True
