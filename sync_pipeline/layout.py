"""How a new destination table is laid out: partitioning, clustering and key, checked before anything is created."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from google.cloud import bigquery

from sync_pipeline.config import AutoSchemaConfig
from sync_pipeline.errors import SchemaError
from sync_pipeline.schema import (
    CLUSTERING_TYPES,
    DECLARABLE_KEY_TYPES,
    MAX_DECLARED_KEY_COLUMNS,
    MAX_DESCRIPTION_CHARACTERS,
    NULLABLE,
    PARTITION_GRANULARITIES,
    RANGE,
    REPEATED,
    REQUIRED,
    STRUCT,
    Field,
    Schema,
    quoted,
)

# The pseudo column of a table that is partitioned by the time at which rows came.
_INGESTION_TIME = "_PARTITIONTIME"

# One job, or statement, may change no more partitions than this, and a table can have no more than that.
# https://cloud.google.com/bigquery/quotas#partitioned_tables
MAX_PARTITIONS_PER_JOB = 4_000
MAX_PARTITIONS_PER_TABLE = 10_000


@dataclass(frozen=True)
class TableLayout:
    """Partitioning and clustering of a table; the empty one is a plain table.

    Attributes:
        partition_field: None for a table that is not partitioned by a column.
        partition_granularity: HOUR, DAY, MONTH or YEAR; counts only with a `partition_field`.
        clustering_fields: at most four.
        primary_key: declared, not enforced; BigQuery's optimiser trusts it.
    """

    partition_field: str | None = None
    partition_granularity: str = "DAY"
    clustering_fields: tuple[str, ...] = ()
    primary_key: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = []
        if self.partition_field:
            parts.append(f"partitioned by {self.partition_field} ({self.partition_granularity})")
        if self.clustering_fields:
            parts.append(f"clustered by {', '.join(self.clustering_fields)}")
        return ", ".join(parts) or "neither partitioned nor clustered"


def chosen_layout(
    schema: Schema, config: AutoSchemaConfig | None, renamed: dict[str, str]
) -> tuple[TableLayout, list[str]]:
    """Return the layout Auto-Schema asks for, and notes on what it leaves out.

    Args:
        schema: the destination's columns.
        renamed: the new name of each source column; a field may be given by either name.

    Raises SchemaError naming every field that is missing or has a type that cannot partition or cluster.
    """
    if config is None:
        return TableLayout(), []
    problems: list[str] = []
    notes: list[str] = []
    partition_field: str | None = _destination_name(config.partition_field, schema, renamed)
    field = schema.find(partition_field or "")
    if field is None and not config.partition_field_given:
        notes.append(f"there is no column {config.partition_field} to partition by: the table is not partitioned")
        partition_field = None
    elif field is None:
        problems.append(_missing("partition_field", config.partition_field, schema.names))
    elif field.mode == REPEATED or config.partition_granularity not in PARTITION_GRANULARITIES.get(field.type, ()):
        allowed = PARTITION_GRANULARITIES.get(field.type) if field.mode != REPEATED else None
        if allowed:
            problems.append(
                f"partition_granularity: a {field.type} column such as {field.name} is partitioned by "
                f"{', '.join(allowed)}, not by {config.partition_granularity}"
            )
        elif config.partition_field_given:
            problems.append(
                f"partition_field: {field.name} is {field.type_name}: use a DATE, DATETIME or TIMESTAMP column"
            )
        else:
            notes.append(f"{field.name} is {field.type_name}, which cannot partition: the table is not partitioned")
            partition_field = None
    else:
        partition_field = field.name
    clustering = []
    for name in config.clustering_fields:
        found = schema.find(_destination_name(name, schema, renamed))
        if found is None:
            problems.append(_missing("clustering_fields", name, schema.names))
        elif found.mode == REPEATED or found.type not in CLUSTERING_TYPES:
            problems.append(
                f"clustering_fields: {found.name} is {found.type_name}: BigQuery clusters by "
                f"{', '.join(sorted(CLUSTERING_TYPES))}"
            )
        else:
            clustering.append(found.name)
    if problems:
        raise SchemaError("\n".join(problems))
    return TableLayout(partition_field, config.partition_granularity, tuple(clustering)), notes


def with_declared_key(layout: TableLayout, key: tuple[str, ...], schema: Schema) -> TableLayout:
    """Return the layout with the key declared, where BigQuery takes such a declaration."""
    is_declarable = len(key) <= MAX_DECLARED_KEY_COLUMNS and all(
        schema.field(name).type in DECLARABLE_KEY_TYPES and schema.field(name).mode != REPEATED for name in key
    )
    return replace(layout, primary_key=key) if is_declarable else layout


def new_table(table_id: str, schema: Schema, layout: TableLayout) -> bigquery.Table:
    """Return the table as the API creates it."""
    table = bigquery.Table(table_id, schema=schema.bigquery)
    if layout.partition_field:
        table.time_partitioning = bigquery.TimePartitioning(
            type_=layout.partition_granularity, field=layout.partition_field
        )
    if layout.clustering_fields:
        table.clustering_fields = list(layout.clustering_fields)
    if layout.primary_key:
        table.table_constraints = bigquery.table.TableConstraints(
            primary_key=bigquery.table.PrimaryKey(columns=list(layout.primary_key)), foreign_keys=None
        )
    return table


def create_table_sql(
    table_id: str,
    schema: Schema,
    layout: TableLayout,
    *,
    create: str = "CREATE TABLE",
    options: Mapping[str, str] | None = None,
) -> str:
    """Return the table as GoogleSQL creates it, by `create`; `options` are the table's, as expressions."""
    columns = [_column_sql(field) for field in schema]
    if layout.primary_key:
        columns.append(f"PRIMARY KEY ({', '.join(map(quoted, layout.primary_key))}) NOT ENFORCED")
    lines = [f"{create} {quoted(table_id)} ("]
    lines += [",\n".join(f"  {column}" for column in columns), ")"]
    if layout.partition_field:
        lines.append(f"PARTITION BY {_partition_sql(schema, layout)}")
    if layout.clustering_fields:
        lines.append(f"CLUSTER BY {', '.join(map(quoted, layout.clustering_fields))}")
    if options:
        lines.append(f"OPTIONS ({', '.join(f'{name} = {value}' for name, value in options.items())})")
    return "\n".join(lines)


