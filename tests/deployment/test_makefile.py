"""What the Makefile tells the programs that it starts, and what it makes of their answers."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.http_servers import answering

ROOT = Path(__file__).resolve().parents[2]
SYSTEM_CERTS = "/etc/ssl/certs/ca-certificates.crt"


def environment(certificates: str = "PIP_WITH_CERTS", **given: str) -> dict[str, str]:
    """The environment of a command that make starts."""
    done = subprocess.run(
        ["make", "--no-print-directory", f"--eval=shown: ; @$({certificates}) env", "shown"],
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


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({}, {SYSTEM_CERTS} if Path(SYSTEM_CERTS).exists() else {None}, id="by default"),
        pytest.param({"PIP_CERT": "mine.pem"}, {"mine.pem"}, id="pip's own"),
        pytest.param({"REQUESTS_CA_BUNDLE": "mine.pem"}, {None}, id="another that pip reads"),
    ],
)
def test_pip_trusts_them_too_unless_told_otherwise(given: dict[str, str], expected: set[str | None]) -> None:
    assert environment(**given).get("PIP_CERT") in expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({}, {SYSTEM_CERTS} if Path(SYSTEM_CERTS).exists() else {None}, id="by default"),
        pytest.param({"REQUESTS_CA_BUNDLE": "mine.pem"}, {"mine.pem"}, id="unless told otherwise"),
    ],
)
def test_the_audit_trusts_them_too(given: dict[str, str], expected: set[str | None]) -> None:
    assert environment("REQUESTS_WITH_CERTS", **given).get("REQUESTS_CA_BUNDLE") in expected


def test_the_uv_that_is_installed_knows_the_variable() -> None:
    uv = ROOT / ".uv/bin/uv"
    if not uv.exists():
        pytest.skip("uv is not in .uv: `make install` puts it there")
    told = subprocess.run([uv, "pip", "sync", "--help"], capture_output=True, text=True, check=True)
    assert "UV_SYSTEM_CERTS" in told.stdout


def test_the_fast_tests_start_no_server() -> None:
    shown = subprocess.run(
        ["make", "--dry-run", "test-fast"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    ignored = set(re.findall(r"--ignore=(\S+)", shown))
    starting = {path for path in (ROOT / "tests").rglob("*.py") if "sandbox.running(" in path.read_text()}
    folders = {str(path.parent.relative_to(ROOT)) for path in starting - {Path(__file__)}}
    assert "tests/integration" in folders
    assert folders <= ignored


VULNERABILITY = {
    "id": "GHSA-xxxx-xxxx-xxxx",
    "modified": "2026-01-01T00:00:00Z",
    "published": "2026-01-01T00:00:00Z",
    "summary": "It is broken.",
    "affected": [
        {
            "package": {"name": "aiohttp", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "9999"}]}],
        }
    ],
}


@contextlib.contextmanager
def advisories(package: str | None) -> Iterator[str]:
    """A source of advisories that knows of one package; the URL of its queries."""

    def answer(method: str, _path: str, body: bytes) -> tuple[int, Any]:
        if method == "GET":
            # Whether anybody answers: any answer is one.
            return 405, {}
        asked = json.loads(body)
        return 200, {"vulns": [VULNERABILITY]} if asked["package"]["name"] == package else {}

    with answering(answer) as url:
        yield f"{url}/v1/query"


def make(target: str, source: str) -> subprocess.CompletedProcess[str]:
    without_proxy = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    return subprocess.run(
        ["make", "--no-print-directory", target, f"ADVISORIES={source}"],
        cwd=ROOT,
        env=without_proxy,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_packages_of_which_nothing_is_known() -> None:
    with advisories(None) as source:
        done = make("advise", source)
    assert (done.returncode, "No known vulnerabilities found" in done.stderr) == (0, True), done


def test_a_known_vulnerability_is_told_by_the_checks_and_fails_the_audit() -> None:
    with advisories("aiohttp") as source:
        done = make("advise", source)
    assert done.returncode == 0
    assert "GHSA-xxxx-xxxx-xxxx" in done.stdout
    assert done.stderr.endswith("make check: see above; make audit fails by it\n")


def test_where_there_are_no_advisories_the_checks_say_so_at_once() -> None:
    begun = time.monotonic()
    done = make("advise", "http://127.0.0.1:9/v1/query")
    assert time.monotonic() - begun < 20
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "No advisories are to be had from http://127.0.0.1:9/v1/query: known vulnerabilities were not looked for.\n"
    )
