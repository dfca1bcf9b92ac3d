"""Planning of many tables: source and destination are asked about all of them together where they can be.

catalog → choice and modes → dataset → existing tables → latest timestamps → the plan of each table
"""

from __future__ import annotations

import contextlib
import functools
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from google.cloud import bigquery

from sync_pipeline.bigquery_api.threads import map_with_clients
from sync_pipeline.errors import (
    ConfigError,
    EmptySourceError,
    PublishError,
    PublishUnavailableError,
    SchemaError,
    SourceBusyError,
    SourceQueryError,
    SyncError,
)
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.parameters.declaration import declared
from sync_pipeline.parameters.run_config import RunConfig
from sync_pipeline.parameters.table_selection import ChosenTable, TableSelection
from sync_pipeline.planning.column_names import with_allowed_names
from sync_pipeline.planning.destination import (
    DestinationDescription,
    describe_table,
    destination_dataset,
    listed_tables,
)
from sync_pipeline.planning.interval import PlannedInterval, plan_interval, question_of
from sync_pipeline.planning.latest_timestamp import Question, latest_timestamp, latest_timestamps
from sync_pipeline.planning.lookups import Lookups
from sync_pipeline.planning.plan import Run, TableSync
from sync_pipeline.planning.run_plan import FailedTable, RunPlan
from sync_pipeline.planning.staging_names import new_run_id
from sync_pipeline.planning.table_mode import mode_of, mode_of_query
from sync_pipeline.planning.table_plan import TableStart, plan_table
from sync_pipeline.printable import named
from sync_pipeline.smart_sync.interval import LatestTimestamp
from sync_pipeline.sources import open_catalog, open_source
from sync_pipeline.sources.catalog import SourceCatalog
from sync_pipeline.sources.source import PlansHeldReads, SourceSession

# Names of tables that a note lists; more are counted.
_MAX_NAMES = 5

# Errors that another table may not have, so the run goes on without the one that has it.
_OF_A_TABLE = (ConfigError, SchemaError, SourceQueryError, SourceBusyError, PublishError)


@dataclass(frozen=True)
class _Table:
    """A chosen table with a session of its source; see `TableSync` for the size and the reason."""

    name: str
    config: SyncConfig
    session: SourceSession
    size: int | None = None
    mode_reason: str = ""
    notes: tuple[str, ...] = ()


@dataclass
class _Attempts:
    """Calls functions for tables, and keeps the errors of single tables.

    Attributes:
        empty: the tables without rows and columns, which are not synced yet, and why.
    """

    client: bigquery.Client
    failed: list[FailedTable] = field(default_factory=list)
    empty: list[tuple[str, SyncError]] = field(default_factory=list)

    def result[Result](self, name: str, function: Callable[[], Result]) -> Result | None:
        """Return the function's result; None if it fails for this table. Raises errors of the whole run."""
        try:
            return function()
        except PublishUnavailableError:
            # It has been asked for two minutes, and would be again for each table.
            raise
        except EmptySourceError as error:
            self.empty.append((name, error))
        except _OF_A_TABLE as error:
            self.failed.append(FailedTable(name, error))
        return None

    def each[Item, Result](
        self, function: Callable[[bigquery.Client, Item], Result], items: Sequence[Item], name_of: Callable[[Item], str]
    ) -> list[tuple[Item, Result]]:
        """Call the function for the items by a few threads, and return those that do not fail, with their results."""
        results = map_with_clients(
            lambda client, item: self.result(name_of(item), lambda: function(client, item)), items, self.client.project
        )
        return [(item, result) for item, result in zip(items, results, strict=True) if result is not None]


def plan_selection(
    config: RunConfig,
    selection: TableSelection,
    client: bigquery.Client,
    staging_root: str,
    started_at: datetime,
    execution: str = "",
    *,
    holds_reads: bool = False,
) -> RunPlan:
    """Plan a run of the tables that `selection` chooses. The plan names the tables that cannot be planned.

    Args:
        holds_reads: whether the caller keeps what reads need while they last (`HoldsReads`).

    Raises:
        ConfigError: parameters of the run or of tables are wrong; holds the problems of all tables.
        SourceError: the source cannot be reached or rejects a request about all tables.
        PublishError: BigQuery rejected a request about all tables.
        SyncError: no table can be planned; the error of the first.
    """
    connections = config.max_source_connections
    run = Run(new_run_id(started_at), started_at, client.project, staging_root, connections, execution)
    lookups, attempts = Lookups(client, run), _Attempts(client)
    with contextlib.ExitStack() as stack:
        catalog = stack.enter_context(open_catalog(config.data_source, config.source, config.max_retries, selection))
        notes = _left_out(selection, catalog)
        tables = _configured(config.data_source, selection, catalog, stack, attempts)
        if holds_reads and len(tables) == 1 and isinstance(tables[0].session, PlansHeldReads):
            # Of many tables, each would take a connection.
            tables = [replace(tables[0], session=tables[0].session.holding())]
        starts = _starts(client, tables, attempts)

        def plan(thread_client: bigquery.Client, item: tuple[_Table, TableStart]) -> TableSync:
            table, start = item
            return plan_table(thread_client, table.session, start, lookups, run, number=0)

        planned = attempts.each(plan, starts, lambda item: item[0].name)
    if not planned:
        raise attempts.failed[0].error if attempts.failed else attempts.empty[0][1]
    numbered = tuple(replace(table, number=number) for number, (_, table) in enumerate(planned))
    notes += [f"{name} is not synced: {error}" for name, error in attempts.empty]
    return RunPlan(run, numbered, tuple(attempts.failed), tuple(notes), config.warnings)


