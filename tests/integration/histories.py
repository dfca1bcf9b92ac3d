"""Histories: what can happen to a source, a destination and the runs between them, and what must hold at the end.

A history is a list of operations, so a failing one can be read, cut down and kept as a test. Every write to the source
gets a version number of its own, by which rows are told apart afterwards.

After the operations the open transactions are committed and one more run is made, with nobody about. Then:

**merge**: every row of the source whose timestamp is NULL or not in the future is in the destination, as it is in the
source; there is one row for each key, and none that the source does not have.

**remove**: the same, and rows of the source are deleted, and inserted again.

**mark**: the same of the rows that are not marked.

**append**: no version of a row is there twice, and the present version of every row with a timestamp that is not in the
future is there once. Versions that were overwritten before a run could see them may be missing.
"""

from __future__ import annotations

import contextlib
import enum
import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from google.api_core.exceptions import NotFound

from sync_pipeline.errors import ConcurrentSyncError, ConfigError, EmptySourceError, PublishError, SchemaError
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.planning.deletions import SMALL_TABLE_ROWS
from sync_pipeline.planning.make_plan import make_plan
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.publishing.cloud_storage import delete_staged_files
from sync_pipeline.publishing.publish import publish
from sync_pipeline.publishing.staged_files import StagedFile
from sync_pipeline.publishing.staging import write_batches
from sync_pipeline.publishing.staging_target import rows_target
from sync_pipeline.smart_sync.backfill import Backfill
from sync_pipeline.smart_sync.interval import as_moment
from sync_pipeline.sources import open_source
from tests.integration.history_reconcile import (
    FUTURE,
    NONE,
    Differences,
    check_deletion,
    differences,
    is_beyond,
    latest_of,
    without_later,
)
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
from tests.integration.kills import DyingClient, KilledError
from tests.integration.reading import read_rows

# Rows of one file: the few rows of a history make several.
BATCH_ROWS = 3

# A run of steps takes so much, which is less than a run itself lasts.
STEP, MOST_STEPS = timedelta(milliseconds=50), 100

# The percentage of rows that may be removed when the source has lost most of its rows.
LIMIT = 2

COLUMNS = ("id", "version", "note", "updated_at")

_PARAMETERS = {
    "data_source": "postgresql",
    "postgresql_query": "SELECT * FROM source",
    "enable_smart_sync": "true",
    # Every step of a history has ended before the next begins, so nothing is under way that would have to settle.
    "smart_sync_settle_seconds": "0",
    "batch_size": str(BATCH_ROWS),
    "max_retries": "0",
}


class Mode(enum.Enum):
    """How the runs of a history publish; the value is what is added to their parameters."""

    APPEND = ()
    MERGE = (("primary_key", "id"), ("smart_sync_null_timestamps", "include"))
    # In steps; `World.config` makes them short.
    APPEND_STEPS = (("smart_sync_max_interval_hours", "1"),)
    MERGE_STEPS = (*MERGE, *APPEND_STEPS)
    REMOVE = (*MERGE, ("deletes", "remove"), ("max_deleted_percent", "100"))
    MARK = (*MERGE, ("deletes", "mark"), ("max_deleted_percent", "100"))

    @property
    def deletes(self) -> bool:
        return self in (Mode.REMOVE, Mode.MARK)

    @property
    def merges(self) -> bool:
        return "primary_key" in dict(self.value)


@dataclass(frozen=True)
class Insert:
    """Insert rows with one timestamp; outside a transaction of the history this is one of its own."""

    count: int = 1
    stamp: Stamp = Stamp.NOW
    transaction: int | None = None


@dataclass(frozen=True)
class Update:
    """Update one row, unless another transaction is at it."""

    row: int = 0
    stamp: Stamp = Stamp.NOW
    transaction: int | None = None


@dataclass(frozen=True)
class UpdateAll:
    """Update all rows that no other transaction is at: they get one timestamp."""

    transaction: int | None = None


