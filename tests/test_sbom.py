"""The bill of materials is CycloneDX's, and tells what is installed."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version

from cyclonedx.model.bom import Bom


def test_bill_of_materials() -> None:
    told = subprocess.run([sys.executable, "-m", "sync_pipeline.sbom"], capture_output=True, text=True, check=True)
    bill = json.loads(told.stdout)
    read = Bom.from_json(bill)  # type: ignore[attr-defined]
    assert {str(component.purl) for component in read.components} == {each["purl"] for each in bill["components"]}
    by_name = {component["name"]: component for component in bill["components"]}
    assert by_name["apache-beam"]["purl"] == f"pkg:pypi/apache-beam@{version('apache-beam')}"
    assert list(by_name) == sorted(by_name)
    assert bill["metadata"]["component"]["type"] == "application"
