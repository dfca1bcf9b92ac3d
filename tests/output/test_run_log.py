from __future__ import annotations

import io
import json
import logging
import os
import re
import subprocess
import sys
from datetime import datetime

import pytest

from sync_pipeline.output.run_log import _own_lines, show_own_lines_only
from tests.on_terminal import TERMINAL, run_on_terminal, visible


def record(name: str, message: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord(name, logging.INFO, "file.py", 1, message, arguments, None)


def from_worker(message: str, location: str = "/opt/sync_pipeline/publishing/staging.py:150") -> str:
    """Return a line of a worker in another process, as Beam prints it."""
    return (
        'severity: INFO timestamp { seconds: 1784732400 nanos: 1000 } message: "'
        f'{message}" instruction_id: "bundle_1" transform_id: "Stage" log_location: "{location}" thread: "T"'
    )


@pytest.mark.parametrize(
    ("name", "message", "shown"),
    [
        pytest.param("sync_pipeline.pipeline", "plan: run 1", "plan: run 1", id="ours"),
        pytest.param("google.auth", "no project", "no project", id="a library's"),
        pytest.param("apache_beam.runners.portability", "starting", None, id="Beam's"),
        pytest.param("apache_beam", "starting", None, id="Beam's root"),
        pytest.param("root", from_worker("staged 1,000 rows"), "staged 1,000 rows", id="a worker's, ours"),
        pytest.param(
            "apache_beam.x", from_worker("staged 1,000 rows"), "staged 1,000 rows", id="through Beam's logger"
        ),
        pytest.param("root", from_worker("semi", "/venv/apache_beam/worker.py:3"), None, id="a worker's, Beam's"),
        pytest.param(
            "root", from_worker('said \\"no\\"\\nZ\\303\\274rich \\\\ end'), 'said "no"\nZürich \\ end', id="escapes"
        ),
        pytest.param("root", from_worker("100 % of %s"), "100 % of %s", id="per cent"),
        pytest.param("root", 'message: "no worker\'s line"', 'message: "no worker\'s line"', id="no location"),
    ],
)
def test_own_lines(name: str, message: str, shown: str | None) -> None:
    line = record(name, "%s", message)
    assert _own_lines(line) is (shown is not None)
    if shown is not None:
        assert line.getMessage() == shown


def test_show_own_lines_only(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    show_own_lines_only()
    for line in (record("apache_beam.x", "theirs"), record("sync_pipeline.x", "%d of ours", 1)):
        logging.getLogger().handle(line)
    assert stream.getvalue() == "1 of ours\n"


PROGRAM = "from sync_pipeline.command import main; import logging, sys\ncode = main(['--batch_size=0'])\n"
PROGRAM += "logging.getLogger('sync_pipeline.x').warning('late'); sys.exit(code)"


@pytest.mark.parametrize(
    ("environment", "lines"),
    [
        pytest.param(TERMINAL, ["\x1b[31merror: batch_size", "\x1b[33mwarning: late\x1b[0m"], id="a terminal"),
        pytest.param({**TERMINAL, "NO_COLOR": "1"}, ["error: batch_size", "warning: late"], id="no colours"),
        pytest.param({**TERMINAL, "TERM": "dumb"}, ["error: batch_size", "TIME WARNING late"], id="a dumb terminal"),
    ],
)
def test_lines_on_a_terminal(environment: dict[str, str], lines: list[str]) -> None:
    exit_code, written = run_on_terminal([sys.executable, "-c", PROGRAM], environment)
    written = re.sub(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME", written, flags=re.MULTILINE)
    first, *_, last = visible(written)
    assert (exit_code, last) == (2, lines[1])
    assert first.startswith(lines[0])


def test_lines_in_a_file_have_time_and_level() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    *_, last = done.stderr.splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ WARNING late", last)


def test_lines_on_cloud_run_are_json_objects() -> None:
    program = "import logging; from sync_pipeline.output.run_log import fields, start_logging; start_logging(); "
    program += "logging.getLogger('sync_pipeline.x').error('no\\n', extra=fields({'status': 'failed', 'rows': None}))"
    environment = {**os.environ, "CLOUD_RUN_JOB": "items"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment)
    [line] = done.stderr.splitlines()
    found = json.loads(line)
    assert datetime.fromisoformat(found.pop("time")).tzinfo is not None
    assert found == {"severity": "ERROR", "message": "no\n", "sync": {"status": "failed"}}
