"""`chain`: the program of `orchestration.chain`, for chains of several syncs."""

from __future__ import annotations

from collections.abc import Sequence

from sync_pipeline.cli.program import PROGRAM


def main(argv: Sequence[str]) -> int:
    """Check, show or run a chain file; return the exit code."""
    from orchestration.chain.__main__ import main as chain

    return chain(argv, f"{PROGRAM} chain")
