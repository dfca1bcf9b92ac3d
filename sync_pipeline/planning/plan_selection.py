"""Planning of many tables: source and destination are asked about all of them together where they can be.

catalog → choice and modes → datasets → existing tables → latest timestamps → the plan of each table
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from google.cloud import bigquery

from sync_pipeline.bigquery_api.threads import map_with_clients
from sync_pipeline.errors import ConfigError, EmptySourceError, PublishError, SchemaError, SourceQueryError
from sync_pipeline.parameters.config import DestinationConfig, SyncConfig
from sync_pipeline.parameters.declaration import declared
from sync_pipeline.parameters.run_config import RunConfig
from sync_pipeline.parameters.table_selection import ChosenTable, TableSelection
from sync_pipeline.planning.column_names import with_allowed_names
from sync_pipeline.planning.destination import (
    DestinationDataset,
    DestinationDescription,
    describe_table,
    destination_dataset,
    listed_tables,
)
from sync_pipeline.planning.interval import plan_interval, question_of
from sync_pipeline.planning.latest_timestamp import Question, latest_timestamp, latest_timestamps
from sync_pipeline.planning.lookups import Lookups
from sync_pipeline.planning.plan import FailedTable, Run, RunPlan, TableSync
from sync_pipeline.planning.staging_names import new_run_id
from sync_pipeline.planning.table_mode import mode_of
from sync_pipeline.planning.table_plan import TableStart, plan_table
from sync_pipeline.smart_sync.interval import LatestTimestamp
from sync_pipeline.sources import open_catalog, open_source
from sync_pipeline.sources.catalog import SourceCatalog
from sync_pipeline.sources.source import SourceSession

# The errors of one table. Another table may have none, so the run goes on without it.
_OF_A_TABLE = (SchemaError, SourceQueryError, PublishError)


@dataclass(frozen=True)
class _Table:
    """A chosen table with a session of its source; see `TableSync` for the size and the reason."""

    name: str
    config: SyncConfig
    session: SourceSession
    size: int | None = None
    mode_reason: str = ""
    notes: tuple[str, ...] = ()


class _Attempts:
    """Calls functions for tables, and keeps the errors: those of single tables, and those of parameters.

    Attributes:
        failed: the tables that failed, by name.
        empty: the tables without rows and columns, which are not synced yet; by name.
    """

    def __init__(self) -> None:
        self.failed: dict[str, FailedTable] = {}
        self.empty: dict[str, EmptySourceError] = {}
        self._problems: list[str] = []

    def result[Result](self, name: str, function: Callable[[], Result]) -> Result | None:
        """Return the function's result; None if it fails for this table. Raises errors of the whole run."""
        try:
            return function()
        except ConfigError as error:
            prefix = f"{name}: "
            self._problems += [text if text.startswith(prefix) else f"{prefix}{text}" for text in error.problems]
        except EmptySourceError as error:
            self.empty[name] = error
        except _OF_A_TABLE as error:
            self.failed[name] = FailedTable(name, error)
        return None

    def check(self) -> None:
        """Raise ConfigError with the problems of all tables, if there are any."""
        if self._problems:
            raise ConfigError(list(dict.fromkeys(self._problems)))


def plan_selection(
    config: RunConfig, selection: TableSelection, client: bigquery.Client, staging_root: str, started_at: datetime
) -> RunPlan:
    """Plan a run of the tables that `selection` chooses. The plan names the tables that cannot be planned.

    Raises:
        ConfigError: parameters of the run or of tables are wrong; holds the problems of all tables.
        SourceError: the source cannot be reached or rejects a request about all tables.
        PublishError: BigQuery rejected a request about all tables.
        SyncError: no table can be planned; the error of the first.
    """
    run = Run(new_run_id(started_at), started_at, client.project, staging_root, config.max_source_connections)
    lookups, attempts = Lookups(client, run), _Attempts()
    with contextlib.ExitStack() as stack:
        catalog = stack.enter_context(open_catalog(config.data_source, config.source, config.max_retries, selection))
        tables = _configured(config.data_source, selection, catalog, stack, attempts)
        left_out = selection.left_out(catalog.tables)
        attempts.check()
        starts = _starts(client, tables, attempts)

        def plan(thread_client: bigquery.Client, item: tuple[_Table, TableStart]) -> TableSync | None:
            table, start = item
            return attempts.result(
                table.name, lambda: plan_table(thread_client, table.session, start, lookups, run, number=0)
            )

        planned = [table for table in map_with_clients(plan, starts, client.project) if table]
    attempts.check()
    failed = tuple(attempts.failed.values())
    if not planned:
        raise failed[0].error if failed else next(iter(attempts.empty.values()))
    numbered = tuple(replace(table, number=number) for number, table in enumerate(planned))
    notes = [f"{table.name} is not synced: {table.left_out}" for table in left_out]
    notes += [f"{name} is not synced: {error}" for name, error in attempts.empty.items()]
    return RunPlan(run, numbered, failed, tuple(notes), config.warnings)