@dataclass(frozen=True)
class Delete:
    """Delete one row, unless another transaction is at it."""

    row: int = 0
    transaction: int | None = None


@dataclass(frozen=True)
class Reinsert:
    """Insert a row again that was deleted, in a transaction of its own, unless another one is open."""

    row: int = 0
    stamp: Stamp = Stamp.NOW


@dataclass(frozen=True)
class SetBack:
    """Stamp the rows from the future with the present."""


@dataclass(frozen=True)
class Begin:
    """Open a transaction, which writes later or never."""

    transaction: int


@dataclass(frozen=True)
class Prepare:
    transaction: int


@dataclass(frozen=True)
class Commit:
    transaction: int


@dataclass(frozen=True)
class Rollback:
    transaction: int


@dataclass(frozen=True)
class Spoil:
    """Somebody else writes to the destination: a row that is there, or one that the source does not have.

    Random histories only stamp it with the future: a stamp of the present moves the destination on, past rows that are
    still to come.
    """

    row: int | None = None
    stamp: Stamp = Stamp.FUTURE


@dataclass(frozen=True)
class Plan:
    """Plan a run; an earlier one of this number is abandoned where it is. The launcher's clock may say anything."""

    run: int = 0
    launcher_clock: datetime = datetime(2025, 7, 22, tzinfo=UTC)


@dataclass(frozen=True)
class PlanBackfill:
    """Plan a backfill, between two timestamps that the destination has: `first` and `last` count from the latest one.

    It begins just before the first one, or with it; then the row with that timestamp stays as it is.
    """

    run: int = 0
    first: int = 0
    last: int = 0
    excludes_first: bool = False


@dataclass(frozen=True)
class PlanReconcile:
    """Plan a report on the destination, or a repair."""

    run: int = 0
    verb: str = "repair"


class Harm(enum.Enum):
    """How somebody damages a row of the destination; the value is the statement."""

    DELETE = "DELETE FROM `{table}` WHERE {which}"
    CHANGE = "UPDATE `{table}` SET note = 'damaged' WHERE {which}"
    REPEAT = (
        "CREATE TEMP TABLE aside AS SELECT * FROM `{table}` WHERE {which}; INSERT INTO `{table}` SELECT * FROM aside"
    )


@dataclass(frozen=True)
class Damage:
    """Somebody damages the versions of a row in the destination after the last run; then the table is repaired."""

    harm: Harm
    row: int = 0


@dataclass(frozen=True)
class Vanish:
    """At the end the source loses all rows but so many; then a run removes or marks rows, up to a limit."""

    rows_left: int = 0


@dataclass(frozen=True)
class Stage:
    """Read and stage; once more when it was done before. With `files` it ends after so many files, and is not done.

    Where deleted rows are removed, keys are staged too, after the rows; `StageKeys` does that later.
    """

    run: int = 0
    files: int | None = None
    without_keys: bool = False


@dataclass(frozen=True)
class StageKeys:
    """Read and stage the keys of all rows."""

    run: int = 0


@dataclass(frozen=True)
class Publish:
    """Publish; once more when it was done before. With `calls` the process dies after so many calls of BigQuery."""

    run: int = 0
    calls: int | None = None


Operation = (
    Insert
    | Update
    | UpdateAll
    | Delete
    | Reinsert
    | SetBack
    | Begin
    | Prepare
    | Commit
    | Rollback
    | Spoil
    | Plan
    | PlanBackfill
    | PlanReconcile
    | Damage
    | Vanish
    | Stage
    | StageKeys
    | Publish
)


def sync(run: int = 0) -> tuple[Operation, ...]:
    """Return the steps of a whole run."""
    return Plan(run), Stage(run), Publish(run)


