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
import enum
import itertools
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from unittest import mock

import psycopg2.errors
import pyarrow.parquet
from apache_beam.io.filesystems import FileSystems
from apache_beam.io.gcp.gcsfilesystem import GCSFileSystem
from apache_beam.pvalue import TaggedOutput
from google.api_core import exceptions
from psycopg2.extensions import connection as Connection

from sync_pipeline import failures
from sync_pipeline.errors import SourceUnavailableError, SyncError
from sync_pipeline.failures import Failure
from sync_pipeline.parameters.run_config import RunConfig
from sync_pipeline.pipeline import read_tables
from sync_pipeline.planning.lanes import Lane, lanes_of
from sync_pipeline.planning.plan import RunPlan, TableSync, WriteMode
from sync_pipeline.planning.plan_selection import plan_selection
from sync_pipeline.planning.staging_names import NO_START
from sync_pipeline.publishing.cloud_storage import delete_staged_files
from sync_pipeline.publishing.finished_splits import FinishedSplits, manifest_folder
from sync_pipeline.publishing.publish import _PublishFilesFn
from sync_pipeline.publishing.report import SyncReport
from sync_pipeline.publishing.stage_splits import StageByTable, StageSplitFn
from sync_pipeline.publishing.staged_files import StagedFile
from sync_pipeline.sources.reading import ReadSplitFn
from sync_pipeline.sources.source import ReadSplit
from tests.integration.histories import Begin, Commit, Prepare, Rollback
from tests.integration.history_sites import (
    Row,
    Site,
    Stamp,
    ViolationError,
    check,
    check_keys,
    check_present,
    check_versions,
    execute,
)
from tests.integration.kills import Intercepted, KilledError, Life

CLOCK = datetime(2025, 7, 22, tzinfo=UTC)
_LETTERS = "letters"
_PASSWORD = "reader"
_FITTING, _UNFIT = "2024-05-06", "infinity"

# Two lanes, so that each has several tables.
_PARAMETERS = {
    "data_source": "postgresql",
    "postgresql_table": "public.*",
    "max_source_connections": "2",
    "smart_sync_settle_seconds": "0",
    "max_retries": "0",
}


class Kind(enum.Enum):
    """What a table is like, and so how its rows are published; the value is its columns besides those that all have."""

    MERGED = "PRIMARY KEY (id), updated_at timestamptz"
    APPENDED = "updated_at timestamptz"
    KEYED = "PRIMARY KEY (id)"
    PLAIN = ""

    @property
    def has_stamps(self) -> bool:
        return "updated_at" in self.value

    @property
    def is_replaced(self) -> bool:
        return not self.has_stamps


# The last one does not exist at first. Rows of `clicks` that do not fit become dead letters.
TABLES: Mapping[str, Kind] = {
    "people": Kind.MERGED,
    "clicks": Kind.APPENDED,
    "prices": Kind.KEYED,
    "events": Kind.PLAIN,
    "added": Kind.MERGED,
}
WITH_LETTERS = "clicks"
# These are read in two splits.
CUT = ("people", "clicks", "events")


class Damage(enum.Enum):
    """Why a table cannot be synced."""

    UNFIT = "a value does not fit"
    COLUMN_ADDED = "it has a column more"
    COLUMN_RENAMED = "a column has another name"
    NO_RIGHT = "the user has no right to read it"

    def __repr__(self) -> str:
        return str(self)


class Trouble(enum.Enum):
    """What happens to a step of a run."""

    LOST = "the connection is lost after the rows of a split were read"
    TERMINATED = "the server ends all connections before a split"
    KILLED = "the process ends after the rows of a split were read"
    KILLED_BEFORE_MANIFEST = "the process ends when a split is staged"
    KILLED_AFTER_MANIFEST = "the process ends when a split is known to be staged"
    KILLED_AT_CALL = "the process ends after so many calls of Google's services"
    REFUSED = "a call fails"
    REFUSED_AFTER = "a call takes effect, and its answer is lost"

    def __repr__(self) -> str:
        return str(self)


