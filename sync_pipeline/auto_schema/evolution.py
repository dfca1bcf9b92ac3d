"""How the source's columns differ from those of an existing table, and what is done about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sync_pipeline.auto_schema.ddl import add_columns_sql, drop_not_null_sql, set_type_sql
from sync_pipeline.schema import ARROW_TYPES, EXPLICIT_CASTS, LOSSLESS_CASTS, REPEATED, REQUIRED, Field, Schema

# What ALTER COLUMN SET DATA TYPE can do without loss; it would also make FLOAT64 of any number, and cost digits.
# https://cloud.google.com/bigquery/docs/managing-table-schemas#change_a_columns_data_type
WIDENINGS: Mapping[str, frozenset[str]] = {
    "INT64": frozenset({"NUMERIC", "BIGNUMERIC"}),
    "NUMERIC": frozenset({"BIGNUMERIC"}),
}


@dataclass(frozen=True)
class Differences:
    """How an existing table differs from the columns that are coming, and what is done about it.

    Attributes:
        types: columns that are read as the existing column's type, because it holds their values.
        required: columns in which the existing table has no NULL.
        left_out: columns that are not loaded.
        alterations: statements that make the table fit.
        problems: differences that stop the run.
        notes: differences worth knowing.
    """

    types: Mapping[str, str]
    required: frozenset[str]
    left_out: frozenset[str]
    alterations: tuple[str, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def compare(
    table_id: str,
    coming: Schema,
    existing: Schema,
    *,
    fixed: frozenset[str],
    evolution: str,
    takes_any_type: bool = False,
) -> Differences:
    """Return every difference between the columns that are coming and those of an existing table.

    Args:
        fixed: columns whose type is not ours to choose: hashed and constant ones.
        evolution: `add` alters the table where BigQuery can; `ignore` leaves new columns out; `fail` names the
            statements that would do.
        takes_any_type: every value is checked while it is read, so that an existing column's type wins whichever it is.
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

    for field in coming:
        there = existing.find(field.name)
        if there is None:
            if evolution == "ignore":
                left_out.add(field.name)
                notes.append(f"{field.name} is not in the destination: it is not loaded (schema_evolution=ignore)")
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
        if there.type_name != field.type_name:
            if evolution == "add" and _widens(there, field):
                alterations.append(set_type_sql(table_id, field))
            elif (_fits(field, there) or (takes_any_type and _can_be_read(there))) and field.name not in fixed:
                types[field.name] = there.type
                wider = f"; {set_type_sql(table_id, field)} would make room for more" if _widens(there, field) else ""
                if _is_float_of(there, field):
                    wider = f"; a value with a fraction does not fit: {_float_remedy(table_id, field)}"
                notes.append(f"{field.name} is read as {there.type}, as it is in the destination{wider}")
            else:
                problems.append(_type_problem(table_id, field, there, field.name in fixed))
        if there.mode == REQUIRED:
            required.add(field.name)
    for there in existing:
        if coming.find(there.name) is None:
            if there.mode == REQUIRED:
                needs(
                    f"column {there.name} is REQUIRED in the destination table, and no longer selected",
                    drop_not_null_sql(table_id, there),
                )
            else:
                notes.append(f"{there.name} is in the destination only: it is NULL in new rows")
    if added:
        # One statement: a table takes five changes of its metadata in ten seconds.
        alterations.insert(0, add_columns_sql(table_id, added))
    return Differences(
        types, frozenset(required), frozenset(left_out), tuple(alterations), tuple(problems), tuple(notes)
    )


def _widens(there: Field, field: Field) -> bool:
    """Whether BigQuery can change the existing column to the type that is coming."""
    return REPEATED not in (there.mode, field.mode) and field.type in WIDENINGS.get(there.type, frozenset())


def _fits(field: Field, there: Field) -> bool:
    if field.mode == REPEATED or there.mode == REPEATED:
        return field.mode == REPEATED and there.mode != REPEATED and there.type == "JSON"
    return there.type in LOSSLESS_CASTS.get(field.type, frozenset())


def _can_be_read(there: Field) -> bool:
    return there.mode != REPEATED and there.type in ARROW_TYPES


def _difference(field: Field, there: Field, fixed: bool) -> str:
    where = "by transformation_config" if fixed else "in the source"
    return f"column {field.name} is {field.type_name} {where} and {there.type_name} in the destination table"


def _is_float_of(there: Field, field: Field) -> bool:
    """Whether doubles come to a column of whole numbers, as in a source where any number may be either."""
    return REPEATED not in (field.mode, there.mode) and field.type == "FLOAT64" and there.type == "INT64"


def _float_remedy(table_id: str, field: Field) -> str:
    """Return what makes doubles of whole numbers; BigQuery can, and rounds those that a double does not hold."""
    return (
        f"build the table anew with delete_existing_table=true, or run {set_type_sql(table_id, field)}, which holds "
        "whole numbers up to 2^53 exactly"
    )


def _type_problem(table_id: str, field: Field, there: Field, fixed: bool) -> str:
    problem = _difference(field, there, fixed)
    if not fixed and _is_float_of(there, field):
        return f"{problem}: {_float_remedy(table_id, field)}"
    if (
        not fixed
        and REPEATED not in (field.mode, there.mode)
        and there.type in EXPLICIT_CASTS.get(field.type, frozenset())
    ):
        overrides = f'{{"type_overrides": {{"{field.name}": "{there.type}"}}}}'
        return f"{problem}: if that is meant, set transformation_config={overrides}"
    return (
        f"{problem}: change the query, rename the column with field_mappings, use another table, or build this one "
        "anew with delete_existing_table=true"
    )
