"""The text of a plan with several tables: a line for each table, and each warning once."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Iterable, Sequence

from sync_pipeline.failures import error_line
from sync_pipeline.planning.billed_queries import size_text
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.planning.run_plan import RunPlan
from sync_pipeline.printable import named, on_one_line

_HEADERS = ("Table", "Rows", "Size", "Mode", "Splits", "Destination", "Why")

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


def overview_page(plan: RunPlan) -> str:
    """Return the plan as a page; `dry_run=true` prints it."""
    connections = dict.fromkeys(table.transport for table in plan.tables if table.transport)
    sections = [
        ("Risks", _bullets(_risks(plan)) or "none seen"),
        (
            "Sync",
            "\n".join((f"{_summary(plan)} (run {plan.run.id})", *(f"connection: {text}" for text in connections))),
        ),
        ("Tables", _aligned([_HEADERS, *map(_cells, plan.tables)])),
        *([("Failed", _bullets(_failures(plan)))] if plan.failed else []),
        ("Notes", _bullets(_notes(plan)) or "none"),
    ]
    return "\n".join(f"{title}\n{textwrap.indent(text, '    ')}" for title, text in sections)


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


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
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


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