READ_TROUBLES = (
    Trouble.LOST,
    Trouble.TERMINATED,
    Trouble.KILLED,
    Trouble.KILLED_BEFORE_MANIFEST,
    Trouble.KILLED_AFTER_MANIFEST,
)
PUBLISH_TROUBLES = (Trouble.KILLED_AT_CALL, Trouble.REFUSED, Trouble.REFUSED_AFTER)


@dataclass(frozen=True)
class Insert:
    table: str
    count: int = 1
    stamp: Stamp = Stamp.NOW
    transaction: int | None = None


@dataclass(frozen=True)
class Update:
    """Update one row, or all, but those that another transaction is at."""

    table: str
    row: int | None = None
    stamp: Stamp = Stamp.NOW
    transaction: int | None = None


@dataclass(frozen=True)
class Delete:
    table: str
    row: int = 0
    transaction: int | None = None


@dataclass(frozen=True)
class SetBack:
    """Stamp the rows from the future with the present."""

    table: str


@dataclass(frozen=True)
class Truncate:
    """Remove all rows; like all changes of a table not while a transaction has written to it."""

    table: str


@dataclass(frozen=True)
class Break:
    table: str
    damage: Damage
    row: int = 0


@dataclass(frozen=True)
class Mend:
    table: str


@dataclass(frozen=True)
class Create:
    """Create a table that does not exist."""

    table: str


@dataclass(frozen=True)
class Drop:
    table: str


@dataclass(frozen=True)
class DropDestination:
    """Drop a table of the destination. Whoever does that to one that Smart Sync fills has ended its runs before."""

    table: str


@dataclass(frozen=True)
class Plan:
    """Plan a run; an earlier one of this number is abandoned where it is."""

    run: int = 0
    launcher_clock: datetime = CLOCK
    has_manifests: bool = True


@dataclass(frozen=True)
class Stage:
    """Read and stage the lanes that are not staged yet; all once more if they are. With `trouble` at split `split`."""

    run: int = 0
    split: int = 0
    trouble: Trouble | None = None


@dataclass(frozen=True)
class Publish:
    """Let the publishing step run; once more if it has run before. With `trouble` at call `call`."""

    run: int = 0
    call: int = 0
    trouble: Trouble | None = None


Operation = (
    Insert
    | Update
    | Delete
    | SetBack
    | Truncate
    | Begin
    | Prepare
    | Commit
    | Rollback
    | Break
    | Mend
    | Create
    | Drop
    | DropDestination
    | Plan
    | Stage
    | Publish
)


def sync(run: int = 0) -> tuple[Operation, ...]:
    """Return the steps of a whole run."""
    return Plan(run), Stage(run), Publish(run)


@dataclass
class _Table:
    """A table of the source.

    Attributes:
        rows: how many rows it was ever given.
        damage: why it cannot be synced now.
        touched_at: the number of the operation that did something to the table itself, here or in the destination.
        is_there: it exists.
    """

    kind: Kind
    rows: int = 0
    damage: set[Damage] = field(default_factory=set)
    touched_at: int = 0
    is_there: bool = False

    def create_sql(self, name: str) -> str:
        columns = f"id int, version int NOT NULL, note text, day date DEFAULT '{_FITTING}'"
        return f"CREATE TABLE {name} ({', '.join(filter(None, (columns, self.kind.value)))})"


@dataclass(frozen=True)
class _SourceRow:
    """Attributes: values: id, version, note, updated_at (None if the table has none) and day, if it fits."""

    values: Row
    fits: bool


# By table.
_Source = Mapping[str, list[_SourceRow]]
_Destinations = Mapping[str, Counter[Row]]


