"""A run of many tables up to its staged files: plan, read, transform and stage, without the last step."""

import argparse
import json
import os
import resource
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
from sync_pipeline.planning.plan import RunPlan


class _Count(beam.PTransform):
    """In place of publishing: reports how many rows the staged files have."""

    def __init__(self, plan: RunPlan) -> None:
        super().__init__()
        self.plan = plan

    def expand(self, staged: beam.PCollection) -> beam.PCollection:
        return staged | beam.Map(lambda element: element[1].rows) | beam.CombineGlobally(sum) | beam.Map(_report)


def _report(rows: int) -> None:
    print(json.dumps({"staged_rows": rows}), flush=True)


def main(argv: Sequence[str]) -> int:
    """Run the command line of `main.py` in `argv`; print seconds and the source's sessions as JSON."""
    parser = argparse.ArgumentParser()
    _, arguments = parser.parse_known_args(argv)
    command_line = parse_command_line(arguments)
    options = pipeline_options(command_line)
    began = time.monotonic()
    config = RunConfig.from_parameters(command_line.parameters)
    plan = pipeline.plan_run(config, open_client(config.destination_project), pipeline.staging_root(options))
    planned = time.monotonic()
    with mock.patch.object(pipeline, "PublishStagedFiles", _Count):
        pipeline.build_pipeline(plan, options).run().wait_until_finish()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                "rows": 0,
                "tables": len(plan.tables),
                "plan_seconds": planned - began,
                "seconds": time.monotonic() - began,
                "cpu_seconds": usage.ru_utime + usage.ru_stime,
            }
        )
    )
    return 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    sys.exit(main(sys.argv[1:]))
