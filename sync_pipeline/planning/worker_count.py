"""Chooses the number of workers of a Dataflow job, if the caller does not.

Dataflow's autoscaling depends on the size of the visible input. Here that is a list of statements, a few kilobytes for
any number of rows, so it would start one worker. The launcher knows how many parts are read at once.
https://cloud.google.com/dataflow/docs/horizontal-autoscaling
"""

from __future__ import annotations

import re

from apache_beam.options.pipeline_options import PipelineOptions, WorkerOptions

from sync_pipeline.planning.lanes import lanes_of
from sync_pipeline.planning.run_plan import RunPlan

# A read uses about one vCPU. More machines at the start might exceed a project's quota; autoscaling may add more, up
# to the number of parallel reads.
MOST_AT_THE_START = 10

_VCPUS = re.compile(r"[a-z0-9]+-(?:custom|[a-z]+)-(\d+)(?:-.*)?|custom-(\d+)-.*")


def parts_of(plan: RunPlan) -> int:
    """Return how many parts of the plan are read at once."""
    lanes = lanes_of(plan)
    more = sum((table.read.parallel_reads or 1) - 1 for table in plan.tables if table.selection is None)
    return (len(lanes) + more) or 1


def choose_worker_count(options: PipelineOptions, parts: int) -> str | None:
    """Set the numbers of workers that the caller has not set; return a line for the plan, or None.

    Never requests more vCPUs than `parts`, if the machine type shows its vCPUs.
    """
    workers = options.view_as(WorkerOptions)
    if workers.num_workers and workers.max_num_workers:
        return None
    useful = -(-parts // _vcpus(workers.machine_type))
    if not workers.max_num_workers:
        workers.max_num_workers = max(useful, workers.num_workers or 0)
    if not workers.num_workers:
        workers.num_workers = min(useful, workers.max_num_workers, MOST_AT_THE_START)
    counts = f"{workers.num_workers} at the start, at most {workers.max_num_workers}"
    return f"plan: workers: {counts}, for {parts} parallel read(s)"


def _vcpus(machine_type: str | None) -> int:
    """Return the vCPUs in the name of a machine type, such as n2-standard-4; 1 if the name has none."""
    match = _VCPUS.fullmatch(machine_type or "")
    return max(1, int(match[1] or match[2])) if match else 1
