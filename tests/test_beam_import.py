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
print(*("apache_beam" in sys.modules, "google.cloud.pubsub" in sys.modules))
import apache_beam.io.gcp.bigquery
print(apache_beam.io.gcp.bigquery.ReadFromBigQuery.__name__)
"""


@pytest.mark.parametrize(
    ("argv", "imported"),
    [
        pytest.param(["--data_source=postgresql"], "True False", id="here"),
        pytest.param(["--runner=DataflowRunner"], "False False", id="on Dataflow, by whoever needs it"),
    ],
)
def test_a_local_run_imports_no_connectors_of_beam(argv: list[str], imported: str) -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM, *argv], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [imported, "ReadFromBigQuery"]
