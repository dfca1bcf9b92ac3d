from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from sync_pipeline import pipeline
from sync_pipeline.pipeline import build_pipeline
from sync_pipeline.planning.dead_letter_table import DeadLetterTable
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.publishing.finished_splits import FinishedSplits
from sync_pipeline.publishing.stage_splits import StageSplits
from sync_pipeline.sources.reading import ReadRows
from sync_pipeline.sources.source import ReadPlan, ReadSplit
from tests.plans import plan, run_plan


def steps(*tables: TableSync) -> list[str]:
    """Return the full names of the steps of the run's graph."""
    graph = build_pipeline(run_plan(*tables), PipelineOptions([])).to_runner_api()
    return [transform.unique_name for transform in graph.components.transforms.values()]


@pytest.mark.parametrize(
    ("here", "step"),
    [
        pytest.param(True, "StageSplits/StageSplit", id="in this process, in one step"),
        pytest.param(False, "Read/ReadSplit", id="on a service, in a step each"),
    ],
)
@pytest.mark.parametrize(("count", "shuffles"), [(1, 0), (2, 1), (8, 1)])
def test_partitions_are_shuffled_once_and_one_is_not(
    monkeypatch: pytest.MonkeyPatch, count: int, shuffles: int, here: bool, step: str
) -> None:
    monkeypatch.setattr(pipeline, "runs_here", lambda _: here)
    partitions = tuple(ReadSplit(number, count, "SELECT 1") for number in range(1, count + 1))
    running = plan()
    found = steps(replace(running, read=replace(running.read, splits=partitions)))
    assert len([name for name in found if name.endswith("GroupByKey")]) == shuffles
    assert step in found
    assert "Publish/PublishFiles" in found


@pytest.mark.parametrize("dead_letters", [None, DeadLetterTable("my-project.lost.rows", "EU", exists=False)])
def test_the_steps_do_not_grow_with_the_tables(dead_letters: DeadLetterTable | None) -> None:
    splits = tuple(ReadSplit(number, 2, "SELECT 1") for number in (1, 2))
    first = plan(dead_letters=dead_letters, read=ReadPlan("SELECT 1", splits))
    others = [plan({"destination_bigquery_table": f"t{number}"}, dead_letters=dead_letters) for number in range(9)]
    two = steps(first, others[0])
    assert steps(first, *others[:5]) == two
    # Several tables also have a step that ends the run by the errors of some.
    assert {name for name in two if not re.match("Publish/(KeepError|EndRun)", name)} == set(steps(first))


def test_lanes_of_many_splits_are_staged_in_one_step() -> None:
    tables = [plan({"destination_bigquery_table": f"t{number}"}) for number in range(30)]
    many = steps(*tables)
    assert many == steps(*tables[:9])
    assert "StageSplits/StageSplit" in many
    assert "Read/ReadSplit" not in many


@pytest.mark.parametrize(("tables", "here", "expected"), [(30, False, True), (30, True, False), (8, False, None)])
def test_manifests_are_kept_where_lanes_are_attempted_again(
    monkeypatch: pytest.MonkeyPatch, tables: int, here: bool, expected: bool | None
) -> None:
    kept = []

    def noted(read: ReadRows, tables: Any, finished: FinishedSplits | None) -> StageSplits:
        kept.append(finished is not None)
        return StageSplits(read, tables, finished)

    monkeypatch.setattr(pipeline, "StageSplits", noted)
    monkeypatch.setattr(pipeline, "runs_here", lambda _: here)
    steps(*(plan({"destination_bigquery_table": f"t{number}"}) for number in range(tables)))
    assert kept == ([] if expected is None else [expected])
