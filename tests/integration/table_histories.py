"""Histories of several tables: one run syncs them all, each in the mode that it implies, and some of them fail.

The operations are those of `histories.py`, for a table each, and more: tables break and are mended, appear and
disappear, and the steps of a run fail, or end with their process, at any split and at any call. A transaction may write
to several tables.

What must hold at every step of a run:

- A table that cannot be planned, read or published has a reason: somebody did something to it. It keeps no other table
  from being planned, read or published.
- What is staged of a table is what its source had while it was read.
- After a publishing step each table is as it was, or has exactly the rows that the step had to publish, never some of
  them. A table that failed is as it was, a table that was reported has the rows, and no other table has changed.
- A step that has ended by itself leaves nothing of its run behind.

At the end, when all is committed and mended, and one more run was made: it has published every table. A merged table
has the present rows of its source, and no key twice; a table that is appended to has each of them once; one that is
replaced equals its source. Of earlier runs only that is left which no later run may remove: what was staged by one that
was killed or given up, to replace a table, or from a timestamp that nobody has passed.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from unittest import mock

from apache_beam.io.filesystems import FileSystems
from apache_beam.io.gcp.gcsfilesystem import GCSFileSystem
from psycopg2.extensions import connection as Connection

from sync_pipeline.errors import SourceUnavailableError, SyncError
from sync_pipeline.parameters.run_config import RunConfig
from sync_pipeline.planning.plan import TableSync, WriteMode
from sync_pipeline.planning.plan_selection import plan_selection
from sync_pipeline.planning.staging_names import NO_START
from sync_pipeline.publishing.cloud_storage import delete_staged_files
from tests.integration.histories import Begin, Commit, Prepare, Rollback
from tests.integration.history_sites import (
    Row,
    Site,
    ViolationError,
    check,
    check_keys,
    check_present,
    check_versions,
    execute,
)
from tests.integration.kills import Intercepted, KilledError
from tests.integration.table_operations import (
    CLOCK,
    TABLES,
    WITH_LETTERS,
    Break,
    Create,
    Damage,
    Delete,
    Drop,
    DropDestination,
    Insert,
    Kind,
    Mend,
    Operation,
    Plan,
    Publish,
    SetBack,
    Stage,
    Trouble,
    Truncate,
    Update,
)
from tests.integration.table_runs import (
    PublishOutcome,
    TableRun,
    cut,
    is_in_time,
    published_rows,
    read_trouble,
    shown_rows,
    table_name,
)
from tests.integration.table_sources import SourceTables

_LETTERS = "letters"
_PASSWORD = "reader"

# Two lanes, so that each has several tables.
_PARAMETERS = {
    "data_source": "postgresql",
    "postgresql_table": "public.*",
    "max_source_connections": "2",
    "smart_sync_settle_seconds": "0",
    "max_retries": "0",
}


@dataclass
class TableWorld(Site):
    """A database whose tables are made for each history. A user that may only read them syncs them."""

    publishing_threads: int = 1
    _client: Any = None

    @property
    def reader(self) -> str:
        return f"{self.database}_reader"

    @property
    def tables_file(self) -> str:
        return f"{self.staging}-tables.yaml"

    def prepare(self) -> None:
        execute(
            self.connection,
            f"CREATE ROLE {self.reader} LOGIN PASSWORD '{_PASSWORD}'; GRANT pg_read_all_stats TO {self.reader}; "
            f"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {self.reader}; SET lock_timeout = '20ms'",
        )
        letters = f"{self.endpoints.project}.{self.dataset}.{_LETTERS}"
        entry = {
            "postgresql_table": f"public.{WITH_LETTERS}",
            "enable_smart_sync": True,
            "dead_letter_table": letters,
        }
        with FileSystems.create(self.tables_file) as file:
            file.write(json.dumps({"tables": [entry]}).encode())

    def remove_users(self, administrator: Connection) -> None:
        execute(administrator, f"DROP ROLE {self.reader}")

    def config(self, prefix: str) -> RunConfig:
        endpoints = self.endpoints
        return RunConfig.from_parameters(
            {
                **_PARAMETERS,
                "postgresql_host": endpoints.postgresql_host,
                "postgresql_port": str(endpoints.postgresql_port),
                "postgresql_database": self.database,
                "postgresql_username": self.reader,
                "postgresql_password": _PASSWORD,
                "tables_file": self.tables_file,
                "destination_bigquery_project": endpoints.project,
                "destination_bigquery_dataset": self.dataset,
                "destination_bigquery_table": f"{prefix}{{table}}",
            }
        )

    def play(self, history: Iterable[Operation]) -> int:
        """Play a history from new tables to its last run, and return how many rows were compared.

        Raises ViolationError where anything is not what it must be.
        """
        self._client = self.client
        with (
            mock.patch("sync_pipeline.bigquery_api.threads.open_client", self._opened),
            mock.patch("sync_pipeline.bigquery_api.threads.THREADS", 1),
            mock.patch("sync_pipeline.publishing.publish.THREADS", self.publishing_threads),
            # BigQuery's limits on changes of a table are not the sandbox's.
            mock.patch("sync_pipeline.publishing.dead_letters.wait_to_change"),
        ):
            played = _Played(self, f"h{next(self.numbers)}_")
            try:
                for operation in history:
                    played.do(operation)
                return played.finish()
            finally:
                self.end_transactions("ROLLBACK")
                played.empty()

    def _opened(self, _project: str) -> Any:
        return self._client

    @contextlib.contextmanager
    def calling(self, call: Callable[[Callable[[], Any]], Any]) -> Iterator[None]:
        """Let `call` make the calls of BigQuery and Cloud Storage."""
        storage = GCSFileSystem._gcsIO(None)
        self._client = Intercepted(self.client, call)
        try:
            with mock.patch.object(GCSFileSystem, "_gcsIO", return_value=Intercepted(storage, call)):
                yield
        finally:
            self._client = self.client


class _Played:
    """One history while it is played."""

    def __init__(self, world: TableWorld, prefix: str) -> None:
        self.world = world
        self.prefix = prefix
        self.staging = f"{world.staging}/{prefix}/"
        self.config = world.config(prefix)
        self.tables = SourceTables(world, world.reader)
        self._runs: dict[int, TableRun] = {}
        # All runs that were planned, the abandoned ones as well.
        self._planned: list[TableRun] = []
        # What the destinations have, as nobody else writes to them.
        self._published: dict[str, Counter[Row]] = {name: Counter() for name in TABLES}

    def do(self, operation: Operation) -> None:
        self.tables.step += 1
        world = self.world
        match operation:
            case Insert() | Update() | Delete() | SetBack():
                self.tables.write(operation)
            case Begin(transaction):
                world.transaction(transaction).begin()
            case Prepare(transaction):
                world.transaction(transaction).prepare()
            case Commit(transaction):
                world.transaction(transaction).end("COMMIT")
            case Rollback(transaction):
                world.transaction(transaction).end("ROLLBACK")
            case Truncate(table):
                self.tables.alter(table, f"TRUNCATE {table}")
            case Break(table, damage, row):
                self.tables.damage(table, damage, row, self._there())
            case Mend(table):
                self.tables.mend(table)
            case Create(table):
                self.tables.create(table)
            case Drop(table):
                self.tables.drop(table)
            case DropDestination(table):
                self._drop_destination(table)
            case Plan(run, launcher_clock, has_manifests):
                self._plan(run, launcher_clock, has_manifests=has_manifests)
            case Stage(run, split, trouble):
                self._stage(run, split, trouble)
            case Publish(run, call, trouble):
                self._publish(run, call, trouble)

    # The destination

    def _there(self) -> set[str]:
        """Return the tables that the destination has."""
        found = (table.table_id for table in self.world.client.list_tables(self.world.dataset))
        return {name.removeprefix(self.prefix) for name in found if name.startswith(self.prefix)} & TABLES.keys()

    def _destinations(self) -> dict[str, Counter[Row]]:
        """Return the rows of all tables; a table that does not exist has none."""
        return {name: Counter(self._rows(name)) for name in TABLES}

    def _rows(self, name: str) -> Iterator[Row]:
        stamp = ("updated_at",) if TABLES[name].has_stamps else ()
        table_id = f"{self.world.endpoints.project}.{self.world.dataset}.{self.prefix}{name}"
        for key, version, note, day, *stamps in (
            self.world.rows(table_id, ("id", "version", "note", "day", *stamp)) or ()
        ):
            yield key, version, note, stamps[0] if stamps else None, day

    def _drop_destination(self, name: str) -> None:
        table = self.tables[name]
        if Damage.COLUMN_RENAMED in table.damage:
            return
        if not TABLES[name].is_replaced:
            self._runs.clear()
        self.world.client.delete_table(f"{self.world.dataset}.{self.prefix}{name}", not_found_ok=True)
        self._published = {**self._published, name: Counter()}
        table.touched_at = self.tables.step

    # Runs

    def _plan(self, number: int, launcher_clock: datetime, *, has_manifests: bool) -> TableRun | None:
        assert self.config.selection is not None
        self._runs.pop(number, None)
        there = self.tables.there
        broken = {name for name in there if self.tables[name].damage - {Damage.UNFIT}}
        try:
            plan = plan_selection(self.config, self.config.selection, self.world.client, self.staging, launcher_clock)
        except SyncError as error:
            check(there <= broken, f"no table was planned, though only {sorted(broken)} cannot be: {error}")
            return None
        failed = {table_name(failed.name): failed.error for failed in plan.failed}
        for name, error in failed.items():
            check(name in broken, f"{name} was not planned, and nothing is wrong with it: {error}")
        planned = {table_name(table.source_table) for table in plan.tables}
        unreadable = {name for name in broken if Damage.NO_RIGHT in self.tables[name].damage}
        # A wildcard leaves out what the user may not read.
        notes = [note for note in plan.notes if note.startswith("not chosen by a wildcard: ")]
        left_out = {name for name in unreadable if any(re.search(rf"\.{name}\b", note) for note in notes)}
        check(planned == there - failed.keys() - left_out, f"of {sorted(there)} {sorted(planned)} were planned")
        modes = {name: WriteMode.MERGE for name in planned if TABLES[name] is Kind.MERGED}
        modes |= {name: WriteMode.APPEND for name in planned if TABLES[name] is Kind.APPENDED}
        for table in plan.tables:
            name = table_name(table.source_table)
            check(table.write_mode is modes.get(name, WriteMode.TRUNCATE), f"{name}: {table.write_mode}")
        run = TableRun(replace(plan, tables=tuple(map(cut, plan.tables))), has_manifests, self.tables.step)
        self._runs[number] = run
        self._planned.append(run)
        return run

    def _may_fail(self, run: TableRun, name: str) -> bool:
        """Return whether anything was wrong with the table since the run was planned."""
        table = self.tables[name]
        return bool(table.damage) or table.touched_at >= run.began_at

    def _stage(self, number: int, split: int, trouble: Trouble | None) -> None:
        run = self._runs.get(number)
        if run is None or run.is_publishing:
            return
        try:
            with read_trouble(split, trouble, self._end_connections):
                run.stage(self.tables.rows())
        except (KilledError, SourceUnavailableError) as error:
            check(trouble is not None, f"the read failed: {error!r}")
            return
        run.check_staged(lambda name: self._may_fail(run, name))

    def _end_connections(self) -> None:
        execute(
            self.world.connection,
            "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE usename = %(user)s",
            {"user": self.world.reader},
        )

    def _publish(self, number: int, call: int, trouble: Trouble | None) -> None:
        run = self._runs.get(number)
        if run is None or not run.is_staged:
            return
        run.is_publishing = True
        before = self._published
        outcome = run.publish(call, trouble, self.world.calling)
        self._published = self._destinations()
        self._judge(run, before, self._published, outcome)

    def _judge(
        self,
        run: TableRun,
        before: Mapping[str, Counter[Row]],
        after: Mapping[str, Counter[Row]],
        outcome: PublishOutcome,
    ) -> None:
        """Check what an attempt of the publishing step has done."""
        names = run.tables
        for name in TABLES.keys() - names.keys():
            check(before[name] == after[name], f"{name} is not in the plan, and has changed")
        is_transient = outcome.error is not None and outcome.error.is_transient
        unexplained = []
        for name, table in names.items():
            complete = published_rows(name, before[name], run.staged[name])
            if name in run.superseded:
                complete = before[name]
            is_as_before, is_complete = after[name] == before[name], after[name] == complete
            shown = f"{name}: {shown_rows(before[name])} became {shown_rows(after[name])}, not {shown_rows(complete)}"
            report = outcome.reports.get(table.table_id)
            if report is not None:
                check(name not in run.failed, f"{name} could not be read, and is published: {report}")
                skipped = report.outcome.startswith("skipped")
                check(skipped or name not in run.superseded, f"{name}: the files are gone, but {report.outcome}")
                must_be_complete = not skipped and name not in run.done | run.unclear
                check(is_complete or (not must_be_complete and is_as_before), f"{report.outcome}, but {shown}")
                check(not skipped or is_as_before, f"{report.outcome}, but {shown}")
                if not skipped and not report.outcome.startswith("nothing"):
                    self._check_letters(run, table)
                run.done.add(name)
                continue
            check(is_as_before or (is_complete and name not in run.failed | run.done), f"in parts: {shown}")
            if outcome.is_killed or is_transient:
                (run.unclear if is_as_before else run.done).add(name)
            elif name not in run.done | run.unclear:
                check(is_as_before, f"failed, but {shown}")
            if not outcome.is_killed and name not in run.failed and not self._may_fail(run, name):
                unexplained.append(name)
        allowed = 1 if outcome.has_met_trouble else 0
        check(
            len(unexplained) <= allowed,
            f"{unexplained} were not published, and nothing was wrong with them: {outcome.error}",
        )
        failed = len(names) - len(outcome.reports) + len(run.plan.failed)
        check(outcome.is_killed or (outcome.error is None) == (failed == 0), f"{failed} failed: {outcome.error!r}")
        run.has_ended = not outcome.is_killed and not is_transient and not outcome.has_met_trouble
        if run.has_ended:
            left = [name for name in self._left_over() if run.plan.run.id in name]
            check(not left, f"left over by a run that has ended: {left}")

    def _check_letters(self, run: TableRun, table: TableSync) -> None:
        letters = run.letters[table_name(table.source_table)]
        if letters:
            found = self.world.client.query_and_wait(
                "SELECT JSON_VALUE(source_row, '$.id'), JSON_VALUE(source_row, '$.version') "
                f"FROM `{self.world.dataset}.{_LETTERS}` WHERE destination_table = '{table.table_id}'"
            )
            missing = letters - {tuple(row.values()) for row in found}
            check(not missing, f"dead letters that are lost: {missing}")

    def _left_over(self) -> list[str]:
        """Return the staging tables and the staged files."""
        tables = [table.table_id for table in self.world.client.list_tables(self.world.dataset)]
        files = [entry.path for entry in FileSystems.match([f"{self.staging}**"])[0].metadata_list]
        return [name for name in tables if name.startswith("_")] + files

    # The end

    def finish(self) -> int:
        """Commit and mend all, make the last run, and compare."""
        world = self.world
        self.tables.step += 1
        world.end_transactions("COMMIT")
        for name in TABLES:
            self.tables.mend(name)
        # Everything before is forgiven.
        self.tables.step += 1
        world.wait_until_quiet()
        (earliest_end,) = execute(world.connection, "SELECT clock_timestamp()")[0]
        if not self.tables.there:
            return 0
        run = self._plan(-1, CLOCK, has_manifests=True)
        assert run is not None
        for table in run.plan.tables:
            if table.interval is not None and table.interval.end < earliest_end:
                raise ViolationError(f"with nobody about the end is {table.interval.end}, before {earliest_end}")
        self._stage(-1, 0, None)
        self._publish(-1, 0, None)
        source, destination = self.tables.rows(), self._published
        for table in run.plan.tables:
            name = table_name(table.source_table)
            self._compare(name, table, [row.values for row in source[name]], [*destination[name].elements()])
        self._check_left_over(run)
        return sum(map(len, source.values()))

    def _compare(self, name: str, table: TableSync, source: Sequence[Row], destination: Sequence[Row]) -> None:
        end = table.interval.end if table.interval is not None else None
        match TABLES[name]:
            case Kind.MERGED:
                # Rows that the source has deleted remain.
                check_keys(destination, range(1, self.tables[name].rows + 1))
                check_present([row for row in source if is_in_time(row, end, null=True)], destination, identity=1)
            case Kind.APPENDED:
                check_versions(destination)
                late = [row for row in destination if not is_in_time(row, end, null=False)]
                check(not late, f"rows that no interval contains: {late}")
                check_present([row for row in source if is_in_time(row, end, null=False)], destination, identity=2)
            case Kind.KEYED | Kind.PLAIN:
                differences = [*(Counter(source) - Counter(destination)), *(Counter(destination) - Counter(source))]
                check(not differences, f"{name} differs from its source: {differences}")

    def _check_left_over(self, last: TableRun) -> None:
        """Check that nothing is left but what was staged by runs that did not end, and what no run may remove."""
        passed = {table.table_id: table for table in last.plan.tables if table.publish_id is not None}
        allowed = []
        for run in self._planned:
            if not run.has_ended:
                for table in run.plan.tables:
                    now = passed.get(table.table_id)
                    if now is None or table.staging_start == NO_START or table.staging_start >= now.staging_start:
                        allowed.append(table.staging_folder)
                    # It expires by itself if the folder was removed while the run was still at it.
                    allowed.append(table.staging_table_id.rpartition(".")[2])
        left = [name for name in self._left_over() if not name.startswith(tuple(allowed))]
        check(not left, f"left over: {left}")

    def empty(self) -> None:
        """Remove what the history has made."""
        world = self.world
        self.tables.drop_all()
        for table in world.client.list_tables(world.dataset):
            world.client.delete_table(table.reference, not_found_ok=True)
        if any(not run.has_ended for run in self._planned):
            delete_staged_files(self.staging)
