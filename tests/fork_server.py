"""Programs that begin with Beam imported: forked from a process that has imported it once for all of them.

Beam's import takes longer than most runs of the tests. A test of how a program starts calls Python as it is.

A program that was forked is the leader of a session, and has only its three standard files open. What a module decides
by the environment when it is imported was decided by the environment of the tests. It cannot register another source.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

_ROOT = Path(__file__).parents[1]
_CLIENT = Path(__file__).with_name("forked_python.py")
_BY_WORKER_ID = "apache_beam.runners.worker.worker_id_interceptor"

# What runs import, now or later; none of them starts a thread that a forked program would miss. The product is among
# them: no test changes its source files.
IMPORTED = (
    "apache_beam.io.gcp.gcsfilesystem",
    "apache_beam.runners.direct",
    "apache_beam.runners.portability.fn_api_runner",
    "google.cloud.bigquery_storage",
    "google.cloud.secretmanager",
    "sync_pipeline.command_run",
    "sync_pipeline.pipeline",
    "tests.beam_caches",
)

# Has the program of the process that began the tests; those of its workers use the same server.
_VARIABLE = "TESTS_PYTHON"


def share() -> None:
    """Start the server for this process and all that it starts, unless there is one."""
    if _VARIABLE not in os.environ:
        os.environ[_VARIABLE] = start(IMPORTED)


def python() -> str:
    """Return the path of a program to call as Python: what it runs is forked, where it is given no options."""
    return os.environ[_VARIABLE]


def start(imported: Sequence[str]) -> str:
    """Start a server, which ends with this process; return the path of its program. It imports for the first call."""
    folder = Path(tempfile.mkdtemp(prefix="python-"))
    program = folder / "python"
    program.write_text(f"#!{sys.executable} -IS\n{_CLIENT.read_text()}")
    program.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
        listener.listen(64)
        server = subprocess.Popen(
            [sys.executable, "-m", __name__, str(listener.fileno()), str(program), *imported],
            stdin=subprocess.PIPE,
            cwd=_ROOT,
            env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )

    # The server sees the end of its input and removes the folder, as it does when this process is killed.
    atexit.register(server.communicate)
    return str(program)


@dataclass(frozen=True)
class _Request:
    """A program to run: what follows `python` on its command line, its three standard files, and its folder."""

    words: list[str]
    environment: Mapping[str, str]
    files: list[int]


def _serve(listener: socket.socket, folder: Path, imported: Sequence[str]) -> _Request:
    """Fork a program for each client, and return in the program what it is to run.

    The server ends when its standard input ends, as it does when the tests end in any way.
    """
    is_first = True
    while True:
        ready, _, _ = select.select([0, listener], [], [])
        if 0 in ready:
            shutil.rmtree(folder)
            os._exit(0)
        client, _ = listener.accept()
        if is_first:
            _import(imported)
            is_first = False
        if _fork() == 0:
            with client:
                return _watched(client)
        client.close()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _import(names: Sequence[str]) -> None:
    gc.disable()
    for name in names:
        importlib.import_module(name)
    # A collection in a program would copy the memory of all objects.
    gc.freeze()
    gc.enable()


def _fork() -> int:
    # Python warns of threads. These are jemalloc's and OpenBLAS', which begin them anew when they need them.
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        return os.fork()


def _watched(client: socket.socket) -> _Request:
    """Fork the program of a client and return in it. This process tells the client how the program ends."""
    length, files, _, _ = socket.recv_fds(client, 4, 4)
    request = json.loads(client.recv(int.from_bytes(length), socket.MSG_WAITALL))
    pid = _fork()
    if pid == 0:
        return _Request(**request, files=files)
    for file in files:
        os.close(file)
    program = os.pidfd_open(pid)
    while True:
        ready, _, _ = select.select([0, client, program], [], [])
        if program in ready:
            _, status = os.waitpid(pid, 0)
            with contextlib.suppress(BrokenPipeError):
                client.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, signed=True))
            os._exit(0)
        number = b"" if 0 in ready else client.recv(1)
        if number:
            signal.pidfd_send_signal(program, number[0])
            continue
        # The client or the tests are no more. Until the program leads its own group, it is in the server's.
        signal.pidfd_send_signal(program, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        os._exit(0)


def _become(request: _Request, executable: str) -> None:
    """Make this process one that has just begun to run the program."""
    os.setsid()
    *standard, folder = request.files
    os.fchdir(folder)
    for number, file in enumerate(standard):
        os.dup2(file, number)
    for file in request.files:
        os.close(file)
    os.environ.clear()
    os.environ.update(request.environment)
    time.tzset()
    if _BY_WORKER_ID in sys.modules:
        sys.modules[_BY_WORKER_ID].WorkerIdInterceptor._worker_id = os.environ.get("WORKER_ID")
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    # What the program starts as Python is forked too.
    sys.executable = executable
    sys.stdin = sys.__stdin__ = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)))
    sys.stdout = sys.__stdout__ = _output(1, os.isatty(1), "strict")
    sys.stderr = sys.__stderr__ = _output(2, True, "backslashreplace")


def _output(file: int, line_buffering: bool, errors: str) -> io.TextIOWrapper:
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    raw = io.FileIO(file, "w", closefd=False)
    binary = raw if unbuffered else io.BufferedWriter(raw)
    return io.TextIOWrapper(binary, errors=errors, line_buffering=line_buffering, write_through=unbuffered)


def _run(words: Sequence[str]) -> None:
    """Do what Python does with the words that follow it."""
    main = sys.modules["__main__"] = ModuleType("__main__")
    program, *arguments = words
    if program == "-m":
        sys.path[0], sys.argv = str(Path.cwd()), arguments
        runpy._run_module_as_main(arguments[0])  # type: ignore[attr-defined]
        return
    if program == "-c":
        sys.path[0], sys.argv = "", ["-c", *arguments[1:]]
        code = compile(arguments[0], "<string>", "exec", dont_inherit=True)
    else:
        sys.path[0], sys.argv = str(Path(program).resolve().parent), [program, *arguments]
        code = compile(Path(program).read_bytes(), program, "exec", dont_inherit=True)
        main.__file__ = program
    exec(code, vars(main))


def main(listener: str, executable: str, *imported: str) -> None:
    """Serve, and end as a program does."""
    with socket.socket(fileno=int(listener)) as accepting:
        request = _serve(accepting, Path(executable).parent, imported)
    _become(request, executable)
    exit_code: object = 0
    try:
        _run(request.words)
    except SystemExit as end:
        exit_code = end.code or 0
        if not isinstance(exit_code, int):
            raise
    # What else Python does at its end is to take all modules apart.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


if __name__ == "__main__":
    main(*sys.argv[1:])
