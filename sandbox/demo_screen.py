"""What the demo shows: titles, lines and tables, the same on a terminal and in a file."""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from google.cloud import bigquery
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sandbox.demo_orders import Comparison
from sandbox.demo_run import Report
from sync_pipeline.schema import Schema

# The tables fit this many characters; a terminal may be wider, and a narrower one breaks the lines itself.
WIDTH = 80

_TIME = re.compile(r"^[0-9T:-]+Z (?=[A-Z]+ )")
_CELL_CHARACTERS = 18
_PLAN_LINES = 4


def new_console() -> Console:
    """Return the screen. What it prints is text and never markup, whatever brackets are in it."""
    # A terminal that lacks a letter shows "?" in its place, which is no reason to end.
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    console = Console(highlight=False, markup=False, emoji=False)
    return Console(width=max(WIDTH, console.width), highlight=False, markup=False, emoji=False)


def title(console: Console, text: str) -> None:
    """Begin a part of the demo."""
    console.print()
    console.print(Text(text, style="bold cyan"))
    console.print(Text("─" * len(text), style="cyan"))


def show_line(console: Console, line: str) -> None:
    """Show a line that the product printed, indented, never broken and without the time of a log line."""
    line = _TIME.sub("", line)
    style = "red" if line.startswith(("error:", "ERROR")) else "yellow" if line.startswith("WARNING") else "dim"
    console.print(Text(f"    {line}", style=style), soft_wrap=True)


def shortened(lines: Iterable[str], limit: int = _PLAN_LINES) -> Iterator[str]:
    """Yield the lines of a plan with no more than `limit` of those that are indented under one heading."""
    section: list[str] = []
    for line in lines:
        if line.startswith(" "):
            section.append(line)
            continue
        yield from _cut(section, limit)
        section = []
        yield line
    yield from _cut(section, limit)


def _cut(section: Sequence[str], limit: int) -> Iterator[str]:
    # In place of a single line its own text can stand as well.
    if len(section) <= limit + 1:
        yield from section
        return
    yield from section[:limit]
    yield f"    … {len(section) - limit} more lines"


def rows_table(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """Return a few rows as a table; long values are cut, and NULL differs from the empty text."""
    table = _table()
    for name in names:
        table.add_column(name, no_wrap=True)
    for row in rows:
        table.add_row(*(Text("NULL", style="dim") if value is None else Text(_cell(value)) for value in row))
    return table


def _cell(value: object) -> str:
    text = repr(value) if isinstance(value, str) and not value else str(value)
    text = text.replace("\n", "⏎")
    return text if len(text) <= _CELL_CHARACTERS else text[: _CELL_CHARACTERS - 1] + "…"


def schema_table(described: bigquery.Table) -> Table:
    """Return the columns of a BigQuery table."""
    table = _table()
    for name in ("Column", "Type", "", "Description"):
        table.add_column(name, no_wrap=True)
    for field in Schema.from_bigquery(described.schema):
        table.add_row(field.name, field.type_name, "required" if field.mode == "REQUIRED" else "", field.description)
    return table


def layout_line(described: bigquery.Table) -> str:
    """Return how a BigQuery table is partitioned and clustered."""
    partitioning = described.time_partitioning
    parts = [f"partitioned by {partitioning.field} ({partitioning.type_})"] if partitioning else []
    if described.clustering_fields:
        parts.append(f"clustered by {', '.join(described.clustering_fields)}")
    return ", ".join(parts) or "neither partitioned nor clustered"


def comparison_table(comparisons: Iterable[Comparison], source: str = "PostgreSQL", compared: str = "Column") -> Table:
    """Return the fingerprints of each column, or of what else is `compared`, side by side."""
    table = _table()
    for name in (compared, source, "BigQuery", ""):
        table.add_column(name, no_wrap=True)
    for comparison in comparisons:
        verdict = Text("equal", style="green") if comparison.is_equal else Text("different", style="bold red")
        table.add_row(comparison.column, comparison.source[:16], comparison.destination[:16], verdict)
    return table


def summary(reports: Mapping[str, Report]) -> Table:
    """Return the runs with their numbers."""
    table = _table()
    table.add_column("Run", style="bold", no_wrap=True)
    table.add_column("Interval of updated_at", no_wrap=True)
    for name in ("Rows\nread", "Rows\nloaded", "Time", "Rows/s"):
        table.add_column(name, justify="right", no_wrap=True)
    for number, (name, report) in enumerate(reports.items()):
        if number:
            table.add_section()
        table.add_row(
            name,
            _interval(report),
            f"{report.rows_read:,}",
            f"{report.rows_loaded:,}",
            f"{report.seconds:.1f} s",
            f"{report.rows_per_second:,.0f}",
        )
    return table


def _interval(report: Report) -> str:
    if report.interval is None:
        return "everything"
    start, end = (bound.split(".")[0] for bound in report.interval)
    return f"after {start}\nup to {end}"


def _table() -> Table:
    return Table(box=box.ROUNDED, header_style="bold", border_style="dim")
