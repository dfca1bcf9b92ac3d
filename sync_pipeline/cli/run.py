"""`run`: a sync in this process."""

from __future__ import annotations

from collections.abc import Sequence

from sync_pipeline.cli.words import start

_HELP = "Run the sync in this process. It ends with 0 when the rows are in BigQuery. A table that fails is as before."


def main(argv: Sequence[str]) -> int:
    """Run a launch file; return the exit code. Raises ConfigError."""
    return start("run", argv, _HELP)
