"""How many workers a job on Dataflow has, where its caller does not say.

Dataflow's autoscaling goes by the size of the input that it can see. Here that is a list of statements, a few kilobytes
however many rows they return: it would see work for one worker. The launcher knows how many parts the read has.
https://cloud.google.com/dataflow/docs/horizontal-autoscaling
"""

from __future__ import annotations

import re

from apache_beam.options.pipeline_options import PipelineOptions, WorkerOptions

from sync_pipeline.planning.plan import RunPlan, TableSync

# A part keeps about one vCPU busy. More machines than these at once may be more than a project's quota; autoscaling may
# add to them, up to the number of parts.
MOST_AT_THE_START = 10

_VCPUS = re.compile(r"[a-z0-9]+-(?:custom|[a-z]+)-(\d+)(?:-.*)?|custom-(\d+)-.*")


def parts_of(plan: RunPlan) -> int | None:
    """Return how many parts of the plan can be worked on side by side; None where only the workers find out."""
    parts = [_parts_of(table) for table in plan.tables]
    return None if None in parts else sum(part or 0 for part in parts)


def _parts_of(table: TableSync) -> int | None:
    if table.selection is not None:
        return 1
    if table.read.selection is not None:
        # How many streams it has is known when the session is open.
        return table.config.num_partitions
    return len(table.read.splits)


def choose_worker_count(options: PipelineOptions, parts: int | None) -> str | None:
    """Set the numbers of workers that the caller has left open; return a line for the plan where one was.

    There are never more vCPUs than parts, as far as the machine type tells them, and never more workers.
    """
    workers = options.view_as(WorkerOptions)
    if parts is None or (workers.num_workers and workers.max_num_workers):
        return None
    useful = -(-parts // _vcpus(workers.machine_type))
    if not workers.max_num_workers:
        workers.max_num_workers = max(useful, workers.num_workers or 0)
    if not workers.num_workers:
        workers.num_workers = min(useful, workers.max_num_workers, MOST_AT_THE_START)
    return f"plan: workers: {workers.num_workers} at the start, at most {workers.max_num_workers}, for {parts} part(s)"


def _vcpus(machine_type: str | None) -> int:
    """Return the vCPUs that a machine type's name tells, such as n2-standard-4; 1 where it tells none."""
    match = _VCPUS.fullmatch(machine_type or "")
    return max(1, int(match[1] or match[2])) if match else 1
