"""The text of a plan: a page for the user, and a few lines for the log."""

from __future__ import annotations

import textwrap

from sync_pipeline.auto_schema.ddl import create_table_sql
from sync_pipeline.planning.plan import RunPlan, TableSync, WriteMode
from sync_pipeline.printable import on_one_line


def plan_lines(plan: RunPlan) -> list[str]:
    """Return the plan as a few single lines per table, for the log."""
    return [line for table in plan.tables for line in table_lines(table)]


def plan_page(plan: RunPlan) -> str:
    """Return the plan as a page with all tables; `dry_run=true` prints it."""
    return "\n\n".join(table_page(table) for table in plan.tables)


def table_lines(plan: TableSync) -> list[str]:
    """Return the plan of one table as a few single lines."""
    lines = [
        f"plan: run {plan.run_id}: {plan.config.data_source} to {plan.table_id}, {_publishing(plan)}",
        f"plan: {len(plan.schema)} columns, {_parts(plan)}, rows: {_rows(plan)}",
    ]
    if plan.transport:
        lines.append(f"plan: connection: {plan.transport}")
    if plan.way:
        lines.append(f"plan: {plan.way}")
    if plan.read.costs:
        lines.append(f"plan: {plan.read.costs}")
    if plan.merge_costs:
        lines.append(f"plan: {plan.merge_costs}")
    if plan.interval:
        lines.append(f"plan: interval {plan.interval}: {plan.interval.origin.value}{_clock(plan)}")
    if plan.creates_table:
        lines.append(f"plan: the table will be created, {plan.layout}")
    lines += [f"plan: the table will be changed: {statement}" for statement in plan.alterations]
    return lines + [f"plan: note: {note}" for note in plan.notes] + [f"plan: risk: {risk}" for risk in plan.risks]


def table_page(plan: TableSync) -> str:
    """Return the plan of one table as a page."""
    sections = [
        ("Sync", _sync(plan)),
        ("Interval", _interval(plan)),
        ("Query", plan.read.query),
        ("Rows", _rows(plan)),
        ("Reading", _reading(plan)),
        ("Columns", _column_table(plan)),
        ("Table", _table(plan)),
        ("Publishing", "\n".join(filter(None, (_publishing(plan), plan.merge_costs)))),
        ("Notes", "\n".join(f"- {on_one_line(note)}" for note in plan.notes) or "none"),
        ("Risks", "\n".join(f"- {on_one_line(risk)}" for risk in plan.risks) or "none seen"),
    ]
    return "\n".join(f"{title}\n{textwrap.indent(text, '    ')}" for title, text in sections)


def _sync(plan: TableSync) -> str:
    connection = f"\nconnection: {plan.transport}" if plan.transport else ""
    return f"{plan.config.data_source} to {plan.table_id} in {plan.location} (run {plan.run_id}){connection}"


def _rows(plan: TableSync) -> str:
    estimated = plan.read.estimated_rows
    return "unknown" if estimated is None else f"about {estimated:,}, as the source estimates"


def _parts(plan: TableSync) -> str:
    if plan.selection is not None:
        return "query pushdown in BigQuery"
    why = f" ({plan.read.splitting})" if plan.read.splitting else ""
    count = len(plan.read.splits)
    return plan.read.how or f"{count} read split{'' if count == 1 else 's'}{why}"


def _reading(plan: TableSync) -> str:
    batches = "" if plan.selection is not None else f", at most {plan.config.batch_size:,} rows per batch"
    return "\n".join(line for line in (f"{_parts(plan)}{batches}", plan.way, plan.read.costs) if line)


def _interval(plan: TableSync) -> str:
    if plan.interval is None:
        return "none: Smart Sync is off; the run reads the whole query"
    assert plan.config.smart_sync is not None
    column = plan.config.smart_sync.timestamp_column
    return f"{column} in {plan.interval}{_clock(plan)}\nstart: {plan.interval.origin.value}"


def _clock(plan: TableSync) -> str:
    clock = plan.interval.wall_clock if plan.interval is not None else None
    return "" if clock is None else f", by the wall clock of {clock}"


def _table(plan: TableSync) -> str:
    if plan.creates_table or plan.write_mode is WriteMode.REPLACE:
        create = "CREATE TABLE" if plan.creates_table else "CREATE OR REPLACE TABLE"
        options = plan.replacement_options if plan.write_mode is WriteMode.REPLACE else None
        return create_table_sql(plan.table_id, plan.schema, plan.layout, create=create, options=options)
    return "\n".join((f"exists, {plan.layout}", *plan.alterations))


def _publishing(plan: TableSync) -> str:
    how = "one load job"
    if plan.selection is not None:
        how = "one query job, from the source into the table"
    elif plan.needs_staging_table:
        parses = " that parses JSON" if plan.schema.rebuilt_columns else ""
        how = f"one load job into a staging table, then one query job{parses}"
    if plan.write_mode is WriteMode.REPLACE and plan.changes_layout:
        how += "; the layout changes, so a new table is built and renamed: for a moment the table does not exist"
    key = f" by {', '.join(plan.primary_key)}" if plan.primary_key else ""
    letters = f"; rejected rows go to {plan.dead_letters.table_id}" if plan.dead_letters else ""
    return f"{plan.write_mode.value}{key}: {how}{letters}"


def _column_table(plan: TableSync) -> str:
    sources = [on_one_line(f"{field.name} {field.source_type}".strip()) for field in plan.read_schema]
    sources += ["constant"] * (len(plan.schema) - len(sources))
    targets = [
        f"{field.name} {field.type_name}{' NOT NULL' if field.mode == 'REQUIRED' else ''}" for field in plan.schema
    ]
    width = max(map(len, sources))
    return "\n".join(f"{source:<{width}}  ->  {target}" for source, target in zip(sources, targets, strict=True))