def add_columns_sql(table_id: str, fields: Sequence[Field]) -> str:
    """Return the statement that adds columns; a table that has rows takes no NOT NULL ones."""
    columns = (_column_sql(replace(field, mode=NULLABLE) if field.mode == REQUIRED else field) for field in fields)
    return f"ALTER TABLE {quoted(table_id)} {', '.join(f'ADD COLUMN IF NOT EXISTS {column}' for column in columns)}"


def set_type_sql(table_id: str, field: Field) -> str:
    """Return the statement that widens a column to the field's type."""
    return f"ALTER TABLE {quoted(table_id)} ALTER COLUMN {quoted(field.name)} SET DATA TYPE {field.type}"


def drop_not_null_sql(table_id: str, field: Field) -> str:
    """Return the statement that lets a column be NULL."""
    return f"ALTER TABLE {quoted(table_id)} ALTER COLUMN {quoted(field.name)} DROP NOT NULL"


def check_partitions(partitions: frozenset[str | None], schema: Schema, layout: TableLayout, most: int) -> None:
    """Raise SchemaError when the rows belong to more than `most` partitions."""
    if len(partitions) <= most:
        return
    field = schema.find(layout.partition_field or "")
    assert field is not None
    allowed = PARTITION_GRANULARITIES[field.type]
    wider = allowed[allowed.index(layout.partition_granularity) + 1 :]
    remedy = f"set partition_granularity={wider[0]} for a new table, or " if wider else ""
    limit = "the most that a table has"
    if most == MAX_PARTITIONS_PER_JOB:
        limit = "the most that BigQuery changes in one job"
    raise SchemaError(
        f"the rows belong to more than {most:,} partitions of {field.name} by "
        f"{layout.partition_granularity}, {limit}: {remedy}load a shorter interval a run"
    )


def partition_groups(partitions: frozenset[str | None]) -> list[frozenset[str | None]]:
    """Return the partitions in as few groups as one job each can change, each group before the next.

    The partition of rows without a moment is in the first group, where they sort.
    """
    moments = sorted(moment for moment in partitions if moment is not None)
    # One place is left for the rows without a moment.
    size = MAX_PARTITIONS_PER_JOB - 1
    groups = [frozenset[str | None](moments[first : first + size]) for first in range(0, len(moments), size)]
    if None in partitions:
        groups = [(groups[0] if groups else frozenset()) | {None}, *groups[1:]]
    return groups


def _destination_name(name: str, schema: Schema, renamed: dict[str, str]) -> str:
    return name if schema.find(name) else renamed.get(name, name)


def _missing(parameter: str, name: str, names: Collection[str]) -> str:
    return f"{parameter}: there is no column {name}: the destination's columns are {', '.join(names)}"


def _partition_sql(schema: Schema, layout: TableLayout) -> str:
    assert layout.partition_field is not None
    column = quoted(layout.partition_field)
    field = schema.find(layout.partition_field)
    assert field is not None
    if field.type == "DATE" and layout.partition_granularity == "DAY":
        return column
    return f"{field.type}_TRUNC({column}, {layout.partition_granularity})"


def _column_sql(field: Field) -> str:
    sql = f"{quoted(field.name)} {_declared_type(field)}"
    if field.mode == REQUIRED:
        sql += " NOT NULL"
    if field.description:
        sql += f" OPTIONS(description={string_literal(field.description[:MAX_DESCRIPTION_CHARACTERS])})"
    return sql


def _declared_type(field: Field) -> str:
    """Return the type with its parameters; fields of a STRUCT have modes and descriptions of their own."""
    if field.type == STRUCT:
        element = f"STRUCT<{', '.join(_column_sql(part) for part in field.fields)}>"
    elif field.type != RANGE and field.parameters:
        element = f"{field.type}({field.parameters})"
    else:
        element = replace(field, mode=NULLABLE).type_name
    return f"ARRAY<{element}>" if field.mode == REPEATED else element


def string_literal(text: str) -> str:
    """Return `text` as a string of GoogleSQL. https://cloud.google.com/bigquery/docs/reference/standard-sql/lexical"""
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r"}
    return '"' + "".join(escapes.get(character, character) for character in text) + '"'


def demanded_column(table: bigquery.Table) -> str | None:
    """Return the column that BigQuery demands in every statement that reads the table; None where it demands none."""
    if not table.require_partition_filter:
        return None
    if table.range_partitioning is not None:
        return str(table.range_partitioning.field)
    field = table.time_partitioning.field if table.time_partitioning else None
    return str(field or _INGESTION_TIME)


def any_partition(column: str) -> str:
    """Return a condition on a demanded column that is always true, and enough for BigQuery to accept the statement."""
    return f"({column} IS NOT NULL OR {column} IS NULL)"
