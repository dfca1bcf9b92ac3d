"""The text of a plan with several tables: a line for each table, and each warning once."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from sync_pipeline.failures import error_line
from sync_pipeline.output.terminal import aligned, wrapped
from sync_pipeline.planning.billed_queries import size_text
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.planning.run_plan import RunPlan
from sync_pipeline.printable import named, on_one_line

_HEADERS = ("Table", "Rows", "Size", "Mode", "Splits", "Destination", "Why")

INDENT = " " * 4
NO_RISKS = "none seen"

# Names of tables that a warning lists; more are counted.
_MAX_NAMES = 5


def overview_lines(plan: RunPlan) -> list[str]:
    """Return the plan as single lines for the log."""
    lines = [f"plan: run {plan.run.id}: {_summary(plan)}"]
    for table in plan.tables:
        name, rows, size, mode, splits, destination, why = _cells(table)
        lines.append(f"plan: {name} to {destination}: {mode} ({why}), rows: {rows}, size: {size}, splits: {splits}")
    lines += [f"plan: failed: {line}" for line in _failures(plan)]
    lines += [f"plan: note: {note}" for note in _notes(plan)]
    return lines + [f"plan: risk: {risk}" for risk in _risks(plan)]


def overview_page(plan: RunPlan, width: int | None = None) -> str:
    """Return the plan as a page; `dry_run=true` prints it."""
    inner = None if width is None else width - len(INDENT)
    connections = dict.fromkeys(table.transport for table in plan.tables if table.transport)
    sections = [
        ("Risks", bullets(_risks(plan)) or NO_RISKS),
        (
            "Sync",
            "\n".join((f"{_summary(plan)} (run {plan.run.id})", *(f"connection: {text}" for text in connections))),
        ),
        ("Tables", "\n".join(aligned([_HEADERS, *map(_cells, plan.tables)], inner))),
        *([("Failed", bullets(_failures(plan)))] if plan.failed else []),
        ("Notes", bullets(_notes(plan)) or "none"),
    ]
    return page_of(sections, width, verbatim=("Tables",))


def _summary(plan: RunPlan) -> str:
    datasets = dict.fromkeys(f"{t.config.destination.project}.{t.config.destination.dataset}" for t in plan.tables)
    tables = f"{len(plan.tables):,} table{'' if len(plan.tables) == 1 else 's'}"
    failed = f", {len(plan.failed):,} that cannot be planned" if plan.failed else ""
    return f"{tables} of {plan.tables[0].config.data_source} to {', '.join(datasets)}{failed}"


def _cells(table: TableSync) -> tuple[str, ...]:
    rows = table.read.estimated_rows
    key = f" by {', '.join(table.primary_key)}" if table.primary_key else ""
    kind = ", backfill" if table.is_backfill else ", Smart Sync" if table.interval is not None else ""
    left = ", more is left" if table.more_is_left else ""
    splits = "pushdown" if table.selection is not None else table.read.how or str(len(table.read.splits))
    return (
        on_one_line(table.source_table),
        "unknown" if rows is None else f"{rows:,}",
        "unknown" if table.source_bytes is None else size_text(table.source_bytes),
        f"{'compare' if table.reconciliation is not None else table.write_mode.value}{key}{kind}{left}",
        splits,
        f"{table.config.destination.table}{'' if not table.creates_table else ' (new)'}",
        table.mode_reason or "as given",
    )


def _failures(plan: RunPlan) -> list[str]:
    return [f"{failed.name}: {error_line(failed.error)}" for failed in plan.failed]


def _notes(plan: RunPlan) -> list[str]:
    return [*plan.notes, *_of_tables(plan, [table.notes for table in plan.tables])]


def _risks(plan: RunPlan) -> list[str]:
    return [*plan.risks, *_of_tables(plan, [table.risks for table in plan.tables])]


def _of_tables(plan: RunPlan, sentences: Iterable[Sequence[str]]) -> list[str]:
    """Return each different sentence once, with the tables that it is about unless it is about all."""
    tables: dict[str, list[str]] = defaultdict(list)
    for table, found in zip(plan.tables, sentences, strict=True):
        for sentence in dict.fromkeys(found):
            tables[sentence].append(table.source_table)
    lines = []
    for sentence, names in tables.items():
        prefix = f"{named(names, _MAX_NAMES)}: " if len(names) < len(plan.tables) else ""
        lines.append(on_one_line(f"{prefix}{sentence}"))
    return lines


def bullets(lines: Iterable[str]) -> str:
    """Return sentences as a list."""
    return "\n".join(f"- {line}" for line in lines)


def page_of(sections: Iterable[tuple[str, str]], width: int | None, verbatim: Collection[str]) -> str:
    """Return sections, each a title and an indented text, as a page.

    Args:
        width: columns into which lines are wrapped; None for lines of any length.
        verbatim: the titles of the sections whose lines stay as they are.
    """
    inner = None if width is None else width - len(INDENT)
    lines = []
    for title, text in sections:
        kept = text if title in verbatim else "\n".join(wrapped(line, inner, "  ") for line in text.split("\n"))
        lines += [title, textwrap.indent(kept, INDENT)]
    return "\n".join(lines)
