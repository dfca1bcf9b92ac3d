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
    comparison = _Comparison(table_id, fixed, evolution, takes_any_type)
    for field in incoming:
        present = existing.find(field.name)
        if present is None:
            comparison.add_new(field)
        else:
            comparison.add_common(field, present)
    for present in existing:
        if incoming.find(present.name) is None:
            comparison.add_unselected(present)
    return comparison.differences()


class _Comparison:
    """Collects the differences of one column after the other; the arguments are those of `compare`."""

    def __init__(self, table_id: str, fixed: frozenset[str], evolution: str, takes_any_type: bool) -> None:
        self._table_id = table_id
        self._fixed = fixed
        self._evolution = evolution
        self._takes_any_type = takes_any_type
        self._types: dict[str, str] = {}
        self._required: set[str] = set()
        self._left_out: set[str] = set()
        self._added: list[Field] = []
        self._alterations: list[str] = []
        self._problems: list[str] = []
        self._notes: list[str] = []

    def add_new(self, field: Field) -> None:
        """Take in a column that the table does not have."""
        problem = f"column {field.name} ({field.type_name}) is not in the destination table"
        if self._evolution == "ignore":
            self._left_out.add(field.name)
            self._notes.append(f"{field.name} is not in the destination: not loaded (schema_evolution=ignore)")
        elif field.policy_tags:
            self._problems.append(
                f"{problem}, and no statement adds a column with its policy tags: add it yourself, or leave it out "
                "with exclude_fields"
            )
        elif self._evolution == "add":
            self._added.append(field)
        else:
            self._require(problem, add_columns_sql(self._table_id, [field]))

    def add_common(self, field: Field, present: Field) -> None:
        """Take in a column that the table has as `present`."""
        if present.mode == REQUIRED:
            self._required.add(field.name)
        if present.type_name == field.type_name:
            return
        is_fixed = field.name in self._fixed
        if self._evolution == "add" and _widens(present, field):
            self._alterations.append(set_type_sql(self._table_id, field))
        elif (_fits(field, present) or (self._takes_any_type and _can_be_read(present))) and not is_fixed:
            self._types[field.name] = present.type
            self._notes.append(
                f"{field.name} is read as {present.type}, its type in the destination"
                f"{_other_type(self._table_id, field, present)}"
            )
        else:
            self._problems.append(_type_problem(self._table_id, field, present, is_fixed))

    def add_unselected(self, present: Field) -> None:
        """Take in a column of the table that does not come."""
        if present.mode == REQUIRED:
            self._require(
                f"column {present.name} is REQUIRED in the destination table, and no longer selected",
                drop_not_null_sql(self._table_id, present),
            )
        else:
            self._notes.append(f"{present.name} is in the destination only: it is NULL in new rows")

    def differences(self) -> Differences:
        """Return all that was collected."""
        # One statement for all columns: BigQuery limits a table to five metadata updates in ten seconds.
        added = [add_columns_sql(self._table_id, self._added)] if self._added else []
        return Differences(
            self._types,
            frozenset(self._required),
            frozenset(self._left_out),
            (*added, *self._alterations),
            tuple(self._problems),
            tuple(self._notes),
        )

    def _require(self, problem: str, alteration: str) -> None:
        if self._evolution == "add":
            self._alterations.append(alteration)
        else:
            self._problems.append(f"{problem}: run {alteration}, or set schema_evolution=add")


def _other_type(table_id: str, field: Field, present: Field) -> str:
    """Return, as the rest of a sentence, how the table's column could get the incoming type; empty where it cannot."""
    if _is_float_of(present, field):
        return f"; a value with a fraction is rejected: {_float_remedy(table_id, field)}"
    return f"; {set_type_sql(table_id, field)} would widen the column" if _widens(present, field) else ""


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
