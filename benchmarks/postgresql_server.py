"""The CPU that the PostgreSQL server uses, from the kernel's records of its processes."""

import os
from pathlib import Path

import psycopg2

_TICKS = os.sysconf("SC_CLK_TCK")

# Places in /proc/PID/stat, counted after the name: the parent, the CPU of the process, and of its ended children.
_PARENT, _CPU, _CPU_OF_CHILDREN = 1, slice(11, 13), slice(13, 15)


def first_process(dsn: str) -> int:
    """Return the process that starts a process for each connection."""
    connection = psycopg2.connect(dsn)
    pid = connection.info.backend_pid
    parent = int(_stat(pid)[_PARENT])
    connection.close()
    return parent


def cpu_seconds(first: int) -> float:
    """Return the CPU seconds of the server's processes, those that have ended included."""
    ticks = sum(map(int, _stat(first)[_CPU_OF_CHILDREN]))
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = _stat(int(folder.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[_PARENT]) == first:
            ticks += sum(map(int, fields[_CPU]))
    return ticks / _TICKS


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
