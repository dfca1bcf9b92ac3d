"""Compares the source's columns with those of an existing table, and decides how to reconcile them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sync_pipeline.auto_schema.ddl import add_columns_sql, drop_not_null_sql, set_type_sql
from sync_pipeline.schema import ARROW_TYPES, EXPLICIT_CASTS, LOSSLESS_CASTS, REPEATED, REQUIRED, Field, Schema

# Type changes by ALTER COLUMN SET DATA TYPE that lose nothing. BigQuery also allows FLOAT64, which would lose digits.
# https://cloud.google.com/bigquery/docs/managing-table-schemas#change_a_columns_data_type
WIDENINGS: Mapping[str, frozenset[str]] = {
    "INT64": frozenset({"NUMERIC", "BIGNUMERIC"}),
    "NUMERIC": frozenset({"BIGNUMERIC"}),
}


@dataclass(frozen=True)
class Differences:
    """How an existing table differs from the incoming columns, and how the run reconciles them.

    Attributes:
        types: the existing type of each column that the run reads as that type, because it holds the values.
        required: columns that are REQUIRED in the existing table.
        left_out: columns that the run does not load.
        alterations: DDL statements that reconcile the table.
        problems: differences that stop the run.
        notes: differences that the plan mentions.
    """

    types: Mapping[str, str]
    required: frozenset[str]
    left_out: frozenset[str]
    alterations: tuple[str, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def compare(
    table_id: str,
    incoming: Schema,
    existing: Schema,
    *,
    fixed: frozenset[str],
    evolution: str,
    takes_any_type: bool = False,
) -> Differences:
    """Return every difference between the incoming columns and those of an existing table.

    Args:
        fixed: columns whose type cannot be chosen: hashed and constant ones.
        evolution: `add` alters the table where BigQuery can; `ignore` leaves new columns out; `fail` reports the
            statements that would reconcile the table.
        takes_any_type: the read checks every value, so the run can read a column as any existing type.
    """
    types: dict[str, str] = {}
    required: set[str] = set()
    left_out: set[str] = set()
    added: list[Field] = []
    alterations: list[str] = []
    problems: list[str] = []
    notes: list[str] = []

    def needs(problem: str, alteration: str) -> None:
        if evolution == "add":
            alterations.append(alteration)
        else:
            problems.append(f"{problem}: run {alteration}, or set schema_evolution=add")

    for field in incoming:
        present = existing.find(field.name)
        if present is None:
            if evolution == "ignore":
                left_out.add(field.name)
                notes.append(f"{field.name} is not in the destination: not loaded (schema_evolution=ignore)")
            elif field.policy_tags:
                problems.append(
                    f"column {field.name} ({field.type_name}) is not in the destination table, and no statement adds a "
                    "column with its policy tags: add it yourself, or leave it out with exclude_fields"
                )
            elif evolution == "add":
                added.append(field)
            else:
                needs(
                    f"column {field.name} ({field.type_name}) is not in the destination table",
                    add_columns_sql(table_id, [field]),
                )
            continue
        if present.type_name != field.type_name:
            if evolution == "add" and _widens(present, field):
                alterations.append(set_type_sql(table_id, field))
            elif (_fits(field, present) or (takes_any_type and _can_be_read(present))) and field.name not in fixed:
                types[field.name] = present.type
                wider = f"; {set_type_sql(table_id, field)} would widen the column" if _widens(present, field) else ""
                if _is_float_of(present, field):
                    wider = f"; a value with a fraction is rejected: {_float_remedy(table_id, field)}"
                notes.append(f"{field.name} is read as {present.type}, its type in the destination{wider}")
            else:
                problems.append(_type_problem(table_id, field, present, field.name in fixed))
        if present.mode == REQUIRED:
            required.add(field.name)
    for present in existing:
        if incoming.find(present.name) is None:
            if present.mode == REQUIRED:
                needs(
                    f"column {present.name} is REQUIRED in the destination table, and no longer selected",
                    drop_not_null_sql(table_id, present),
                )
            else:
                notes.append(f"{present.name} is in the destination only: it is NULL in new rows")
    if added:
        # One statement for all columns: BigQuery limits a table to five metadata updates in ten seconds.
        alterations.insert(0, add_columns_sql(table_id, added))
    return Differences(
        types, frozenset(required), frozenset(left_out), tuple(alterations), tuple(problems), tuple(notes)
    )


def _widens(existing: Field, field: Field) -> bool:
    """Whether BigQuery can change the existing column to the incoming type without loss."""
    return REPEATED not in (existing.mode, field.mode) and field.type in WIDENINGS.get(existing.type, frozenset())


def _fits(field: Field, existing: Field) -> bool:
    if field.mode == REPEATED or existing.mode == REPEATED:
        return field.mode == REPEATED and existing.mode != REPEATED and existing.type == "JSON"
    return existing.type in LOSSLESS_CASTS.get(field.type, frozenset())


def _can_be_read(existing: Field) -> bool:
    return existing.mode != REPEATED and existing.type in ARROW_TYPES


def _difference(field: Field, existing: Field, fixed: bool) -> str:
    where = "by transformation_config" if fixed else "in the source"
    return f"column {field.name} is {field.type_name} {where} and {existing.type_name} in the destination table"


def _is_float_of(existing: Field, field: Field) -> bool:
    """Whether the source sends doubles for an INT64 column, as MongoDB does when a field holds both."""
    return REPEATED not in (field.mode, existing.mode) and field.type == "FLOAT64" and existing.type == "INT64"


def _float_remedy(table_id: str, field: Field) -> str:
    """Return how to change an INT64 column to FLOAT64. BigQuery rounds whole numbers beyond 2^53."""
    return (
        f"rebuild the table with delete_existing_table=true, or run {set_type_sql(table_id, field)}, which holds "
        "whole numbers up to 2^53 exactly"
    )


def _type_problem(table_id: str, field: Field, existing: Field, fixed: bool) -> str:
    problem = _difference(field, existing, fixed)
    if not fixed and _is_float_of(existing, field):
        return f"{problem}: {_float_remedy(table_id, field)}"
    if (
        not fixed
        and REPEATED not in (field.mode, existing.mode)
        and existing.type in EXPLICIT_CASTS.get(field.type, frozenset())
    ):
        overrides = f'{{"type_overrides": {{"{field.name}": "{existing.type}"}}}}'
        return f"{problem}: to convert the column, set transformation_config={overrides}"
    return (
        f"{problem}: change the query, rename the column with field_mappings, use another table, or rebuild this one "
        "with delete_existing_table=true"
    )
