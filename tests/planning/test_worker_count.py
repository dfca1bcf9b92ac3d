from __future__ import annotations

from dataclasses import replace

import pytest
from apache_beam.options.pipeline_options import PipelineOptions, WorkerOptions

from sync_pipeline.planning.worker_count import choose_worker_count, parts_of
from sync_pipeline.schema import Schema
from sync_pipeline.sources.source import ReadPlan, ReadSplit, Selection
from tests.plans import plan, run_plan


@pytest.mark.parametrize(
    ("given", "parts", "start", "most"),
    [
        pytest.param("", 1, 1, 1, id="one part"),
        pytest.param("", 8, 8, 8, id="a worker for each part"),
        pytest.param("", 100, 10, 100, id="many parts"),
        pytest.param("--machine_type=n2-standard-4", 9, 3, 3, id="a vCPU for each part"),
        pytest.param("--machine_type=n2-custom-2-8192", 9, 5, 5, id="custom machine"),
        pytest.param("--machine_type=custom-4-8192", 9, 3, 3, id="custom machine of the first series"),
        pytest.param("--machine_type=e2-medium", 3, 3, 3, id="machine without a number"),
        pytest.param("--max_num_workers=2", 8, 2, 2, id="at most"),
        pytest.param("--max_num_workers=20", 8, 8, 20, id="at most more than there are parts"),
        pytest.param("--num_workers=3", 8, 3, 8, id="at the start"),
        pytest.param("--num_workers=12", 8, 12, 12, id="at the start more than there are parts"),
    ],
)
def test_workers_follow_the_parts(given: str, parts: int, start: int, most: int) -> None:
    options = PipelineOptions(given.split())
    line = choose_worker_count(options, parts)
    workers = options.view_as(WorkerOptions)
    assert (workers.num_workers, workers.max_num_workers) == (start, most)
    assert line == f"plan: workers: {start} at the start, at most {most}, for {parts} parallel read(s)"


def test_nothing_is_chosen_if_both_are_given() -> None:
    options = PipelineOptions(["--num_workers=2", "--max_num_workers=50"])
    before = options.get_all_options()
    assert choose_worker_count(options, 8) is None
    assert options.get_all_options() == before


def test_parts_of_a_plan() -> None:
    read = ReadPlan("SELECT 1", tuple(ReadSplit(n, 3, "SELECT 1") for n in (1, 2, 3)))
    three = replace(plan(), read=read)
    assert parts_of(run_plan(three)) == 3
    others = [plan({"destination_bigquery_table": f"others{number}"}) for number in range(9)]
    assert parts_of(run_plan(three, others[0])) == 4
    assert parts_of(run_plan(three, *others)) == 8
    rows = Selection("SELECT 1", Schema(()), None, "my-project")
    in_bigquery = replace(plan(), read=replace(read, splits=read.splits[:1], selection=rows))
    assert parts_of(run_plan(in_bigquery)) == 1
    streams = replace(in_bigquery, read=replace(in_bigquery.read, parallel_reads=4))
    assert parts_of(run_plan(streams)) == 4
    others = [replace(other, read=replace(streams.read, parallel_reads=2)) for other in others]
    assert parts_of(run_plan(streams, others[0])) == 6
    assert parts_of(run_plan(replace(in_bigquery, selection=rows))) == 1
