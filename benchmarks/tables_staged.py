"""A run of many tables up to its staged files: plan, read, transform and stage, without the last step.

Takes the command line of `main.py` and prints seconds and rows as JSON.
"""

import json
import sys
import time
from collections.abc import Sequence
from unittest import mock

import apache_beam as beam

from sync_pipeline import pipeline
from sync_pipeline.bigquery_api.client import open_client
from sync_pipeline.parameters.beam_options import pipeline_options
from sync_pipeline.parameters.command_line import parse_command_line
from sync_pipeline.parameters.run_config import RunConfig
from sync_pipeline.planning.run_plan import RunPlan


class _CountRows(beam.PTransform):
    """In place of publishing: counts the rows of the staged files."""

    def __init__(self, plan: RunPlan) -> None:
        super().__init__()
        self._plan = plan
        self._rows = beam.metrics.Metrics.counter("tables_staged", "rows")

    def expand(self, staged: beam.PCollection) -> beam.PCollection:
        return staged | beam.Map(lambda element: self._rows.inc(element[1].rows))


def main(argv: Sequence[str]) -> int:
    """Run the command line, without the program's name."""
    began = time.monotonic()
    command_line = parse_command_line(argv)
    options = pipeline_options(command_line)
    config = RunConfig.from_parameters(command_line.parameters)
    plan = pipeline.plan_run(config, open_client(config.destination_project), pipeline.staging_root(options))
    planned = time.monotonic()
    with mock.patch.object(pipeline, "PublishStagedFiles", _CountRows):
        result = pipeline.build_pipeline(plan, options).run()
        result.wait_until_finish()
    [rows] = [found.committed for found in result.metrics().query()["counters"] if found.key.metric.name == "rows"]
    seconds = {"plan_seconds": planned - began, "seconds": time.monotonic() - began}
    print(json.dumps({"rows": rows, "tables": len(plan.tables), **seconds}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
