"""The process of a job of the local Dataflow: python dataflow_main.py FILE FLAG…

It runs `main.py` with the flags. FILE gets the options that a job of Dataflow would show, when the plan is complete.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from apache_beam.options.pipeline_options import PipelineOptions

from sync_pipeline import command, pipeline
from sync_pipeline.parameters.beam_options import show_outputs


def main(file: str, flags: list[str]) -> int:
    """Run the sync and return the exit code."""

    def show_and_write(options: PipelineOptions, outputs: Mapping[str, str], environment: Mapping[str, str]) -> None:
        show_outputs(options, outputs, environment)
        # As Beam writes them into the description of a job.
        shown = options.get_all_options(retain_unknown_options=True)
        told = {name: value for name, value in shown.items() if value is not None}
        Path(file).write_text(json.dumps(told), encoding="utf-8")

    with mock.patch.object(pipeline, "show_outputs", show_and_write):
        return command.main(flags)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
