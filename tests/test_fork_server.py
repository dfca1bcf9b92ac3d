"""Forked programs are as if they had been started: what they are given, what they do, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests import fork_server

ROOT = Path(__file__).parents[1]
IMPORTED = ("html.entities",)
SHOW = """
import os, sys, time
print(__name__, sys.argv[1:], sys.path[0], os.getcwd(), os.environ["NAME"].encode(errors="surrogateescape"))
print(time.tzname[0], sys.stdin.read(), "html.entities" in sys.modules)
print("not lost", file=sys.stderr)
sys.exit(7)
"""
# It tells its id, waits, and is not ended by the first SIGTERM.
WAIT = """
import os, signal, time
signal.signal(signal.SIGTERM, lambda *_: (signal.signal(signal.SIGTERM, signal.SIG_DFL), print("told", flush=True)))
print(os.getpid(), flush=True)
while True:
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def python() -> str:
    return fork_server.start(IMPORTED)


def run(
    python: str, *words: str, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    if environment is None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [python, *words], env=environment, cwd=folder, input="read", capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("kind", ["code", "module", "script"])
@pytest.mark.parametrize("is_forked", [True, False], ids=["forked", "started"])
def test_a_program_has_what_it_is_given(python: str, tmp_path: Path, kind: str, is_forked: bool) -> None:
    script = tmp_path / "scripts" / "show.py"
    script.parent.mkdir()
    script.write_text(SHOW)
    words, place = {
        "code": (["-c", SHOW], ""),
        "module": (["-m", "scripts.show"], str(tmp_path)),
        "script": ([str(script)], str(script.parent)),
    }[kind]
    environment = {"NAME": "\udcff", "TZ": "Asia/Tokyo", "PYTHONUNBUFFERED": "1"}
    called = python if is_forked else sys.executable
    done = run(called, *words, "one", "--two=2", environment=environment, folder=tmp_path)
    assert done.stdout.splitlines() == [
        f"__main__ ['one', '--two=2'] {place} {tmp_path} {b'\xff'}",
        f"JST read {is_forked}",
    ]
    assert (done.returncode, done.stderr) == (7, "not lost\n")


@pytest.mark.parametrize(
    ("end", "exit_code", "complaint"),
    [
        pytest.param("pass", 0, "", id="at the end"),
        pytest.param("sys.exit()", 0, "", id="exit"),
        pytest.param("sys.exit('why')", 1, "why", id="a message"),
        pytest.param("1 / 0", 1, "ZeroDivisionError: division by zero", id="an exception"),
        pytest.param("import os; os._exit(3)", 3, "", id="at once"),
        pytest.param("import os; os.kill(os.getpid(), 9)", -9, "", id="killed"),
        pytest.param("import atexit; atexit.register(print, 'later', file=sys.stderr)", 0, "later", id="atexit"),
        pytest.param(
            "import threading, time\n"
            "threading.Thread(target=lambda: (time.sleep(0.1), print('later', file=sys.stderr))).start()",
            0,
            "later",
            id="a thread is waited for",
        ),
    ],
)
def test_a_program_ends_as_it_would(python: str, end: str, exit_code: int, complaint: str) -> None:
    done = run(python, "-c", f"import sys; print('written', end='')\n{end}")
    assert done.returncode == exit_code
    assert done.stderr.splitlines()[-1:] == ([complaint] if complaint else [])
    assert done.stdout == ("" if exit_code in (3, -9) else "written")


def test_a_signal_reaches_the_program(python: str) -> None:
    with subprocess.Popen([python, "-c", WAIT], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        program = int(process.stdout.readline())
        process.terminate()
        assert process.stdout.readline() == "told\n"
        process.terminate()
    assert process.returncode == -signal.SIGTERM
    assert has_ended(program)


def test_no_program_outlives_who_called_it(python: str) -> None:
    with subprocess.Popen([python, "-c", WAIT], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        program = int(process.stdout.readline())
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert has_ended(program)


def test_neither_programs_nor_files_outlive_the_tests() -> None:
    tests = "import subprocess\nfrom tests.fork_server import start\npython = start(())\nprint(python, flush=True)\n"
    tests += f"subprocess.run([python, '-c', {WAIT!r}])"
    with subprocess.Popen([sys.executable, "-c", tests], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        python, program = process.stdout.readline().strip(), int(process.stdout.readline())
        process.kill()
        # Until nobody has it open any more, the server included.
        assert process.stdout.read() == ""
    assert has_ended(program)
    assert not Path(python).exists()


def test_options_are_python_s(python: str) -> None:
    assert run(python, "-X", "utf8=0", "-c", "import sys; print(sys.executable)").stdout == f"{sys.executable}\n"
    done = run(python, "-c", "import sys; print(sys.executable)", environment={"PYTHONPATH": "elsewhere"})
    assert done.stdout == f"{sys.executable}\n"
    assert run(python, "-c", "import sys; print(sys.executable)").stdout == f"{python}\n"


def has_ended(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False