def _configured(
    data_source: str,
    selection: TableSelection,
    catalog: SourceCatalog,
    stack: contextlib.ExitStack,
    attempts: _Attempts,
) -> list[_Table]:
    """Return the chosen tables. A query of a tables file has a connection of its own, which `stack` closes."""
    source = declared(data_source)

    def configured(chosen: ChosenTable) -> _Table:
        if chosen.table is None:
            config = chosen.config({})
            return _Table(chosen.name, config, stack.enter_context(open_source(config).connect()))
        mode = mode_of(
            chosen.table,
            chosen.given,
            source.timestamp_column(chosen.value("smart_sync_timestamp_column")),
            smart_sync=chosen.value("enable_smart_sync") if "enable_smart_sync" in chosen.given else None,
            has_own_key=source.has_own_key,
        )
        config, notes = with_allowed_names(chosen.config(mode.implied), chosen.table.columns)
        return _Table(chosen.name, config, catalog.session(chosen.table, config), chosen.table.size, mode.reason, notes)

    tables = []
    for chosen in selection.choose(catalog.tables):
        table = attempts.result(chosen.name, functools.partial(configured, chosen))
        if table is not None:
            tables.append(table)
    return tables


def _starts(client: bigquery.Client, tables: list[_Table], attempts: _Attempts) -> list[tuple[_Table, TableStart]]:
    """Return the tables with their destinations and intervals, in order."""
    destinations = _destinations(client, tables, attempts)
    latest = _latest_timestamps(client, tables, destinations, attempts)
    starts = []
    for table in tables:
        if table.name in latest:
            config, clock, destination = table.config, table.session.clock, destinations[table.name]
            interval = plan_interval(config, clock, destination, latest[table.name])
            start = TableStart(
                config, clock, destination, interval, table.name, table.size, table.mode_reason, table.notes
            )
            starts.append((table, start))
    return starts


def _destinations(
    client: bigquery.Client, tables: list[_Table], attempts: _Attempts
) -> dict[str, DestinationDescription]:
    """Return the destinations by the tables' names. A listing of each dataset tells which tables to ask about."""
    datasets: dict[tuple[str, str, str | None], tuple[DestinationDataset, frozenset[str]]] = {}
    for table in tables:
        config = table.config.destination
        if _dataset_key(config) not in datasets:
            described = destination_dataset(client, config)
            datasets[_dataset_key(config)] = described, listed_tables(client, f"{config.project}.{config.dataset}")

    def describe(thread_client: bigquery.Client, table: _Table) -> DestinationDescription | None:
        config = table.config.destination
        dataset, listed = datasets[_dataset_key(config)]
        may_exist = config.table.lower() in listed
        return attempts.result(table.name, lambda: describe_table(thread_client, config, dataset, may_exist=may_exist))

    answers = zip(tables, map_with_clients(describe, tables, client.project), strict=True)
    return {table.name: destination for table, destination in answers if destination is not None}


def _dataset_key(config: DestinationConfig) -> tuple[str, str, str | None]:
    return config.project, config.dataset, config.staging_dataset


def _latest_timestamps(
    client: bigquery.Client,
    tables: list[_Table],
    destinations: Mapping[str, DestinationDescription],
    attempts: _Attempts,
) -> dict[str, LatestTimestamp]:
    """Return the latest timestamps by the tables' names, for every table whose destination is known."""
    latest: dict[str, LatestTimestamp] = {}
    asked: dict[str, tuple[Question, str]] = {}
    for table in tables:
        if (destination := destinations.get(table.name)) is None:
            continue
        question = question_of(table.config, table.session.clock, destination)
        if question is None:
            latest[table.name] = LatestTimestamp()
        elif attempts.result(table.name, functools.partial(getattr, question, "field")) is not None:
            asked[table.name] = question, destination.location
    for location in {location for _, location in asked.values()}:
        names = [name for name, (_, there) in asked.items() if there == location]
        answers = latest_timestamps(client, [asked[name][0] for name in names], location)
        latest |= {name: answers[asked[name][0].table_id] for name in names if asked[name][0].table_id in answers}

    def ask(thread_client: bigquery.Client, name: str) -> LatestTimestamp | None:
        question, location = asked[name]
        return attempts.result(name, lambda: latest_timestamp(thread_client, question, location))

    others = [name for name in asked if name not in latest]
    found = zip(others, map_with_clients(ask, others, client.project), strict=True)
    return latest | {name: answer for name, answer in found if answer is not None}
