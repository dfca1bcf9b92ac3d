"""The last line about a table, or about a whole run, that has failed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sync_pipeline.errors import SyncError
from sync_pipeline.failures import error_line
from sync_pipeline.output.run_log import pairs
from sync_pipeline.planning.plan import Run


@dataclass(frozen=True)
class FailureReport:
    """Why a table, or a whole run, has failed.

    Attributes:
        message: one line, without values of rows.
        kind: the class of the error.
        run_id: empty if the run ended before it had one.
        table_id: empty for the whole run.
        seconds: from the start of planning; None if it was not planned.
        is_transient: whether another attempt, which Dataflow makes by itself, may succeed.
    """

    message: str
    kind: str
    run_id: str
    table_id: str
    seconds: float | None
    is_transient: bool

    @classmethod
    def of(cls, error: BaseException, run: Run | None, table_id: str = "") -> FailureReport:
        """Return the report of an error. The text of one that is not ours may hold values, so it is left out."""
        return cls(
            error_line(error) if isinstance(error, SyncError) else "unexpected error",
            type(error).__name__,
            "" if run is None else run.id,
            table_id,
            None if run is None else (datetime.now(UTC) - run.started_at).total_seconds(),
            isinstance(error, SyncError) and error.is_transient,
        )

    @property
    def values(self) -> dict[str, object]:
        """What the line says, for programs; None for what it does not say."""
        return {
            "status": "failed",
            "run_id": self.run_id or None,
            "table": self.table_id or None,
            "error": self.kind,
            "is_transient": self.is_transient,
            "seconds": None if self.seconds is None else round(self.seconds, 1),
            "reason": self.message,
        }

    def __str__(self) -> str:
        values = {
            "run_id": self.run_id,
            "table": self.table_id,
            "error": self.kind,
            "is_transient": "true" if self.is_transient else "",
            "seconds": "" if self.seconds is None else f"{self.seconds:.1f}",
        }
        return f"sync failed: {self.message}: {pairs({name: value for name, value in values.items() if value})}"
