"""A process that has imported the product, and runs it in a fork of itself: python -m sandbox.demo_starter

Importing takes most of the CPU time of a small run, and the demo makes a dozen. Each line of the input is a JSON list
of arguments for `main.py`; what the run prints is followed by a line with its exit code.
"""

import importlib
import json
import os
import sys
import traceback
import warnings

from sandbox.demo_run import END
from sync_pipeline import command

# What a run imports when it needs it.
_MODULES = (
    "apache_beam.runners.portability.fn_api_runner.fn_runner",
    "apache_beam.runners.worker.sdk_worker",
    "google.cloud.bigquery",
    "google.cloud.bigquery_storage_v1",
    "psycopg2",
    "pyarrow.parquet",
    "pymongo",
    "sync_pipeline.command_run",
    "sync_pipeline.sources.bigquery.source",
    "sync_pipeline.sources.mongodb.source",
    "sync_pipeline.sources.postgresql.source",
    "sync_pipeline.parameters.transformation_config",
)


def main() -> None:
    """Run the product for each line of the input, one after the other."""
    for module in _MODULES:
        importlib.import_module(module)
    for line in sys.stdin:
        with warnings.catch_warnings():
            # The other threads are those of OpenBLAS and jemalloc, which are prepared for a fork.
            warnings.simplefilter("ignore", DeprecationWarning)
            process = os.fork()
        if process == 0:
            _run(json.loads(line))
        _, status = os.waitpid(process, 0)
        print(f"{END}{os.waitstatus_to_exitcode(status)}", flush=True)


def _run(arguments: list[str]) -> None:
    """Run the product as `main.py` does, and end this process."""
    exit_code = 1
    try:
        # The input is the starter's.
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.argv = ["main.py", *arguments]
        exit_code = command.main(arguments)
    except BaseException:  # noqa: BLE001 - as Python itself ends
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)


if __name__ == "__main__":
    main()
