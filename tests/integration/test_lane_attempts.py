"""A lane is attempted again: what an earlier attempt has staged completely is emitted, and all else is read."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from apache_beam.pvalue import TaggedOutput

from sync_pipeline import failures
from sync_pipeline.errors import RecordError, SourceUnavailableError
from sync_pipeline.failures import Failure
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.pipeline import read_tables
from sync_pipeline.planning.make_plan import make_plan
from sync_pipeline.planning.run_plan import RunPlan
from sync_pipeline.publishing import finished_splits
from sync_pipeline.publishing.finished_splits import FinishedSplits, manifest_folder
from sync_pipeline.publishing.publish import publish
from sync_pipeline.publishing.stage_splits import StageByTable, StageSplitFn
from sync_pipeline.publishing.staged_files import StagedFile
from sync_pipeline.sources import open_source
from sync_pipeline.sources.reading import ReadSplitFn
from sync_pipeline.sources.source import ReadSplit
from tests.integration.kills import KilledError
from tests.integration.syncing import Syncing

TABLES = 4


class Lane:
    """A lane of four tables, the second of which has two splits, and a dead letter in the first of them."""

    def __init__(self, syncing: Syncing, monkeypatch: pytest.MonkeyPatch) -> None:
        self.syncing, self.monkeypatch = syncing, monkeypatch
        planned = [self._planned(number) for number in range(TABLES)]
        run = planned[0].run
        tables = [replace(table, run=run, number=number) for number, table in enumerate(planned)]
        statement = tables[1].read.splits[0].statement
        splits = [f"SELECT * FROM ({statement}) AS s WHERE id {condition}" for condition in ("< 3", ">= 3")]
        parts = tuple(ReadSplit(index, 2, text) for index, text in enumerate(splits, 1))
        tables[1] = replace(tables[1], read=replace(tables[1].read, splits=parts))
        self.plan = RunPlan(run, tuple(tables))
        self.splits = [(table.number, split) for table in tables for split in table.read.splits]
        self.read: list[tuple[str, int]] = []
        self.counted: list[int] = []
        self._note_reads()

    def _planned(self, number: int) -> Any:
        syncing = self.syncing
        syncing.execute(f"CREATE TABLE t{number} (id int, v text)")
        syncing.execute(f"INSERT INTO t{number} SELECT n, n::text FROM generate_series(1, 5) AS n")
        config = SyncConfig.from_parameters(
            syncing.parameters(
                postgresql_query=f"SELECT * FROM t{number}",
                destination_bigquery_table=f"t{number}",
                transformation_config='{"type_overrides": {"v": "INT64"}}',
                dead_letter_table=syncing.table_id("letters") if number == 1 else None,
            )
        )
        root = f"{syncing.folder}/sync/"
        return make_plan(config, open_source(config), syncing.client, root, datetime.now(UTC)).tables[0]

    def _note_reads(self) -> None:
        process, count = ReadSplitFn.process, ReadSplitFn.count

        def counted(fn: ReadSplitFn, rows: int, dead_letters: int) -> None:
            self.counted += (rows, dead_letters)
            count(fn, rows, dead_letters)

        def noted(fn: ReadSplitFn, split: ReadSplit) -> Iterator[Any]:
            self.read.append((fn._read.table[-2:], split.index))
            return process(fn, split)

        self.monkeypatch.setattr(ReadSplitFn, "process", noted)
        self.monkeypatch.setattr(ReadSplitFn, "count", counted)

    def attempt(self) -> list[tuple[int, StagedFile | Failure]]:
        """Let a bundle of the lane run on a worker of its own, and return what it emits."""
        finished = FinishedSplits(manifest_folder(self.plan))
        read = read_tables(self.plan.tables, self.plan.run.id)
        fns = {table.number: StageSplitFn(read.fns[table.number], table, finished) for table in self.plan.tables}
        step = pickle.loads(pickle.dumps(StageByTable(fns, read.reads.values(), self.plan.run.id, finished)))
        emitted: list[Any] = []
        self.read.clear()
        self.counted.clear()
        step.setup()
        try:
            step.start_bundle()
            for element in self.splits:
                emitted += step.process(element)
            emitted += [windowed.value for windowed in step.finish_bundle()]
        finally:
            step.teardown()
        return [output.value if isinstance(output, TaggedOutput) else output for output in emitted]

    def publish(self, emitted: list[tuple[int, StagedFile | Failure]]) -> None:
        for table in self.plan.tables:
            files = [file for number, file in emitted if number == table.number and isinstance(file, StagedFile)]
            publish(self.syncing.client, table, files)

    def ids(self, number: int) -> list[int]:
        return sorted(self.syncing.column(f"SELECT id FROM t{number}"))


@pytest.fixture
def lane(syncing: Syncing, monkeypatch: pytest.MonkeyPatch) -> Lane:
    return Lane(syncing, monkeypatch)


ALL = [("t0", 1), ("t1", 1), ("t1", 2), ("t2", 1), ("t3", 1)]


def break_once(lane: Lane, name: str, error: BaseException) -> None:
    """Let the next attempt fail by `error` after the rows of a table were read."""
    process = ReadSplitFn.process

    def broken(fn: ReadSplitFn, split: ReadSplit) -> Iterator[Any]:
        yield from process(fn, split)
        if fn._read.table.endswith(name):
            lane.monkeypatch.setattr(ReadSplitFn, "process", process)
            raise error

    lane.monkeypatch.setattr(ReadSplitFn, "process", broken)


def test_a_repeated_attempt_reads_what_was_not_staged(lane: Lane) -> None:
    lane.syncing.execute("UPDATE t1 SET v = 'no number' WHERE id = 2")
    break_once(lane, "t2", SourceUnavailableError("gone"))
    with pytest.raises(SourceUnavailableError):
        lane.attempt()
    assert lane.read == ALL[:4]
    # What the first attempt has staged is what counts, whatever became of the rows.
    lane.syncing.execute("DELETE FROM t0; UPDATE t1 SET v = id::text")
    emitted = lane.attempt()
    assert lane.read == ALL[3:]
    # A runner forgets the counters of an attempt that failed.
    assert (sum(lane.counted[::2]), sum(lane.counted[1::2])) == (20, 1)
    lane.publish(emitted)
    assert [lane.ids(number) for number in range(TABLES)] == [[1, 2, 3, 4, 5], [1, 3, 4, 5], *2 * [[1, 2, 3, 4, 5]]]
    assert lane.syncing.column("SELECT JSON_VALUE(source_row, '$.id') FROM letters") == ["2"]
    assert lane.syncing.left_over() == []


def test_an_attempt_that_is_killed_before_the_manifest_does_not_count(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = finished_splits.FinishedSplits.keep
    calls = []

    def killed(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 3:
            raise KilledError
        keep(*arguments)

    monkeypatch.setattr(finished_splits.FinishedSplits, "keep", killed)
    with pytest.raises(KilledError):
        lane.attempt()
    assert lane.read == ALL[:3]
    emitted = lane.attempt()
    assert lane.read == ALL[2:]
    lane.publish(emitted)
    assert [lane.ids(number) for number in range(TABLES)] == TABLES * [[1, 2, 3, 4, 5]]
    assert lane.syncing.left_over() == []


def test_a_table_that_fails_in_the_middle_does_not_stop_the_others(lane: Lane) -> None:
    """Its other attempts fail too: a split that failed has no manifest."""
    lane.syncing.execute("UPDATE t2 SET v = 'no number' WHERE id = 2")
    for expected in (ALL, [("t2", 1)]):
        # Another process has met no failure yet.
        failures._FAILED.clear()
        emitted = lane.attempt()
        assert lane.read == expected
        failed = [(number, type(value.error)) for number, value in emitted if isinstance(value, Failure)]
        assert failed == [(2, RecordError)]
        assert {number for number, value in emitted if isinstance(value, StagedFile)} == {0, 1, 3}
