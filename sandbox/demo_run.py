"""Running `main.py` as a template launch does: its command line, its output, and the numbers it reports."""

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox.endpoints import Endpoints

ROOT = Path(__file__).resolve().parent.parent

# The tables that are written: one keeps every version of an order, the other each order once.
TABLE = "orders"
MERGED_TABLE = "orders_now"

# The command of the process that runs the product, and what begins the line with the exit code of a run.
STARTER = [sys.executable, "-m", "sandbox.demo_starter"]
END = "\0exit code "

_REPORT = re.compile(r"sync report: (?P<outcome>.*?): (?P<numbers>\w+=.*)")
_TOTAL = re.compile(r"sync total: (?P<outcome>.*): (?P<numbers>run_id=.*)")


@dataclass(frozen=True)
class Report:
    """A run's report, from the line `sync report: …` of its log.

    `interval` is the pair of its bounds, or None when the run read everything. `seconds` counts from the plan to the
    publication.
    """

    outcome: str
    interval: tuple[str, str] | None
    rows_read: int
    rows_loaded: int
    seconds: float

    @property
    def rows_per_second(self) -> float:
        """Rows that were published in one second."""
        return self.rows_loaded / max(self.seconds, 0.1)


def find_report(log: str) -> Report | None:
    """Return the run's report, None if it ended before reporting."""
    return _report(_REPORT.search(log))


def find_total(log: str) -> Report | None:
    """Return the total of a run of several tables, which has no interval; None if it ended before."""
    return _report(_TOTAL.search(log))


def _report(found: re.Match[str] | None) -> Report | None:
    if found is None:
        return None
    numbers = dict(re.findall(r"(\w+)=(.*?)(?= \w+=|$)", found["numbers"]))
    bounds = re.fullmatch(r"\((.*),(.*)\]", numbers.get("interval", ""))
    return Report(
        outcome=found["outcome"],
        interval=(bounds[1].replace("T", " "), bounds[2].replace("T", " ")) if bounds else None,
        rows_read=int(numbers["rows_read"]),
        rows_loaded=int(numbers["rows_loaded"]),
        seconds=float(numbers["seconds"]),
    )


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its exit code, and all it printed."""

    exit_code: int
    output: str

    @property
    def report(self) -> Report | None:
        """What the run reported, None when it failed or was a dry run."""
        return find_report(self.output)


def source_parameters(endpoints: Endpoints) -> dict[str, str]:
    """Return the connection parameters of PostgreSQL."""
    return {
        "data_source": "postgresql",
        "postgresql_host": endpoints.postgresql_host,
        "postgresql_port": str(endpoints.postgresql_port),
        "postgresql_database": endpoints.postgresql_database,
        "postgresql_username": endpoints.postgresql_username,
        "postgresql_password": endpoints.postgresql_password,
    }


def mongodb_parameters(endpoints: Endpoints) -> dict[str, str]:
    """Return the connection parameters of MongoDB, with its read-only user."""
    parameters = {
        "data_source": "mongodb",
        "mongodb_host": endpoints.mongodb_host,
        "mongodb_port": str(endpoints.mongodb_port),
        "mongodb_database": endpoints.mongodb_database,
        "mongodb_username": endpoints.mongodb_username,
        "mongodb_password": endpoints.mongodb_password,
    }
    # A server of one's own may ask for no password.
    return {name: value for name, value in parameters.items() if value}


def destination_parameters(endpoints: Endpoints) -> dict[str, str]:
    """Return the parameters that say where the rows go, and Beam's option for temporary files."""
    return {
        "destination_bigquery_project": endpoints.project,
        "destination_bigquery_dataset": endpoints.dataset,
        "destination_bigquery_table": TABLE,
        "temp_location": f"gs://{endpoints.bucket}/staging",
    }


def command(parameters: Mapping[str, str]) -> list[str]:
    """Return the command that runs the product, with the password in it: not for the screen."""
    return [sys.executable, "main.py", *(f"--{name}={value}" for name, value in parameters.items())]


def shown_command(parameters: Mapping[str, str]) -> str:
    """Return the command as a person types it, one parameter a line, with a variable in place of a password."""
    words = ["python main.py"]
    for name, value in parameters.items():
        shown = f'"$SANDBOX_{name.upper()}"' if name.endswith("_password") else shell_word(value)
        words.append(f"--{name}={shown}")
    return " \\\n  ".join(words)


def shell_word(text: str) -> str:
    """Return `text` as a shell reads it, in double quotes where that is easier on the eye: SQL has single ones."""
    if "'" in text and not set(text) & set('"$`\\!'):
        return f'"{text}"'
    return shlex.quote(text)


@dataclass(frozen=True)
class Product:
    """The product in a process of its own, which has imported it already: `demo_starter`."""

    process: subprocess.Popen[str]

    def run(self, parameters: Mapping[str, str], show_line: Callable[[str], None] = lambda _: None) -> Outcome:
        """Run the product and hand each line it prints to `show_line` at once."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(command(parameters)[2:]), file=self.process.stdin, flush=True)
        lines: list[str] = []
        for line in self.process.stdout:
            if line.startswith(END):
                return Outcome(int(line.removeprefix(END)), "".join(lines))
            lines.append(line)
            show_line(line.rstrip("\n"))
        return Outcome(self.process.wait(), "".join(lines))


@contextlib.contextmanager
def started(environment: Mapping[str, str]) -> Iterator[Product]:
    """Start the process that runs the product, and end it, with a run that is under way."""
    with subprocess.Popen(
        STARTER,
        cwd=ROOT,
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    ) as process:
        try:
            yield Product(process)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