def in_short_steps(config: SyncConfig) -> SyncConfig:
    """Return the configuration with `STEP`, if it has steps."""
    smart_sync = config.smart_sync
    assert smart_sync is not None
    return replace(config, smart_sync=replace(smart_sync, max_interval=smart_sync.max_interval and STEP))


@dataclass
class _Run:
    plan: TableSync
    files: list[StagedFile] | None = None
    keys: list[StagedFile] | None = None
    # What the files hold: the rows' keys, versions and so on, and the keys of the source.
    rows: list[Row] = field(default_factory=list)
    was_published: bool = False
    ids: list[int] = field(default_factory=list)

    @property
    def is_staged(self) -> bool:
        return self.files is not None and (self.plan.of_keys is None or self.keys is not None)


@dataclass
class World(Site):
    """One source table and one dataset, used again and again: each history begins with both empty."""

    modes: ClassVar[tuple[Mode, ...]] = tuple(Mode)

    def prepare(self) -> None:
        execute(
            self.connection,
            "CREATE TABLE source (id int PRIMARY KEY, version int NOT NULL, note text, updated_at timestamptz)",
        )

    def config(self, mode: Mode, table: str) -> SyncConfig:
        endpoints = self.endpoints
        config = SyncConfig.from_parameters(
            {
                **_PARAMETERS,
                **dict(mode.value),
                "postgresql_host": endpoints.postgresql_host,
                "postgresql_port": str(endpoints.postgresql_port),
                "postgresql_database": self.database,
                "postgresql_username": endpoints.postgresql_username,
                "postgresql_password": endpoints.postgresql_password,
                "destination_bigquery_project": endpoints.project,
                "destination_bigquery_dataset": self.dataset,
                "destination_bigquery_table": table,
            }
        )
        return in_short_steps(config)

    def play(self, history: Iterable[Operation], mode: Mode) -> int:
        """Play a history from empty tables to its last run, and return how many rows were compared.

        Raises ViolationError where the destination is not what it must be.
        """
        played = self.begin(mode, f"t{next(self.numbers)}")
        try:
            for operation in history:
                played.do(operation)
            self.end_transactions("COMMIT")
            self.wait_until_quiet()
            return played.finish()
        finally:
            self.end_transactions("ROLLBACK")
            self._empty(played)

    def begin(self, mode: Mode, table: str) -> Played:
        """Return a history that has not begun."""
        return Played(self, mode, table)

    def empty_source(self) -> None:
        """Delete what a history has written."""
        execute(self.connection, "TRUNCATE source")

    def _empty(self, played: Played) -> None:
        self.empty_source()
        self.client.delete_table(played.config.destination.table_id, not_found_ok=True)
        if played.has_left_overs:
            for table in self.client.list_tables(self.dataset):
                self.client.delete_table(table.reference, not_found_ok=True)
            delete_staged_files(played.staging)


