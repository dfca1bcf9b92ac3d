"""What the Makefile tells the programs that it starts."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def environment(**given: str) -> dict[str, str]:
    """The environment of a command that make starts."""
    done = subprocess.run(
        ["make", "--no-print-directory", "--eval=shown: ; @env", "shown"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **given},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({}, "1", id="by default"),
        pytest.param({"UV_SYSTEM_CERTS": "0"}, "0", id="unless told otherwise"),
    ],
)
def test_uv_trusts_the_authorities_of_the_system(given: dict[str, str], expected: str) -> None:
    assert environment(**given)["UV_SYSTEM_CERTS"] == expected


def test_the_uv_that_is_installed_knows_the_variable() -> None:
    uv = ROOT / ".uv/bin/uv"
    if not uv.exists():
        pytest.skip("uv is not in .uv: `make install` puts it there")
    told = subprocess.run([uv, "pip", "sync", "--help"], capture_output=True, text=True, check=True)
    assert "UV_SYSTEM_CERTS" in told.stdout
