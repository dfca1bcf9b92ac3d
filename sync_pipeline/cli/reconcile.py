"""`reconcile`: the comparison of the tables with their source."""

from __future__ import annotations

from collections.abc import Sequence

from sync_pipeline.cli.words import start

_REPAIR = "--repair"
_HELP = (
    "Read the whole source and compare it with the tables in BigQuery: count missing, different and surplus rows. "
    f"Ends with 3 if it finds any. With {_REPAIR}, exactly the differing rows are corrected, in one change."
)


def main(argv: Sequence[str]) -> int:
    """Compare or repair the tables of a launch file; return the exit code. Raises ConfigError."""
    words = [word for word in argv if word != _REPAIR]
    kind = "repair" if len(words) < len(argv) else "report"
    return start("reconcile", words, _HELP, [f"--reconcile={kind}"])
