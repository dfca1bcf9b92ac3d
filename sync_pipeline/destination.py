"""The destination at launch: what is there, and how it differs from what is coming.

Nothing here writes. The table is created when the rows are published, so that a run that fails before leaves
the dataset as it found it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from google.api_core import exceptions
from google.cloud import bigquery

from sync_pipeline.bigquery_client import REQUEST_RETRY, translated_errors
from sync_pipeline.config import DestinationConfig
from sync_pipeline.dead_letters import DEAD_LETTER_SCHEMA
from sync_pipeline.errors import ConfigError, SchemaError
from sync_pipeline.identifiers import TableId
from sync_pipeline.layout import (
    TableLayout,
    add_columns_sql,
    demanded_column,
    drop_not_null_sql,
    set_type_sql,
)
from sync_pipeline.plan import DeadLetterTable
from sync_pipeline.schema import ARROW_TYPES, EXPLICIT_CASTS, LOSSLESS_CASTS, REPEATED, REQUIRED, Field, Schema
from sync_pipeline.table_options import NO_OPTIONS, TableOptions

TIMESTAMP_TYPES = ("TIMESTAMP", "DATETIME")

# What ALTER COLUMN SET DATA TYPE can do without loss; it would also make FLOAT64 of any number, and cost digits.
# https://cloud.google.com/bigquery/docs/managing-table-schemas#change_a_columns_data_type
WIDENINGS: Mapping[str, frozenset[str]] = {
    "INT64": frozenset({"NUMERIC", "BIGNUMERIC"}),
    "NUMERIC": frozenset({"BIGNUMERIC"}),
}


@dataclass(frozen=True)
class ExistingTable:
    """The destination table as it is.

    Attributes:
        demanded_column: every query has to name it, or BigQuery refuses the query; None where it does not matter.
        has_other_partitions: it is partitioned by the time of loading, or by ranges of integers, which no
            `TableLayout` tells.
        size: in logical bytes, which are what is billed.
        options: what a table in its place has as well.
    """

    schema: Schema
    layout: TableLayout
    demanded_column: str | None = None
    has_other_partitions: bool = False
    size: int = 0
    options: TableOptions = NO_OPTIONS

    def has_layout(self, layout: TableLayout) -> bool:
        """Whether the table is partitioned and clustered just so."""
        return (
            not self.has_other_partitions
            and _partitioning(self.layout) == _partitioning(layout)
            and _clustering(self.layout) == _clustering(layout)
        )


@dataclass(frozen=True)
class DestinationDescription:
    """Where the rows go.

    Attributes:
        location: of the dataset; jobs run there.
        table: None when there is none.
        observed_at: BigQuery's clock before the table was looked at.
        partitions_expire: the dataset deletes partitions by age, also while a load is writing them.
        new_tables_expire: after so long the dataset deletes a table that is created in it; None for never.
        ignores_case: the dataset does not tell names of tables apart that differ in case.
    """

    location: str
    table: ExistingTable | None
    observed_at: datetime
    partitions_expire: bool = False
    new_tables_expire: timedelta | None = None
    ignores_case: bool = False


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


def describe_destination(client: bigquery.Client, config: DestinationConfig) -> DestinationDescription:
    """Return the dataset's location and the table as it is.

    Raises ConfigError or PublishError when the dataset cannot be seen, SchemaError when the table cannot be loaded.
    """
    dataset_id = f"{config.project}.{config.dataset}"
    dataset = _dataset(client, dataset_id, "destination_bigquery_dataset")
    location = dataset.location or "US"
    _check_staging_dataset(client, config, location)
    observed_at = clock(client, location)
    with translated_errors(f"look at the table {config.table_id}"):
        try:
            table = client.get_table(config.table_id, retry=REQUEST_RETRY)
        except exceptions.NotFound:
            table = None
    if table is not None and table.table_type != "TABLE":
        raise SchemaError(
            f"destination_bigquery_table: {config.table_id} is a {table.table_type.lower().replace('_', ' ')}, "
            "which cannot be loaded: name a table"
        )
    expiration = dataset.default_table_expiration_ms
    return DestinationDescription(
        location=location,
        table=_existing(table) if table is not None else None,
        observed_at=observed_at,
        partitions_expire=dataset.default_partition_expiration_ms is not None,
        new_tables_expire=None if expiration is None else timedelta(milliseconds=expiration),
        ignores_case=bool(dataset.is_case_insensitive),
    )


def _check_staging_dataset(client: bigquery.Client, config: DestinationConfig, location: str) -> None:
    """Raise ConfigError unless the query that publishes can read the dataset of the staging table."""
    if config.staging_dataset is None:
        return
    dataset = _dataset(client, f"{config.project}.{config.staging_dataset}", "staging_dataset")
    if (dataset.location or "US").upper() != location.upper():
        problem = (
            f"staging_dataset: {config.staging_dataset} is in {dataset.location}, and the destination in {location}"
        )
        raise ConfigError([f"{problem}: a query has one location; name a dataset in the same one"])


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


def layout_notes(wanted: TableLayout, existing: TableLayout) -> list[str]:
    """Return what Auto-Schema asks for and an existing table does not have; it cannot be changed in place."""
    notes = []
    if wanted.partition_field and _partitioning(wanted) != _partitioning(existing):
        notes.append("partition_field")
    if wanted.clustering_fields and _clustering(wanted) != _clustering(existing):
        notes.append("clustering_fields")
    return [
        f"{name}: the table is {existing}, and stays so; delete_existing_table=true would build it anew"
        for name in notes
    ]


def _partitioning(layout: TableLayout) -> tuple[str, str]:
    field = (layout.partition_field or "").lower()
    return field, layout.partition_granularity if field else ""


def _clustering(layout: TableLayout) -> list[str]:
    return [name.lower() for name in layout.clustering_fields]


def _existing(table: bigquery.Table) -> ExistingTable:
    partitioning = table.time_partitioning
    constraints = table.table_constraints
    key = constraints.primary_key.columns if constraints and constraints.primary_key else ()
    layout = TableLayout(
        partition_field=partitioning.field if partitioning else None,
        partition_granularity=partitioning.type_ if partitioning else "DAY",
        clustering_fields=tuple(table.clustering_fields or ()),
        primary_key=tuple(key),
    )
    has_other_partitions = (partitioning is not None and not partitioning.field) or table.range_partitioning is not None
    return ExistingTable(
        Schema.from_bigquery(table.schema),
        layout,
        demanded_column(table),
        has_other_partitions,
        size=int(table.num_bytes or 0),
        options=TableOptions.of(table),
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


def describe_dead_letters(client: bigquery.Client, table: TableId) -> DeadLetterTable:
    """Return where dead letters go. Raises SchemaError when a table is there that cannot take them."""
    dataset_id = f"{table.project}.{table.dataset}"
    location = _dataset(client, dataset_id, "dead_letter_table").location or "US"
    with translated_errors(f"look at dead_letter_table {table}"):
        try:
            existing = Schema.from_bigquery(client.get_table(str(table), retry=REQUEST_RETRY).schema)
        except exceptions.NotFound:
            return DeadLetterTable(str(table), location, exists=False)
    missing = [
        f"{field.name} {field.type}"
        for field in DEAD_LETTER_SCHEMA
        if (there := existing.find(field.name)) is None or there.type_name != field.type_name
    ]
    if missing:
        raise SchemaError(
            f"dead_letter_table: {table} has no columns {', '.join(missing)}: name a table that does not exist, "
            "and it will be created"
        )
    return DeadLetterTable(str(table), location, exists=True)


def _dataset(client: bigquery.Client, dataset_id: str, parameter: str) -> bigquery.Dataset:
    with translated_errors(f"find the dataset {dataset_id}"):
        try:
            return client.get_dataset(dataset_id, retry=REQUEST_RETRY)
        except exceptions.NotFound:
            raise ConfigError(
                [f"{parameter}: the dataset {dataset_id} does not exist: create it, or correct its name"]
            ) from None


def clock(client: bigquery.Client, location: str) -> datetime:
    """Return BigQuery's own clock: what a job did that ended before is seen by whoever looks from now on."""
    with translated_errors("run a query"):
        job = client.query("SELECT 1", location=location, retry=REQUEST_RETRY, job_retry=None)
        job.result()
    created = job.created
    assert isinstance(created, datetime), "BigQuery tells when a job was created"
    return created