@dataclass
class _Run:
    """A run under way.

    Attributes:
        began_at: the number of the operation that planned it.
        emitted: by the number of the lane, what its last attempt emitted.
        sources: what the tables had at each attempt to read them.
        staged, letters: by table, the rows and dead letters to publish; empty until all lanes are staged.
        failed: the tables whose read failed.
        is_publishing: the publishing step has begun.
        done: the tables that were seen to be published; of `unclear` nobody knows.
        has_ended: the last attempt of the publishing step ended by itself.
    """

    plan: RunPlan
    has_manifests: bool
    began_at: int
    emitted: dict[int, list[tuple[int, StagedFile | Failure]]] = field(default_factory=dict)
    sources: list[_Source] = field(default_factory=list)
    staged: dict[str, Counter[Row]] = field(default_factory=dict)
    letters: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    is_publishing: bool = False
    done: set[str] = field(default_factory=set)
    unclear: set[str] = field(default_factory=set)
    has_ended: bool = False

    @property
    def lanes(self) -> list[Lane]:
        return lanes_of(self.plan)

    @property
    def is_staged(self) -> bool:
        return len(self.emitted) == len(self.lanes)

    def elements(self) -> list[tuple[int, StagedFile | Failure]]:
        return [element for lane in self.emitted.values() for element in lane]