class Played:
    """One history while it is played. Derived classes write to other sources, which have no transactions."""

    def __init__(self, world: World, mode: Mode, table: str) -> None:
        self.world = world
        self.mode = mode
        self.config = world.config(mode, table)
        self.staging = f"{world.staging}/{table}/"
        self.has_left_overs = False
        self._versions = itertools.count(1)
        self._rows = 0
        self._runs: dict[int, _Run] = {}
        # By key, the version that the source had reached when somebody changed the row in the destination.
        self._spoilt: dict[int, int] = {}
        # Rows that somebody else has changed in the destination, or added to it.
        self._spoils = 0
        self._damages: list[Damage] = []
        self._rows_left: int | None = None
        self._is_compared = False
        self._is_there = False

    def do(self, operation: Operation) -> None:
        match operation:
            case Insert(count, stamp, transaction):
                ids = range(self._rows + 1, self._rows + count + 1)
                self._rows += count
                self.insert(list(ids), stamp, transaction)
            case Update(row, stamp, transaction):
                self.update(self._id(row), stamp, transaction)
            case UpdateAll(transaction):
                self.update(None, Stamp.NOW, transaction)
            case Delete(row, transaction):
                self.delete(self._id(row), transaction)
            case Reinsert(row, stamp):
                self.reinsert(self._id(row), stamp)
            case SetBack():
                self.set_back()
            case Begin(transaction):
                self.world.transaction(transaction).begin()
            case Prepare(transaction):
                self.world.transaction(transaction).prepare()
            case Commit(transaction):
                self.world.transaction(transaction).end("COMMIT")
            case Rollback(transaction):
                self.world.transaction(transaction).end("ROLLBACK")
            case Spoil(row, stamp):
                self._spoil(row, stamp)
            case Plan(run, launcher_clock):
                self._plan(run, launcher_clock)
            case PlanBackfill():
                self._plan_backfill(operation)
            case PlanReconcile(run, verb):
                self._plan_reconcile(run, verb)
            case Damage():
                self._damages.append(operation)
            case Vanish(rows_left):
                self._rows_left = rows_left
            case Stage(run, files, without_keys):
                self._stage(run, files)
                if files is None and not without_keys:
                    self._stage_keys(run)
            case StageKeys(run):
                self._stage_keys(run)
            case Publish(run, calls):
                self._publish(run, calls)

    def finish(self) -> int:
        """Make the last run, or the last steps, and compare."""
        earliest_end = self.clock()
        for _ in range(MOST_STEPS):
            plan = self._plan(-1, datetime(2025, 7, 22, tzinfo=UTC))
            if plan is None:
                return 0
            self._stage(-1, None)
            self._stage_keys(-1)
            self._publish(-1, None)
            if not plan.more_is_left:
                break
        else:
            raise ViolationError("the steps do not end")
        assert plan.interval is not None
        if plan.interval.end < earliest_end:
            raise ViolationError(f"with nobody about the end is {plan.interval.end}, before {earliest_end}")
        source = self.present()
        rows = [row for row in self._destination() if row[0] > 0]
        if self.mode.merges:
            check_keys(rows, (row[0] for row in rows))
        destination = [row[:4] for row in rows if not row[4]]
        compare = self._compare_merged if self.mode.merges else self._compare_appended
        count = compare(source, destination, plan.interval.end)
        if self._is_compared or self._damages:
            self._check_reconcile(source, plan.interval.end)
        # The next run also loads again what a damage has removed.
        if self._rows_left is not None and self.mode.merges and not self._damages:
            self._check_limit(self._rows_left)
        return count

    def _check_reconcile(self, source: Sequence[Row], end: datetime) -> None:
        """Damage the table, and check that a report counts exactly that, and that a repair leaves nothing of it."""
        table_id = self.config.destination.table_id
        for damage in self._damages:
            which = f"id = {self._id(damage.row)}"
            self.world.client.query_and_wait(damage.harm.value.format(table=table_id, which=which))
        there = self._destination()
        wrong = self._differences(source, there, latest_of(there, end))
        mended = (("repair", wrong), ("report", NONE)) if self._damages else ()
        for verb, expected in (("report", wrong), *mended):
            plan = self._plan(-2, datetime(2025, 7, 22, tzinfo=UTC), self._reconciling(verb))
            assert plan is not None
            self._stage(-2, None)
            found = publish(self.world.client, plan, self._runs[-2].files or []).differences
            assert found is not None
            counts = (found.missing, found.different, found.surplus)
            check(counts == expected, f"{verb} counts {counts} missing, different and surplus rows, not {expected}")
        if mended:
            there = self._destination()
            left = self._differences(source, there, latest_of(there, end))
            check(left == NONE, f"after a repair {left} missing, different and surplus rows are left")

    def _differences(self, source: Sequence[Row], there: Sequence[Row], latest: datetime) -> Differences:
        return differences(source, there, latest, merges=self.mode.merges, deletes=self.mode.deletes)

    def _check_limit(self, rows_left: int) -> None:
        """Let most rows vanish from the source, and check that a run or a repair removes them only up to a limit."""
        before = [row for row in self._destination() if not row[4]]
        kept = sorted(row[0] for row in self.present())[:rows_left]
        self.leave(kept)
        config = replace(self.config if self.mode.deletes else self._reconciling("repair"), max_deleted_percent=LIMIT)
        if self._plan(-2, datetime(2025, 7, 22, tzinfo=UTC), config) is None:
            return
        self._stage(-2, None)
        self._stage_keys(-2)
        run = self._runs[-2]
        refusal: PublishError | None = None
        try:
            publish(self.world.client, run.plan, [*(run.files or ()), *(run.keys or ())])
        except PublishError as error:
            refusal = error
        gone = sum(row[0] not in kept for row in before)
        is_refused = is_beyond(gone, len(before), LIMIT, SMALL_TABLE_ROWS)
        after = [row[0] for row in self._destination() if not row[4]]
        expected = [row[0] for row in before if is_refused or row[0] in kept]
        check(
            Counter(after) == Counter(expected),
            f"{len(kept)} rows are left in the source, and {len(after)} of {len(before)} in the destination; the run "
            f"may remove {LIMIT} percent",
        )
        check((refusal is not None) == is_refused, f"{gone} of {len(before)} rows are gone, and the run says {refusal}")

    def _compare_merged(self, source: Sequence[Row], destination: Sequence[Row], end: datetime) -> int:
        check_keys(destination, (row[0] for row in source))
        expected = [row for row in source if row[3] is None or row[3] <= end]
        # A row that somebody else changed is right again when the source has changed since.
        expected = [row for row in expected if row[1] > self._spoilt.get(row[0], 0)]
        check_present(expected, destination, identity=1)
        return len(expected)

    def _compare_appended(self, source: Sequence[Row], destination: Sequence[Row], end: datetime) -> int:
        # What somebody else wrote is nobody's version.
        destination = [row for row in destination if row[1] > 0]
        check_versions(destination)
        late = [row for row in destination if row[3] is None or row[3] > end]
        check(not late, f"rows that no interval contains: {late}")
        expected = [row for row in source if row[3] is not None and row[3] <= end]
        expected = [row for row in expected if row[1] > self._spoilt.get(row[0], 0)]
        check_present(expected, destination, identity=2)
        return len(expected)

    def _id(self, row: int) -> int:
        return 1 + row % self._rows if self._rows else 0

    def next_version(self) -> int:
        return next(self._versions)

    def clock(self) -> datetime:
        """Return what the source's clock shows."""
        (now,) = execute(self.world.connection, "SELECT clock_timestamp()")[0]
        assert isinstance(now, datetime)
        return now

    def present(self) -> list[Row]:
        """Return the source's rows: id, version, note, updated_at."""
        return execute(self.world.connection, "SELECT id, version, note, updated_at FROM source")

    def insert(self, ids: list[int], stamp: Stamp, transaction: int | None) -> None:
        self._write(
            f"INSERT INTO source SELECT id, %(version)s, %(note)s, {stamp.value} FROM unnest(%(ids)s) AS id",
            transaction,
            ids=ids,
        )

    def update(self, key: int | None, stamp: Stamp, transaction: int | None) -> None:
        """Update a row, or with None all of them."""
        self._update("true" if key is None else "id = %(id)s", stamp, transaction, id=key)

    def delete(self, key: int, transaction: int | None) -> None:
        self._write(
            "DELETE FROM source WHERE id IN (SELECT id FROM source WHERE id = %(id)s FOR UPDATE SKIP LOCKED)",
            transaction,
            id=key,
        )

    def leave(self, keys: list[int]) -> None:
        """Delete all rows but these."""
        execute(self.world.connection, "DELETE FROM source WHERE id <> ALL (%(ids)s)", {"ids": keys})

    def set_back(self) -> None:
        self._update("updated_at > now()", Stamp.NOW, None)

    def _write(self, statement: str, transaction: int | None, **values: Any) -> None:
        connection = self.world.writer(transaction)
        if connection is None:
            return
        version = self.next_version()
        execute(connection, statement, {**values, "version": version, "note": f"note {version}"})

    def _update(self, which: str, stamp: Stamp, transaction: int | None, **values: Any) -> None:
        # Nobody waits for a lock: the one who holds it is played by the same thread.
        self._write(
            f"UPDATE source SET version = %(version)s, note = %(note)s, updated_at = {stamp.value} "
            f"WHERE id IN (SELECT id FROM source WHERE {which} FOR UPDATE SKIP LOCKED)",
            transaction,
            **values,
        )

    def reinsert(self, key: int, stamp: Stamp) -> None:
        """Insert a row that was deleted."""
        # An insert would wait for a transaction that has inserted or deleted the key.
        if not key or any(each.state != "none" for each in self.world.transactions.values()):
            return
        self._write(
            f"INSERT INTO source VALUES (%(id)s, %(version)s, %(note)s, {stamp.value}) ON CONFLICT DO NOTHING",
            None,
            id=key,
        )

    def _spoil(self, row: int | None, stamp: Stamp) -> None:
        table_id = self.config.destination.table_id
        if not self._has_destination():
            return
        self._spoils += 1
        updated_at = {Stamp.NOW: "CURRENT_TIMESTAMP()", Stamp.FUTURE: "TIMESTAMP '2099-01-01 00:00:00+00'"}[stamp]
        if row is None:
            statement = f"INSERT INTO `{table_id}` (id, version, updated_at) VALUES (-1, 0, {updated_at})"
        else:
            self._spoilt[self._id(row)] = next(self._versions)
            statement = f"UPDATE `{table_id}` SET version = 0, updated_at = {updated_at} WHERE id = {self._id(row)}"
        self.world.client.query_and_wait(statement)

    def _has_destination(self) -> bool:
        with contextlib.suppress(NotFound):
            # Nobody drops it.
            self._is_there = self._is_there or bool(self.world.client.get_table(self.config.destination.table_id))
        return self._is_there

    def _plan_backfill(self, operation: PlanBackfill) -> None:
        self._abandon(operation.run)
        moments = sorted({row[3] for row in self._destination() if row[3] and row[3] < FUTURE}, reverse=True)
        if not moments:
            return
        last, first = sorted(min(each, len(moments) - 1) for each in (operation.first, operation.last))
        start = moments[first] if operation.excludes_first else moments[first] - timedelta(microseconds=1)
        if start == moments[last]:
            return
        assert self.config.smart_sync is not None
        smart_sync = replace(
            self.config.smart_sync,
            backfill=Backfill(start, moments[last]),
            include_null_timestamps=False,
            max_interval=None,
        )
        # A transaction that was prepared holds the end back by an hour.
        with contextlib.suppress(ConfigError):
            self._plan(operation.run, datetime(2025, 7, 22, tzinfo=UTC), replace(self.config, smart_sync=smart_sync))

    def _reconciling(self, verb: str) -> SyncConfig:
        return replace(self.config, reconcile=verb, max_deleted_percent=100)

    def _plan_reconcile(self, run: int, verb: str) -> None:
        self._abandon(run)
        # A table that does not exist cannot be compared.
        if self._has_destination():
            self._is_compared = True
            with contextlib.suppress(SchemaError):
                self._plan(run, datetime(2025, 7, 22, tzinfo=UTC), self._reconciling(verb))

    def _plan(self, run: int, launcher_clock: datetime, config: SyncConfig | None = None) -> TableSync | None:
        """Plan a run; None if the source shows no columns, and there is no table to have rows."""
        config = config or self.config
        try:
            plan = make_plan(config, open_source(config), self.world.client, self.staging, launcher_clock).tables[0]
        except EmptySourceError:
            return None
        except SchemaError as error:
            # Documents without any timestamp do not show the type of the column.
            if "updated_at is null" in str(error):
                return None
            raise
        self._abandon(run)
        self._runs[run] = _Run(plan)
        return plan

    def _abandon(self, number: int) -> None:
        """Forget a run, which nobody may stage again: its jobs would be found, with what was staged before."""
        abandoned = self._runs.pop(number, None)
        self.has_left_overs |= abandoned is not None and (abandoned.files or abandoned.keys) is not None

    def _stage(self, number: int, files: int | None) -> None:
        run = self._runs.get(number)
        if run is None:
            return
        batches = list(read_rows(run.plan))
        # A file for each batch.
        staged = [file for batch in batches[:files] for file in write_batches([batch], rows_target(run.plan))]
        self.has_left_overs |= files is not None
        if files is None:
            run.files = staged
            run.rows = [tuple(row[name] for name in COLUMNS) for batch in batches for row in batch.to_pylist()]

    def _stage_keys(self, number: int) -> None:
        run = self._runs.get(number)
        if run is not None and run.plan.of_keys is not None:
            batches = list(read_rows(run.plan.of_keys))
            run.keys = write_batches(batches, rows_target(run.plan.of_keys))
            run.ids = [key for batch in batches for key in batch.column("id").to_pylist()]

    def _publish(self, number: int, calls: int | None) -> None:
        run = self._runs.get(number)
        if run is None or not run.is_staged:
            return
        files = [*(run.files or ()), *(run.keys or ())]
        if run.plan.selection is not None:
            # BigQuery reads the source now.
            run.rows = self.present()
            run.ids = [row[0] for row in run.rows]
        # What has been published since may forbid a backfill, or a repair.
        refused = (ConcurrentSyncError,) if run.plan.is_backfill or run.plan.reconciliation is not None else ()
        # The second time, others may have changed what the first has left.
        is_first, run.was_published = not run.was_published, True
        if calls is None:
            with contextlib.suppress(*refused):
                found = publish(self.world.client, run.plan, files).differences
                if found is not None:
                    # What nobody has changed in the destination does not differ, whatever happens at the source.
                    check(found.found <= self._spoils, f"{self._spoils} rows were changed, and a run counts {found}")
                    if found.is_repaired and is_first:
                        self._check_change(run, self._destination())
            return
        self.has_left_overs = True
        is_repair = run.plan.reconciliation is not None and run.plan.reconciliation.repairs
        is_watched = is_first and (run.plan.keys is not None or is_repair)
        before = self._destination() if is_watched else []
        with contextlib.suppress(KilledError, *refused):
            publish(DyingClient(self.world.client, calls), run.plan, files)  # type: ignore[arg-type]
        if is_watched and Counter(after := self._destination()) != Counter(before):
            self._check_change(run, after)

    def _check_change(self, run: _Run, after: Sequence[Row]) -> None:
        """Check that a run has changed the destination as a whole."""
        interval = run.plan.interval
        assert interval is not None
        if run.plan.reconciliation is None:
            check_deletion(after, [row[0] for row in run.rows], run.ids, interval.end)
            return
        next_run = run.plan.reconciliation.next_run
        assert next_run is not None
        if next_run.after is not None:
            source, there = without_later(run.rows, after, as_moment(next_run.upper_bound))
            left = self._differences(source, there, as_moment(next_run.after))
            check(left == NONE, f"a repair leaves {left} missing, different and surplus rows")

    def _destination(self) -> list[Row]:
        """Return the destination's rows: id, version, note, updated_at, and whether they are marked."""
        mark = ("_deleted_at",) if self.mode is Mode.MARK else ()
        rows = self.world.rows(self.config.destination.table_id, (*COLUMNS, *mark)) or []
        return [(*row[: len(COLUMNS)], row[-1] is not None if mark else False) for row in rows]
