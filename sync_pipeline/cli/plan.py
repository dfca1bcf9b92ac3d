"""`plan`: what a run would do."""

from __future__ import annotations

from collections.abc import Sequence

from sync_pipeline.cli.words import start

_HELP = "Show what a run would do. Writes nothing, and needs no bucket. --output=json prints it for programs."


def main(argv: Sequence[str]) -> int:
    """Print the plan of a launch file; return the exit code. Raises ConfigError."""
    return start("plan", argv, _HELP, ["--dry_run=true"])