@dataclass
class _Outcome:
    """What an attempt of the publishing step came to."""

    reports: dict[str, SyncReport] = field(default_factory=dict)
    error: SyncError | None = None
    is_killed: bool = False
    has_met_trouble: bool = False


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
        self.tables = {name: _Table(kind) for name, kind in TABLES.items()}
        self._versions = itertools.count(1)
        self._step = 0
        self._runs: dict[int, _Run] = {}
        # All runs that were planned, the abandoned ones as well.
        self._planned: list[_Run] = []
        # What the destinations have, as nobody else writes to them.
        self._published: dict[str, Counter[Row]] = {name: Counter() for name in TABLES}
        for name in list(TABLES)[:-1]:
            self._create(name)

    def do(self, operation: Operation) -> None:
        self._step += 1
        world = self.world
        match operation:
            case Insert() | Update() | Delete() | SetBack():
                if self.tables[operation.table].is_there:
                    self._do_to_rows(operation)
            case Begin(transaction):
                world.transaction(transaction).begin()
            case Prepare(transaction):
                world.transaction(transaction).prepare()
            case Commit(transaction):
                world.transaction(transaction).end("COMMIT")
            case Rollback(transaction):
                world.transaction(transaction).end("ROLLBACK")
            case Truncate(table):
                self._alter(table, f"TRUNCATE {table}")
            case Break(table, damage, row):
                self._break(table, damage, row)
            case Mend(table):
                self._mend(table)
            case Create(table):
                if not self.tables[table].is_there:
                    self._create(table)
            case Drop(table):
                if self._alter(table, f"DROP TABLE {table}"):
                    self.tables[table].is_there = False
                    self.tables[table].damage.clear()
            case DropDestination(table):
                self._drop_destination(table)
            case Plan(run, launcher_clock, has_manifests):
                self._plan(run, launcher_clock, has_manifests=has_manifests)
            case Stage(run, split, trouble):
                self._stage(run, split, trouble)
            case Publish(run, call, trouble):
                self._publish(run, call, trouble)

    # The source

    def _do_to_rows(self, operation: Insert | Update | Delete | SetBack) -> None:
        name = operation.table
        table = self.tables[name]
        match operation:
            case Insert(_, count, stamp, transaction):
                ids = list(range(table.rows + 1, table.rows + count + 1))
                table.rows += count
                if table.kind is Kind.PLAIN:
                    # Two rows that are alike.
                    ids = [ids[0], *ids]
                columns, values = self._written(name, stamp)
                self._write(
                    f"INSERT INTO {name} (id, {', '.join(columns)}) SELECT id, {', '.join(values)} "
                    "FROM unnest(%(ids)s) AS id",
                    transaction,
                    ids=ids,
                )
            case Update(_, row, stamp, transaction):
                self._update(name, "true" if row is None else f"id = {self._id(name, row)}", stamp, transaction)
            case SetBack():
                if table.kind.has_stamps:
                    self._update(name, "updated_at > now()", Stamp.NOW, None)
            case Delete(_, row, transaction):
                self._write(f"DELETE FROM {name} WHERE {self._free(name, f'id = {self._id(name, row)}')}", transaction)

    def _id(self, table: str, row: int) -> int:
        rows = self.tables[table].rows
        return 1 + row % rows if rows else 0

    def _written(self, table: str, stamp: Stamp) -> tuple[list[str], list[str]]:
        """Return the columns that every write sets, and their expressions."""
        with_stamp = self.tables[table].kind.has_stamps
        columns = ["version", "note", *(["updated_at"] if with_stamp else [])]
        return columns, ["%(version)s", "%(note)s", *([stamp.value] if with_stamp else [])]

    def _update(self, table: str, which: str, stamp: Stamp, transaction: int | None, *more: str) -> None:
        columns, values = self._written(table, stamp)
        settings = [*(f"{column} = {value}" for column, value in zip(columns, values, strict=True)), *more]
        self._write(f"UPDATE {table} SET {', '.join(settings)} WHERE {self._free(table, which)}", transaction)

    def _free(self, table: str, which: str) -> str:
        # Nobody waits for a lock: the one who holds it is played by the same thread.
        return f"ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE {which} FOR UPDATE SKIP LOCKED))"

    def _write(self, statement: str, transaction: int | None, **values: Any) -> None:
        connection = self.world.writer(transaction)
        if connection is not None:
            version = next(self._versions)
            execute(connection, statement, {**values, "version": version, "note": f"note {version}"})

    def _alter(self, table: str, statement: str) -> bool:
        """Change the table itself, and return whether it was: not while a transaction has written to it."""
        if not self.tables[table].is_there:
            return False
        try:
            execute(self.world.connection, statement)
        except psycopg2.errors.LockNotAvailable:
            return False
        self.tables[table].touched_at = self._step
        return True

    def _create(self, name: str) -> None:
        table = self.tables[name]
        execute(self.world.connection, table.create_sql(name))
        table.is_there, table.touched_at = True, self._step

    def _break(self, name: str, damage: Damage, row: int) -> None:
        table = self.tables[name]
        if not table.is_there or (damage is Damage.COLUMN_RENAMED and name not in self._there()):
            # Else the destination would get the column with the other name, which nobody mends.
            return
        match damage:
            case Damage.UNFIT:
                day = "day" if Damage.COLUMN_RENAMED not in table.damage else "other_day"
                which = f"id = {self._id(name, row)}"
                self._update(name, which, Stamp.NOW, None, f"{day} = '{_UNFIT}'")
                if name == WITH_LETTERS:
                    return
            case Damage.COLUMN_ADDED if damage not in table.damage:
                if not self._alter(name, f"ALTER TABLE {name} ADD extra int"):
                    return
            case Damage.COLUMN_RENAMED if damage not in table.damage:
                if not self._alter(name, f"ALTER TABLE {name} RENAME day TO other_day"):
                    return
            case Damage.NO_RIGHT:
                if not self._alter(name, f"REVOKE SELECT ON {name} FROM {self.world.reader}"):
                    return
        table.damage.add(damage)
        table.touched_at = self._step

    def _mend(self, name: str) -> None:
        table = self.tables[name]
        if not table.is_there:
            return
        statements = {
            Damage.COLUMN_RENAMED: f"ALTER TABLE {name} RENAME other_day TO day",
            Damage.COLUMN_ADDED: f"ALTER TABLE {name} DROP extra",
            Damage.NO_RIGHT: f"GRANT SELECT ON {name} TO {self.world.reader}",
        }
        for damage, statement in statements.items():
            if damage in table.damage and self._alter(name, statement):
                table.damage.remove(damage)
        if Damage.COLUMN_RENAMED not in table.damage:
            self._update(name, f"day = '{_UNFIT}'", Stamp.NOW, None, f"day = '{_FITTING}'")
            unfit = execute(self.world.connection, f"SELECT FROM {name} WHERE day = '{_UNFIT}'")
            if not unfit:
                table.damage.discard(Damage.UNFIT)
        table.touched_at = self._step

    def _source(self) -> dict[str, list[_SourceRow]]:
        """Return the rows of the tables that exist."""
        rows = {}
        for name, table in self.tables.items():
            if table.is_there:
                day = "other_day" if Damage.COLUMN_RENAMED in table.damage else "day"
                stamp = "updated_at" if table.kind.has_stamps else "NULL::timestamptz"
                found = execute(
                    self.world.connection,
                    f"SELECT id, version, note, {stamp}, CASE WHEN isfinite({day}) THEN {day} END, isfinite({day}) "
                    f"FROM {name}",
                )
                rows[name] = [_SourceRow(row[:-1], row[-1]) for row in found]
        return rows

    # The destination

    def _there(self) -> set[str]:
        """Return the tables that the destination has."""
        found = (table.table_id for table in self.world.client.list_tables(self.world.dataset))
        return {name.removeprefix(self.prefix) for name in found if name.startswith(self.prefix)} & self.tables.keys()

    def _destinations(self) -> dict[str, Counter[Row]]:
        """Return the rows of all tables; a table that does not exist has none."""
        rows: dict[str, Counter[Row]] = {name: Counter() for name in self.tables}
        selects = [
            f"SELECT '{name}', id, version, note, "
            f"{'updated_at' if self.tables[name].kind.has_stamps else 'CAST(NULL AS TIMESTAMP)'}, day "
            f"FROM `{self.world.dataset}.{self.prefix}{name}`"
            for name in sorted(self._there())
        ]
        if selects:
            for row in self.world.client.query_and_wait("\nUNION ALL ".join(selects)):
                name, *values = row.values()
                rows[name][tuple(values)] += 1
        return rows

    def _drop_destination(self, name: str) -> None:
        table = self.tables[name]
        if Damage.COLUMN_RENAMED in table.damage:
            return
        if not table.kind.is_replaced:
            self._runs.clear()
        self.world.client.delete_table(f"{self.world.dataset}.{self.prefix}{name}", not_found_ok=True)
        self._published = {**self._published, name: Counter()}
        table.touched_at = self._step

    # Runs

    def _plan(self, number: int, launcher_clock: datetime, *, has_manifests: bool) -> _Run | None:
        assert self.config.selection is not None
        self._runs.pop(number, None)
        broken = {name for name, table in self.tables.items() if table.is_there and table.damage - {Damage.UNFIT}}
        there = {name for name, table in self.tables.items() if table.is_there}
        try:
            plan = plan_selection(self.config, self.config.selection, self.world.client, self.staging, launcher_clock)
        except SyncError as error:
            check(there <= broken, f"no table was planned, though only {sorted(broken)} cannot be: {error}")
            return None
        failed = {_table_name(failed.name): failed.error for failed in plan.failed}
        for name, error in failed.items():
            check(name in broken, f"{name} was not planned, and nothing is wrong with it: {error}")
        planned = {_table_name(table.source_table) for table in plan.tables}
        unreadable = {name for name in broken if Damage.NO_RIGHT in self.tables[name].damage}
        # A wildcard leaves out what the user may not read.
        left_out = {name for name in unreadable if any(f".{name} is not synced" in note for note in plan.notes)}
        check(planned == there - failed.keys() - left_out, f"of {sorted(there)} {sorted(planned)} were planned")
        modes = {name: WriteMode.MERGE for name in planned if self.tables[name].kind is Kind.MERGED}
        modes |= {name: WriteMode.APPEND for name in planned if self.tables[name].kind is Kind.APPENDED}
        for table in plan.tables:
            name = _table_name(table.source_table)
            check(table.write_mode is modes.get(name, WriteMode.TRUNCATE), f"{name}: {table.write_mode}")
        run = _Run(replace(plan, tables=tuple(map(_cut, plan.tables))), has_manifests, self._step)
        self._runs[number] = run
        self._planned.append(run)
        return run

    def _may_fail(self, run: _Run, name: str) -> bool:
        """Return whether anything was wrong with the table since the run was planned."""
        table = self.tables[name]
        return bool(table.damage) or table.touched_at >= run.began_at

    def _stage(self, number: int, split: int, trouble: Trouble | None) -> None:
        run = self._runs.get(number)
        if run is None or run.is_publishing:
            return
        # Another process than that of the last attempt.
        failures._FAILED.clear()
        run.sources.append(self._source())
        if run.is_staged:
            run.emitted.clear()
        plan = run.plan
        finished = FinishedSplits(manifest_folder(plan)) if run.has_manifests else None
        read = read_tables(plan.tables, plan.run.id)
        fns = {table.number: StageSplitFn(read.fns[table.number], table, finished) for table in plan.tables}
        with self._read_trouble(split, trouble):
            for index, lane in enumerate(run.lanes):
                if index in run.emitted:
                    continue
                try:
                    step = StageByTable(fns, read.reads.values(), plan.run.id, finished)
                    run.emitted[index] = _bundle(step, lane.splits)
                except (KilledError, SourceUnavailableError) as error:
                    check(trouble is not None, f"the read failed: {error!r}")
                    return
        self._check_staged(run)

    @contextlib.contextmanager
    def _read_trouble(self, number: int, trouble: Trouble | None) -> Iterator[None]:
        process, keep = ReadSplitFn.process, FinishedSplits.keep
        reads, kept = itertools.count(), itertools.count()

        def read(fn: ReadSplitFn, split: ReadSplit) -> Iterator[Any]:
            is_meant = next(reads) == number
            if is_meant and trouble is Trouble.TERMINATED:
                self._end_connections()
            yield from process(fn, split)
            if is_meant and trouble is Trouble.LOST:
                raise SourceUnavailableError("the connection was lost")
            if is_meant and trouble is Trouble.KILLED:
                raise KilledError

        def keep_manifest(finished: FinishedSplits, *arguments: Any) -> None:
            is_meant = next(kept) == number
            if is_meant and trouble is Trouble.KILLED_BEFORE_MANIFEST:
                raise KilledError
            keep(finished, *arguments)
            if is_meant and trouble is Trouble.KILLED_AFTER_MANIFEST:
                raise KilledError

        with mock.patch.object(ReadSplitFn, "process", read), mock.patch.object(FinishedSplits, "keep", keep_manifest):
            yield

    def _end_connections(self) -> None:
        execute(
            self.world.connection,
            "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE usename = %(user)s",
            {"user": self.world.reader},
        )

    def _check_staged(self, run: _Run) -> None:
        """Compare what is staged with what the source had at the attempts to read it."""
        names = {table.number: _table_name(table.source_table) for table in run.plan.tables}
        run.failed = {names[number] for number, element in run.elements() if isinstance(element, Failure)}
        for number, element in run.elements():
            if isinstance(element, Failure):
                name = names[number]
                check(self._may_fail(run, name), f"{name} could not be read, and nothing was wrong: {element.error}")
        for table in run.plan.tables:
            name = names[table.number]
            run.staged[name], run.letters[name] = _staged_of(run, table, self.tables[name].kind)
            if name in run.failed:
                continue
            states = [source.get(name, []) for source in run.sources]
            wanted = [_fitting(state, table, can_be_read=True) for state in states]
            possible = [_fitting(state, table, can_be_read=False) for state in states]
            missing = _common(wanted) - run.staged[name]
            check(not missing, f"{name}: rows that were not staged: {sorted(missing, key=str)}")
            strange = run.staged[name] - _any(possible)
            check(not strange, f"{name}: rows that the source did not have: {sorted(strange, key=str)}")
            unfit = _common([_unfit(state, table) for state in states])
            check(set(unfit) <= run.letters[name], f"{name}: rows that are no dead letters: {unfit}")

    def _publish(self, number: int, call: int, trouble: Trouble | None) -> None:
        run = self._runs.get(number)
        if run is None or not run.is_staged:
            return
        run.is_publishing = True
        before, outcome = self._published, self._attempt_to_publish(run, call, trouble)
        self._published = self._destinations()
        self._judge(run, before, self._published, outcome)

    def _attempt_to_publish(self, run: _Run, number: int, trouble: Trouble | None) -> _Outcome:
        outcome = _Outcome()
        calls = itertools.count()
        life = Life(number)

        def call(function: Callable[[], Any]) -> Any:
            if trouble is Trouble.KILLED_AT_CALL:
                return life.call(function)
            if trouble is None or next(calls) != number:
                return function()
            outcome.has_met_trouble = True
            if trouble is Trouble.REFUSED_AFTER:
                function()
            raise exceptions.RetryError("Timeout of 120.0s exceeded", exceptions.ServiceUnavailable("try later"))

        step = _PublishFilesFn(run.plan)
        with self.world.calling(call):
            try:
                for output in step.process(None, run.elements()):
                    if isinstance(output, TaggedOutput):
                        outcome.error = output.value.error
                    else:
                        outcome.reports[output.table_id.rpartition(".")[2].removeprefix(self.prefix)] = output
            except SyncError as error:
                outcome.error = error
            except KilledError:
                outcome.is_killed = True
        return outcome

    def _judge(self, run: _Run, before: _Destinations, after: _Destinations, outcome: _Outcome) -> None:
        """Check what an attempt of the publishing step has done."""
        names = {_table_name(table.source_table): table for table in run.plan.tables}
        for name in self.tables.keys() - names.keys():
            check(before[name] == after[name], f"{name} is not in the plan, and has changed")
        is_transient = outcome.error is not None and outcome.error.is_transient
        unexplained = []
        for name, table in names.items():
            complete = self._complete(name, before[name], run.staged[name])
            is_as_before, is_complete = after[name] == before[name], after[name] == complete
            shown = f"{name}: {_shown(before[name])} became {_shown(after[name])}, not {_shown(complete)}"
            report = outcome.reports.get(name)
            if report is not None:
                check(name not in run.failed, f"{name} could not be read, and is published: {report}")
                skipped = report.outcome.startswith("skipped")
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

    def _complete(self, name: str, before: Counter[Row], staged: Counter[Row]) -> Counter[Row]:
        """Return the rows of a table when what is staged is published."""
        match self.tables[name].kind:
            case Kind.MERGED:
                rows = {row[0]: row for row in before}
                for new in staged:
                    old = rows.get(new[0])
                    if old is None or _replaces(new[3], old[3]):
                        rows[new[0]] = new
                return Counter(rows.values())
            case Kind.APPENDED:
                return before + staged
        return staged

    def _check_letters(self, run: _Run, table: TableSync) -> None:
        letters = run.letters[_table_name(table.source_table)]
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
        self._step += 1
        world.end_transactions("COMMIT")
        for name in self.tables:
            self._mend(name)
        # Everything before is forgiven.
        self._step += 1
        world.wait_until_quiet()
        (earliest_end,) = execute(world.connection, "SELECT clock_timestamp()")[0]
        if not any(table.is_there for table in self.tables.values()):
            return 0
        run = self._plan(-1, CLOCK, has_manifests=True)
        assert run is not None
        for table in run.plan.tables:
            if table.interval is not None and table.interval.end < earliest_end:
                raise ViolationError(f"with nobody about the end is {table.interval.end}, before {earliest_end}")
        self._stage(-1, 0, None)
        self._publish(-1, 0, None)
        source, destination = self._source(), self._published
        for table in run.plan.tables:
            name = _table_name(table.source_table)
            self._compare(name, table, [row.values for row in source[name]], [*destination[name].elements()])
        self._check_left_over(run)
        return sum(map(len, source.values()))

    def _compare(self, name: str, table: TableSync, source: Sequence[Row], destination: Sequence[Row]) -> None:
        end = table.interval.end if table.interval is not None else None
        match self.tables[name].kind:
            case Kind.MERGED:
                # Rows that the source has deleted remain.
                check_keys(destination, range(1, self.tables[name].rows + 1))
                check_present([row for row in source if _is_in_time(row, end, null=True)], destination, identity=1)
            case Kind.APPENDED:
                check_versions(destination)
                late = [row for row in destination if not _is_in_time(row, end, null=False)]
                check(not late, f"rows that no interval contains: {late}")
                check_present([row for row in source if _is_in_time(row, end, null=False)], destination, identity=2)
            case Kind.KEYED | Kind.PLAIN:
                differences = [*(Counter(source) - Counter(destination)), *(Counter(destination) - Counter(source))]
                check(not differences, f"{name} differs from its source: {differences}")

    def _check_left_over(self, last: _Run) -> None:
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
        execute(world.connection, f"DROP TABLE IF EXISTS {', '.join(self.tables)}")
        for table in world.client.list_tables(world.dataset):
            world.client.delete_table(table.reference, not_found_ok=True)
        if any(not run.has_ended for run in self._planned):
            delete_staged_files(self.staging)