def _left_out(selection: TableSelection, catalog: SourceCatalog) -> list[str]:
    """Return a note for each reason why wildcards leave tables out."""
    names: dict[str, list[str]] = defaultdict(list)
    for table in selection.left_out(catalog.tables):
        names[table.left_out].append(str(table.name))
    return [f"not chosen by a wildcard: {named(tables, _MAX_NAMES)}: {reason}" for reason, tables in names.items()]


def _configured(
    data_source: str,
    selection: TableSelection,
    catalog: SourceCatalog,
    stack: contextlib.ExitStack,
    attempts: _Attempts,
) -> list[_Table]:
    """Return the chosen tables. A query of a tables file has a connection of its own, which `stack` closes.

    Raises:
        ConfigError: the parameters of tables are wrong; holds the problems of all.
    """
    choice = selection.choose(catalog.tables)
    attempts.failed += [FailedTable(name, error) for name, error in choice.failed.items()]
    configs: list[tuple[ChosenTable, _Configured]] = []
    problems: list[str] = []
    for chosen in choice.tables:
        try:
            configs.append((chosen, _configure(data_source, chosen)))
        except ConfigError as error:
            prefix = f"{chosen.name}: "
            problems += [text if text.startswith(prefix) else f"{prefix}{text}" for text in error.problems]
    if problems:
        raise ConfigError(problems)

    def opened(chosen: ChosenTable, config: SyncConfig) -> SourceSession:
        if chosen.table is None:
            return stack.enter_context(open_source(config).connect())
        return catalog.session(chosen.table, config)

    tables = []
    for chosen, (config, reason, notes) in configs:
        session = attempts.result(chosen.name, functools.partial(opened, chosen, config))
        if session is not None:
            size = chosen.table.size if chosen.table is not None else None
            tables.append(_Table(chosen.name, config, session, size, reason, notes))
    return tables


# A table's configuration, why it has its mode, and notes.
type _Configured = tuple[SyncConfig, str, tuple[str, ...]]


def _configure(data_source: str, chosen: ChosenTable) -> _Configured:
    """Return the configuration of a table in its mode. Raises ConfigError."""
    if chosen.table is None:
        # Given as false, it decides nothing.
        given = chosen.given if chosen.value("enable_smart_sync") else chosen.given - {"enable_smart_sync"}
        mode = mode_of_query(given, asked=chosen.value("table_mode"))
        return _checked(chosen.config(mode.implied)), mode.reason, ()
    source = declared(data_source)
    mode = mode_of(
        chosen.table,
        chosen.given,
        source.timestamp_column(chosen.value("smart_sync_timestamp_column")),
        asked=chosen.value("table_mode"),
        smart_sync=chosen.value("enable_smart_sync") if "enable_smart_sync" in chosen.given else None,
        has_own_key=source.has_own_key,
    )
    config, notes = with_allowed_names(chosen.config(mode.implied), chosen.table.columns)
    return _checked(config), mode.reason, notes


def _checked(config: SyncConfig) -> SyncConfig:
    """Return the configuration if the source accepts its parameters, without a connection. Raises ConfigError."""
    open_source(config)
    return config


def _starts(client: bigquery.Client, tables: list[_Table], attempts: _Attempts) -> list[tuple[_Table, TableStart]]:
    """Return the tables with their destinations and intervals, in order. All destinations are in one dataset."""
    if not tables:
        return []
    config = tables[0].config.destination
    dataset = destination_dataset(client, config)
    listed = listed_tables(client, f"{config.project}.{config.dataset}")

    def describe(thread_client: bigquery.Client, table: _Table) -> DestinationDescription:
        destination = table.config.destination
        may_exist = destination.table.lower() in listed
        return describe_table(thread_client, destination, dataset, may_exist=may_exist)

    described = attempts.each(describe, tables, lambda table: table.name)
    answers = _answers(client, described, dataset.location)

    def interval_of(thread_client: bigquery.Client, item: tuple[_Table, DestinationDescription]) -> PlannedInterval:
        table, destination = item
        latest, question = LatestTimestamp(), _question(table, destination)
        if question is not None:
            latest = answers.get(question.table_id) or latest_timestamp(thread_client, question, dataset.location)
        return plan_interval(table.config, table.session, destination, latest)

    starts = []
    for (table, destination), interval in attempts.each(interval_of, described, lambda item: item[0].name):
        start = TableStart(
            table.config,
            table.session.clock,
            destination,
            interval,
            table.name,
            table.size,
            table.mode_reason,
            table.notes,
        )
        starts.append((table, start))
    return starts


def _question(table: _Table, destination: DestinationDescription) -> Question | None:
    return question_of(table.config, table.session.clock, destination)


def _answers(
    client: bigquery.Client, tables: Sequence[tuple[_Table, DestinationDescription]], location: str
) -> Mapping[str, LatestTimestamp]:
    """Return the latest timestamps that can be asked together, by the ids of the tables."""
    questions = [question for item in tables if (question := _question(*item)) is not None and question.can_be_asked]
    return latest_timestamps(client, questions, location)
