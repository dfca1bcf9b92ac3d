from __future__ import annotations

import subprocess
import sys

import pytest

_PROGRAM = """
import gc, sys
from sync_pipeline.beam_import import import_beam, importing
with importing():
    import_beam(sys.argv[1:])
assert gc.isenabled()
print(*(name in sys.modules for name in ("apache_beam", "google.cloud.pubsub", "google.cloud.dataflow", "pymongo")))
import apache_beam.io.gcp.bigquery, google.cloud.dataflow, pymongo
print(apache_beam.io.gcp.bigquery.ReadFromBigQuery.__name__)
"""


@pytest.mark.parametrize(
    ("argv", "imported"),
    [
        pytest.param(["--data_source=postgresql"], "True False False False", id="here"),
        pytest.param(["--runner=DataflowRunner"], "False False False False", id="on Dataflow, by whoever needs it"),
    ],
)
def test_a_local_run_imports_no_connectors_of_beam(argv: list[str], imported: str) -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM, *argv], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [imported, "ReadFromBigQuery"]
    assert done.stderr == ""


def test_a_module_that_is_there_stays_the_same() -> None:
    program = """
import sys, bson
from sync_pipeline.beam_import import import_beam
import_beam([])
assert sys.modules["bson"] is bson
"""
    subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