def _table_name(source_table: str) -> str:
    return source_table.removeprefix("public.")


def _cut(table: TableSync) -> TableSync:
    """Return the plan of a table that is read in two splits, if it is one of those."""
    name = _table_name(table.source_table)
    if name not in CUT:
        return table
    (split,) = table.read.splits
    halves = [f"SELECT * FROM ({split.statement}) AS s WHERE id % 2 = {rest}" for rest in (0, 1)]
    splits = tuple(ReadSplit(index, 2, half) for index, half in enumerate(halves, 1))
    return replace(table, read=replace(table.read, splits=splits))


def _bundle(step: StageByTable, splits: Iterable[tuple[int, ReadSplit]]) -> list[tuple[int, StagedFile | Failure]]:
    """Let a bundle run, and return what it emits."""
    emitted: list[Any] = []
    step.setup()
    try:
        step.start_bundle()
        for element in splits:
            emitted += step.process(element)
        emitted += [windowed.value for windowed in step.finish_bundle()]
    finally:
        step.teardown()
    return [output.value if isinstance(output, TaggedOutput) else output for output in emitted]


def _staged_of(run: _Run, table: TableSync, kind: Kind) -> tuple[Counter[Row], set[tuple[str, str]]]:
    """Return the rows of the files that were emitted for a table, and its dead letters by id and version."""
    rows: Counter[Row] = Counter()
    letters = set()
    for number, element in run.elements():
        if number != table.number or isinstance(element, Failure):
            continue
        with FileSystems.open(element.uri) as file:
            values = pyarrow.parquet.read_table(file).to_pylist()
        if element.is_dead_letters:
            texts = [json.loads(value["source_row"]) for value in values]
            letters |= {(text["id"], text["version"]) for text in texts}
        else:
            rows.update((v["id"], v["version"], v["note"], v.get("updated_at"), v["day"]) for v in values)
    return rows, letters


