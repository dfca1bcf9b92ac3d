"""What became of each table of a run in this process, for the process itself: the workers write it to a file.

A runner may start its workers in other processes of this machine, so a value in memory would not do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from sync_pipeline.errors import SyncError, message_of
from sync_pipeline.output.run_output import ErrorOutput
from sync_pipeline.publishing.report import SyncReport


@dataclass(frozen=True)
class Outcomes:
    """A file with a line for each table: its report, or its error."""

    path: Path

    def add(self, number: int, outcome: SyncReport | Exception) -> None:
        """Write the outcome of a table, given by its number in the plan."""
        if isinstance(outcome, Exception):
            kind, value = "error", error_output(outcome).model_dump()
        else:
            kind, value = "report", asdict(outcome)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([number, kind, value]) + "\n")

    def read(self) -> Mapping[int, SyncReport | ErrorOutput]:
        """Return the outcomes by number, without the tables that have none. Of several the last counts."""
        if not self.path.exists():
            return {}
        lines = self.path.read_text(encoding="utf-8").splitlines()
        return {
            number: SyncReport.from_dict(value) if kind == "report" else ErrorOutput(**value)
            for number, kind, value in map(json.loads, lines)
        }


def error_output(error: BaseException) -> ErrorOutput:
    """Return an error for the output. The text of one that is not ours may hold values, so it is left out."""
    message = message_of(error) if isinstance(error, SyncError) else "unexpected: its traceback is on standard error"
    return ErrorOutput(kind=type(error).__name__, message=message)
