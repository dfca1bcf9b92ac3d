"""A run of several tables, step by step as the workers do them, and what may happen to each step."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from unittest import mock

import pyarrow.parquet
from apache_beam.io.filesystems import FileSystems
from apache_beam.pvalue import TaggedOutput
from google.api_core import exceptions

from sync_pipeline import failures
from sync_pipeline.errors import SourceUnavailableError, SyncError
from sync_pipeline.failures import Failure
from sync_pipeline.pipeline import read_tables
from sync_pipeline.planning.lanes import Lane, lanes_of
from sync_pipeline.planning.plan import TableSync, WriteMode
from sync_pipeline.planning.run_plan import RunPlan
from sync_pipeline.publishing.finished_splits import FinishedSplits, manifest_folder
from sync_pipeline.publishing.publish import _PublishFilesFn
from sync_pipeline.publishing.report import SyncReport
from sync_pipeline.publishing.stage_splits import StageByTable, StageSplitFn
from sync_pipeline.publishing.staged_files import StagedFile
from sync_pipeline.sources.reading import ReadSplitFn
from sync_pipeline.sources.source import ReadSplit
from tests.integration.history_sites import Row, check
from tests.integration.kills import KilledError, Life, await_end
from tests.integration.table_operations import CUT, TABLES, Kind, Trouble
from tests.integration.table_sources import SourceRow


@dataclass
class TableRun:
    """A run under way.

    Attributes:
        began_at: the number of the operation that planned it.
        emitted: by the number of the lane, what its last attempt emitted.
        sources: what the tables had at each attempt to read them.
        staged, letters: by table, the rows and dead letters to publish; empty until all lanes are staged.
        failed: the tables whose read failed.
        superseded: the tables whose files another run removed, which has published what they hold.
        is_publishing: the publishing step has begun.
        done: the tables that were seen to be published; of `unclear` nobody knows.
        has_ended: the last attempt of the publishing step ended by itself.
    """

    plan: RunPlan
    has_manifests: bool
    began_at: int
    emitted: dict[int, list[tuple[int, StagedFile | Failure]]] = field(default_factory=dict)
    sources: list[Mapping[str, list[SourceRow]]] = field(default_factory=list)
    staged: dict[str, Counter[Row]] = field(default_factory=dict)
    letters: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    superseded: set[str] = field(default_factory=set)
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

    @property
    def tables(self) -> dict[str, TableSync]:
        return {table_name(table.source_table): table for table in self.plan.tables}

    def elements(self) -> list[tuple[int, StagedFile | Failure]]:
        return [element for lane in self.emitted.values() for element in lane]

    def stage(self, source: Mapping[str, list[SourceRow]]) -> None:
        """Read and stage the lanes that are not staged; all if they are. `source` is what the tables have now.

        Raises:
            SourceUnavailableError, KilledError: this attempt ended; another one goes on with the other lanes.
        """
        # Another process than that of the last attempt.
        failures._FAILED.clear()
        self.sources.append(source)
        if self.is_staged:
            self.emitted.clear()
        plan = self.plan
        finished = FinishedSplits(manifest_folder(plan)) if self.has_manifests else None
        read = read_tables(plan.tables, plan.run.id)
        fns = {table.number: StageSplitFn(read.fns[table.number], table, finished) for table in plan.tables}
        for index, lane in enumerate(self.lanes):
            if index not in self.emitted:
                step = StageByTable(fns, read.reads.values(), plan.run.id, finished)
                self.emitted[index] = _bundle(step, lane.splits)

    def check_staged(self, may_fail: Callable[[str], bool]) -> None:
        """Compare what is staged with what the source had at the attempts to read it. Raises ViolationError."""
        names = {table.number: table_name(table.source_table) for table in self.plan.tables}
        self.failed = {names[number] for number, element in self.elements() if isinstance(element, Failure)}
        for number, element in self.elements():
            if isinstance(element, Failure):
                name = names[number]
                check(may_fail(name), f"{name} could not be read, and nothing was wrong: {element.error}")
        for table in self.plan.tables:
            name = names[table.number]
            try:
                self.staged[name], self.letters[name] = _staged_of(self, table)
            except exceptions.NotFound:
                self.staged[name], self.letters[name] = Counter(), set()
                self.superseded.add(name)
                continue
            if name in self.failed:
                continue
            states = [source.get(name, []) for source in self.sources]
            wanted = [_fitting(state, table, can_be_read=True) for state in states]
            possible = [_fitting(state, table, can_be_read=False) for state in states]
            missing = _common(wanted) - self.staged[name]
            check(not missing, f"{name}: rows that were not staged: {sorted(missing, key=str)}")
            strange = self.staged[name] - _any(possible)
            check(not strange, f"{name}: rows that the source did not have: {sorted(strange, key=str)}")
            unfit = _common([_unfit(state, table) for state in states])
            check(set(unfit) <= self.letters[name], f"{name}: rows that are no dead letters: {unfit}")

    def publish(
        self,
        number: int,
        trouble: Trouble | None,
        calling: Callable[[Callable[[Callable[[], Any]], Any]], AbstractContextManager[None]],
    ) -> PublishOutcome:
        """Let the publishing step run once; with `trouble` at call `number` of those that `calling` intercepts."""
        outcome = PublishOutcome()
        calls = itertools.count()
        life = Life(number)

        def call(function: Callable[[], Any]) -> Any:
            if trouble is Trouble.KILLED_AT_CALL:
                return life.call(function)
            if trouble is None or next(calls) != number:
                return function()
            outcome.has_met_trouble = True
            if trouble is Trouble.REFUSED_AFTER:
                await_end(function())
            raise exceptions.RetryError("Timeout of 120.0s exceeded", exceptions.ServiceUnavailable("try later"))

        step = _PublishFilesFn(self.plan)
        with calling(call):
            try:
                for output in step.process(None, self.elements()):
                    if isinstance(output, TaggedOutput):
                        outcome.error = output.value.error
                    else:
                        outcome.reports[output.table_id] = output
            except SyncError as error:
                outcome.error = error
            except KilledError:
                outcome.is_killed = True
        return outcome


@dataclass
class PublishOutcome:
    """What an attempt of the publishing step came to."""

    # By the id of the table.
    reports: dict[str, SyncReport] = field(default_factory=dict)
    error: SyncError | None = None
    is_killed: bool = False
    has_met_trouble: bool = False


@contextlib.contextmanager
def read_trouble(number: int, trouble: Trouble | None, end_connections: Callable[[], None]) -> Iterator[None]:
    """Let the trouble happen at the `number`th split that is read in the context, or kept in a manifest."""
    process, keep = ReadSplitFn.process, FinishedSplits.keep
    reads, kept = itertools.count(), itertools.count()

    def read(fn: ReadSplitFn, split: ReadSplit) -> Iterator[Any]:
        is_meant = next(reads) == number
        if is_meant and trouble is Trouble.TERMINATED:
            end_connections()
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


def published_rows(name: str, before: Counter[Row], staged: Counter[Row]) -> Counter[Row]:
    """Return the rows of a table when what is staged is published."""
    match TABLES[name]:
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


def table_name(source_table: str) -> str:
    return source_table.removeprefix("public.")


def cut(table: TableSync) -> TableSync:
    """Return the plan of a table that is read in two splits, if it is one of those."""
    name = table_name(table.source_table)
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


def _staged_of(run: TableRun, table: TableSync) -> tuple[Counter[Row], set[tuple[str, str]]]:
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


def _fitting(state: Collection[SourceRow], table: TableSync, *, can_be_read: bool) -> Counter[Row]:
    """Return the rows of a table that fit: those that the run had to read, or all that it might have read."""
    after = table.interval.latest if table.interval is not None and can_be_read else None
    rows = [row.values for row in state if row.fits and _is_in_interval(row.values, table)]
    return Counter(row for row in rows if after is None or row[3] is None or row[3] > after)


def _unfit(state: Collection[SourceRow], table: TableSync) -> Counter[tuple[str, str]]:
    latest = table.interval.latest if table.interval is not None else None
    rows = [row.values for row in state if not row.fits and _is_in_interval(row.values, table)]
    return Counter((str(row[0]), str(row[1])) for row in rows if latest is None or row[3] > latest)


def _is_in_interval(row: Row, table: TableSync) -> bool:
    return table.interval is None or is_in_time(row, table.interval.end, null=table.write_mode is WriteMode.MERGE)


def is_in_time(row: Row, end: datetime | None, *, null: bool) -> bool:
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


def shown_rows(rows: Counter[Row]) -> str:
    return "{" + ", ".join(f"{row[0]}v{row[1]}" for row in sorted(rows.elements(), key=str)) + "}"
