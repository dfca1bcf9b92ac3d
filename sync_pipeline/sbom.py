"""Software bill of materials (SBOM) of the installed packages, in CycloneDX format: `python -m sync_pipeline.sbom`.

The Dockerfile writes it into the image. It includes the packages of the base image.
https://cyclonedx.org/docs/1.6/json/
"""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import Distribution, distributions
from typing import Any

_SELF = "sync-to-bigquery"


def bill_of_materials() -> dict[str, Any]:
    """Return the bill of materials of this environment. The result is deterministic."""
    installed = {_component(each)["name"]: _component(each) for each in distributions() if each.metadata["Name"]}
    component = installed.pop(_SELF)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": component | {"type": "application"}},
        "components": [installed[name] for name in sorted(installed)],
    }


def _component(distribution: Distribution) -> dict[str, Any]:
    # https://packaging.python.org/specifications/name-normalization/
    name = re.sub("[-_.]+", "-", distribution.metadata["Name"]).lower()
    reference = f"pkg:pypi/{name}@{distribution.version}"
    component = {
        "type": "library",
        "bom-ref": reference,
        "name": name,
        "version": distribution.version,
        "purl": reference,
    }
    # License-Expression holds an SPDX expression; the older License field may hold a whole licence text.
    licence = distribution.metadata.get("License-Expression")
    return component | ({"licenses": [{"expression": licence}]} if licence else {})


if __name__ == "__main__":
    json.dump(bill_of_materials(), sys.stdout, indent=2)
    sys.stdout.write("\n")
