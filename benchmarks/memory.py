"""Peak memory of a sync, and whether it grows with the number of rows: `make bench-memory`.

`main.py`, started like a template launch, syncs the same query with 300,000 and with 3,000,000 rows. Rows stream
through the pipeline, so ten times the rows should need about the same memory. Only the ratio of the two peaks in one
run is meaningful: absolute figures differ between machines.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from subprocess import DEVNULL, STDOUT, Popen
from typing import Any

import sandbox
from sandbox import demo_orders, demo_run
from sandbox.endpoints import Endpoints

SMALL, LARGE = 300_000, 3_000_000
MOST_RATIO = 1.3
RESULTS = Path(__file__).with_name("results") / "memory.json"
SAMPLE_SECONDS = 0.05
PACKAGES = ("apache-beam", "pyarrow", "psycopg2-binary", "google-cloud-bigquery")
MIB = 2**20


class RunFailedError(Exception):
    """A measured run did not load its rows; the message has its whole output."""


@dataclass(frozen=True)
class Measured:
    """The exit code, peak memory (bytes, all processes together), seconds and output of a command."""

    exit_code: int
    peak: int
    seconds: float
    output: str


def measure(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Measured:
    """Run `command` in `folder` and measure it.

    It samples the sum over all processes, and reads each process's own peak from the kernel. The larger of the two is
    the peak. `wait4` is unsuitable: its figure includes the memory of our own process when it started the command.
    """
    with tempfile.TemporaryFile() as output:
        began = time.monotonic()
        process = Popen(command, cwd=folder, env=dict(environment), stdin=DEVNULL, stdout=output, stderr=STDOUT)
        try:
            peak = 0
            while process.poll() is None:
                peak = max(peak, _memory_of_tree(process.pid))
                time.sleep(SAMPLE_SECONDS)
        except BaseException:
            process.kill()
            process.wait()
            raise
        output.seek(0)
        return Measured(
            exit_code=process.returncode,
            peak=peak,
            seconds=time.monotonic() - began,
            output=output.read().decode(errors="replace"),
        )


def descendants(root: int, parents: Mapping[int, int]) -> set[int]:
    """Return `root` and all processes below it; `parents` has the parent of each process."""
    found = {root}
    while below := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= below
    return found


def result(small: Measured, large: Measured, idle: Measured, circumstances: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of `memory.json`; memory in MiB."""
    return {
        "peak_mb_300k": round(small.peak / MIB, 1),
        "peak_mb_3m": round(large.peak / MIB, 1),
        "ratio": round(large.peak / small.peak, 3),
        "peak_mb_dry_run": round(idle.peak / MIB, 1),
        "seconds_300k": round(small.seconds, 1),
        "seconds_3m": round(large.seconds, 1),
        **circumstances,
    }


def facts(packages: Sequence[str]) -> dict[str, Any]:
    """Return the date, the machine and the versions of `packages` of a measurement."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "cpus": os.cpu_count(),
            "memory_gb": round(memory / 2**30, 1),
        },
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in packages},
    }


def main(argv: Sequence[str]) -> int:
    """Measure, write the result and return the exit code: 1 if memory grows too much, 2 if a run failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description="Measure a sync's memory.")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the file that is written (%(default)s)")
    output = parser.parse_args(argv).output
    with tempfile.TemporaryDirectory(prefix="sandbox-memory-") as folder, sandbox.running(Path(folder)) as endpoints:
        try:
            # A dry run imports and plans the same but reads no rows, so its memory is the minimum.
            idle = _measure_sync(endpoints, SMALL, dry_run=True)
            small, large = (_measure_sync(endpoints, rows) for rows in (SMALL, LARGE))
        except RunFailedError as error:
            print(error, file=sys.stderr)
            return 2
    document = result(small, large, idle, facts(PACKAGES))
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    holds = document["ratio"] <= MOST_RATIO
    print(
        f"ratio {document['ratio']}, the aim is at most {MOST_RATIO}: {'reached' if holds else 'MISSED'}; see {output}"
    )
    return 0 if holds else 1


def _measure_sync(endpoints: Endpoints, rows: int, *, dry_run: bool = False) -> Measured:
    parameters = {
        **demo_run.source_parameters(endpoints),
        "postgresql_query": demo_orders.past_orders_sql(rows),
        **demo_run.destination_parameters(endpoints),
        "destination_bigquery_table": f"orders_{rows}",
        "dry_run": str(dry_run).lower(),
    }
    measured = measure(demo_run.command(parameters), {**os.environ, **endpoints.environment()}, demo_run.ROOT)
    what = "a dry run" if dry_run else f"{rows:,} rows"
    report = demo_run.find_report(measured.output)
    if measured.exit_code != 0 or (not dry_run and (report is None or report.rows_loaded != rows)):
        raise RunFailedError(f"{what}: failed with exit code {measured.exit_code}:\n{measured.output}")
    print(f"{what}: {measured.peak / MIB:,.0f} MiB at most, {measured.seconds:.1f} s", flush=True)
    return measured


def _memory_of_tree(root: int) -> int:
    """Return the memory of a process and all below it, in bytes: together now, or of one alone at its highest."""
    processes = descendants(root, dict(_parents(Path("/proc").iterdir())))
    now_and_highest = [_resident(process) for process in processes]
    return max(sum(now for now, _ in now_and_highest), max(highest for _, highest in now_and_highest))


def _parents(entries: Iterable[Path]) -> Iterable[tuple[int, int]]:
    for entry in entries:
        if entry.name.isdecimal():
            try:
                # The second field is the command's name in parentheses; the name may contain spaces and parentheses.
                yield int(entry.name), int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue


def _resident(pid: int) -> tuple[int, int]:
    """Return a process's current and peak resident memory in bytes; zeros if it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0, 0
    kilobytes = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB$", status, re.MULTILINE))
    return int(kilobytes.get("VmRSS", 0)) * 1024, int(kilobytes.get("VmHWM", 0)) * 1024


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
