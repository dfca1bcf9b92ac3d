"""The text of a plan: a page for the user, and a few lines for the log."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import IO

from sync_pipeline.auto_schema.ddl import create_table_sql
from sync_pipeline.output.terminal import BOLD, YELLOW, coloured, wrapped
from sync_pipeline.planning.plan import TableSync, WriteMode
from sync_pipeline.planning.plan_head import head_lines
from sync_pipeline.planning.plan_overview import NO_RISKS, bullets, overview_lines, overview_page, page_of
from sync_pipeline.planning.reconciliation import Reconciliation
from sync_pipeline.planning.run_plan import RunPlan
from sync_pipeline.printable import on_one_line

_RISKS = "Risks"
_TITLE = re.compile("[A-Z][a-z]+")


def plan_lines(plan: RunPlan) -> list[str]:
    """Return the plan as single lines for the log: its head, then a few for one table, else a line per table."""
    details = overview_lines(plan) if plan.has_several_tables else table_lines(_only_table(plan))
    return [*(f"plan: {line}" for line in head_lines(plan)), *details]


def plan_page(plan: RunPlan, width: int | None = None) -> str:
    """Return the plan as a page; `dry_run=true` prints it. Only one table is shown with its query and columns.

    Args:
        width: columns into which sentences and the table of tables shall fit; None for lines of any length.
    """
    details = overview_page(plan, width) if plan.has_several_tables else table_page(_only_table(plan), width)
    return "\n".join((*(wrapped(line, width, "  ") for line in head_lines(plan)), details))


def styled_page(page: str, stream: IO[str]) -> str:
    """Return a page with the colours that the stream takes: titles stand out, and risks."""
    lines, title = [], ""
    for number, line in enumerate(page.split("\n")):
        if _TITLE.fullmatch(line):
            title = line
        is_risk = title == _RISKS and line != title and line.strip() != NO_RISKS
        style = BOLD if line == title or number == 0 else YELLOW if is_risk else ""
        lines.append(coloured(line, style, stream) if style else line)
    return "\n".join(lines)


def _only_table(plan: RunPlan) -> TableSync:
    """Return the only table, with the notes and warnings about the run."""
    [table] = plan.tables
    return replace(table, notes=(*plan.notes, *table.notes), risks=(*plan.risks, *table.risks))


def table_lines(table: TableSync) -> list[str]:
    """Return the plan of one table as a few single lines."""
    lines = [
        f"plan: run {table.run_id}: {table.config.data_source} to {table.table_id}, {_publishing(table)}",
        f"plan: {len(table.schema)} columns, {_parts(table)}, rows: {_rows(table)}",
    ]
    if table.transport:
        lines.append(f"plan: connection: {table.transport}")
    if table.way:
        lines.append(f"plan: {table.way}")
    if table.read.costs:
        lines.append(f"plan: {table.read.costs}")
    if table.merge_costs:
        lines.append(f"plan: {table.merge_costs}")
    if table.interval:
        lines.append(f"plan: interval {table.interval}: {table.interval.origin.value}{_clock(table)}")
        lines += [f"plan: {line}" for line in _left(table)]
    if table.creates_table:
        lines.append(f"plan: the table will be created, {table.layout}")
    lines += [f"plan: the table will be changed: {statement}" for statement in table.alterations]
    return lines + [f"plan: note: {note}" for note in table.notes] + [f"plan: risk: {risk}" for risk in table.risks]


def table_page(table: TableSync, width: int | None = None) -> str:
    """Return the plan of one table as a page."""
    sections = [
        (_RISKS, bullets(map(on_one_line, table.risks)) or NO_RISKS),
        ("Sync", _sync(table)),
        ("Interval", _interval(table)),
        ("Query", table.read.query),
        ("Rows", _rows(table)),
        ("Reading", _reading(table)),
        ("Columns", _column_table(table)),
        ("Table", _table(table)),
        ("Publishing", "\n".join(filter(None, (_publishing(table), table.merge_costs)))),
        *([("Costs", "\n".join(map(str, table.billed)))] if table.billed else []),
        ("Notes", bullets(map(on_one_line, table.notes)) or "none"),
    ]
    return page_of(sections, width, verbatim=("Query", "Columns", "Table"))


def _sync(table: TableSync) -> str:
    connection = f"\nconnection: {table.transport}" if table.transport else ""
    return f"{table.config.data_source} to {table.table_id} in {table.location} (run {table.run_id}){connection}"


def _rows(table: TableSync) -> str:
    estimated = table.read.estimated_rows
    return "unknown" if estimated is None else f"about {estimated:,}, as the source estimates"


def _parts(table: TableSync) -> str:
    if table.selection is not None:
        return "query pushdown in BigQuery"
    why = f" ({table.read.splitting})" if table.read.splitting else ""
    count = len(table.read.splits)
    return table.read.how or f"{count} read split{'' if count == 1 else 's'}{why}"


def _reading(table: TableSync) -> str:
    size = table.config.batch_size
    batches = "" if table.selection is not None else f", at most {size:,} rows per batch between steps"
    return "\n".join(line for line in (f"{_parts(table)}{batches}", table.way, table.read.costs) if line)


def _interval(table: TableSync) -> str:
    if table.interval is not None and table.interval.is_unbounded:
        return "all rows, whatever their timestamps are"
    if table.interval is None:
        return "none: Smart Sync is off; the run reads the whole query"
    assert table.config.smart_sync is not None
    column = table.config.smart_sync.timestamp_column
    return "\n".join(
        (f"{column} in {table.interval}{_clock(table)}", f"start: {table.interval.origin.value}", *_left(table))
    )


def _left(table: TableSync) -> list[str]:
    """Return a line about rows after the interval, if there are any."""
    return ["more is left: smart_sync_max_interval_hours ends the interval; the next run goes on"] * table.more_is_left


def _clock(table: TableSync) -> str:
    clock = table.interval.wall_clock if table.interval is not None else None
    return "" if clock is None else f", by the wall clock of {clock}"


def _table(table: TableSync) -> str:
    if table.creates_table or table.write_mode is WriteMode.REPLACE:
        create = "CREATE TABLE" if table.creates_table else "CREATE OR REPLACE TABLE"
        options = table.replacement_options if table.write_mode is WriteMode.REPLACE else None
        return create_table_sql(table.table_id, table.table_schema, table.layout, create=create, options=options)
    return "\n".join((f"exists, {table.layout}", *table.alterations))


def _publishing(table: TableSync) -> str:
    if table.reconciliation is not None:
        return _comparing(table, table.reconciliation)
    backfill = "backfill: " if table.is_backfill else ""
    mode = "replace the rows of the interval" if table.replaces_interval else table.write_mode.value
    how = "one load job"
    if table.selection is not None:
        how = "one query job, from the source into the table"
    elif table.needs_staging_table:
        parses = " that parses JSON" if table.schema.rebuilt_columns else ""
        how = f"one load job into a staging table, then one query job{parses}"
    if table.write_mode is WriteMode.REPLACE and table.changes_layout:
        how += "; the layout changes, so a new table is built and renamed: for a moment the table does not exist"
    key = f" by {', '.join(table.primary_key)}" if table.primary_key else ""
    letters = f"; rejected rows go to {table.dead_letters.table_id}" if table.dead_letters else ""
    why = f" ({table.mode_reason})" if table.mode_reason else ""
    return f"{backfill}{mode}{key}{why}: {how}{letters}"


def _comparing(table: TableSync, reconciliation: Reconciliation) -> str:
    by = f"by {', '.join(table.primary_key)}" if table.primary_key else "as whole rows"
    how = "in BigQuery" if table.selection is not None else "in a staging table"
    what = "compare all rows" if not table.is_backfill else "compare the rows of the interval"
    then = "the differing rows are corrected in one change" if reconciliation.repairs else "nothing is changed"
    return f"reconcile: {what} {by}, {how}: {then}"


def _column_table(table: TableSync) -> str:
    sources = [on_one_line(f"{field.name} {field.source_type}".strip()) for field in table.read_schema]
    sources += ["constant"] * (len(table.schema) - len(sources))
    targets = [
        f"{field.name} {field.type_name}{' NOT NULL' if field.mode == 'REQUIRED' else ''}" for field in table.schema
    ]
    width = max(map(len, sources))
    return "\n".join(f"{source:<{width}}  ->  {target}" for source, target in zip(sources, targets, strict=True))