def _fitting(state: Collection[_SourceRow], table: TableSync, *, can_be_read: bool) -> Counter[Row]:
    """Return the rows of a table that fit: those that the run had to read, or all that it might have read."""
    after = table.interval.latest if table.interval is not None and can_be_read else None
    rows = [row.values for row in state if row.fits and _is_in_interval(row.values, table)]
    return Counter(row for row in rows if after is None or row[3] is None or row[3] > after)


def _unfit(state: Collection[_SourceRow], table: TableSync) -> Counter[tuple[str, str]]:
    latest = table.interval.latest if table.interval is not None else None
    rows = [row.values for row in state if not row.fits and _is_in_interval(row.values, table)]
    return Counter((str(row[0]), str(row[1])) for row in rows if latest is None or row[3] > latest)


def _is_in_interval(row: Row, table: TableSync) -> bool:
    return table.interval is None or _is_in_time(row, table.interval.end, null=table.write_mode is WriteMode.MERGE)


def _is_in_time(row: Row, end: datetime | None, *, null: bool) -> bool:
    return end is None or (null if row[3] is None else row[3] <= end)


def _replaces(new: datetime | None, old: datetime | None) -> bool:
    return old is None or new is None or new >= old or old > datetime.now(UTC)


def _common[Key](states: Sequence[Counter[Key]]) -> Counter[Key]:
    common = states[0]
    for state in states[1:]:
        common &= state
    return common


def _any[Key](states: Sequence[Counter[Key]]) -> Counter[Key]:
    together: Counter[Key] = Counter()
    for state in states:
        together |= state
    return together


def _shown(rows: Counter[Row]) -> str:
    return "{" + ", ".join(f"{row[0]}v{row[1]}" for row in sorted(rows.elements(), key=str)) + "}"
