"""The layout of a new destination table: partitioning, clustering and key. Checked before the table is created."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from sync_pipeline.errors import SchemaError
from sync_pipeline.parameters.config import AutoSchemaConfig
from sync_pipeline.schema import (
    CLUSTERING_TYPES,
    DECLARABLE_KEY_TYPES,
    MAX_DECLARED_KEY_COLUMNS,
    PARTITION_GRANULARITIES,
    REPEATED,
    Schema,
)


@dataclass(frozen=True)
class TableLayout:
    """Partitioning, clustering and key of a table. The default is a table without any.

    Attributes:
        partition_field: None for a table that is not partitioned by a column.
        partition_granularity: HOUR, DAY, MONTH or YEAR; without effect if `partition_field` is None.
        clustering_fields: at most four.
        primary_key: declared and not enforced; BigQuery's optimiser relies on it.
    """

    partition_field: str | None = None
    partition_granularity: str = "DAY"
    clustering_fields: tuple[str, ...] = ()
    primary_key: tuple[str, ...] = ()

    @property
    def partitioning(self) -> tuple[str, str]:
        """Column and granularity for comparison: the name in lower case, as BigQuery ignores case."""
        field = (self.partition_field or "").lower()
        return field, self.partition_granularity if field else ""

    @property
    def clustering(self) -> list[str]:
        """The clustering columns for comparison: in lower case, as BigQuery ignores case."""
        return [name.lower() for name in self.clustering_fields]

    def __str__(self) -> str:
        parts = []
        if self.partition_field:
            parts.append(f"partitioned by {self.partition_field} ({self.partition_granularity})")
        if self.clustering_fields:
            parts.append(f"clustered by {', '.join(self.clustering_fields)}")
        return ", ".join(parts) or "neither partitioned nor clustered"


def chosen_layout(
    schema: Schema, config: AutoSchemaConfig | None, destination_names: dict[str, str]
) -> tuple[TableLayout, list[str]]:
    """Return the layout that Auto-Schema requests, and notes on what it leaves out.

    Args:
        schema: the destination's columns.
        destination_names: the destination's name of each source column. A field may be given by either name.

    Raises:
        SchemaError: a field is missing, or its type cannot partition or cluster. Names every such field.
    """
    if config is None:
        return TableLayout(), []
    problems: list[str] = []
    notes: list[str] = []
    partition_field = _partition_field(schema, config, destination_names, problems, notes)
    clustering_fields = _clustering_fields(schema, config, destination_names, problems)
    if problems:
        raise SchemaError("\n".join(problems))
    return TableLayout(partition_field, config.partition_granularity, clustering_fields), notes


def _partition_field(
    schema: Schema,
    config: AutoSchemaConfig,
    destination_names: dict[str, str],
    problems: list[str],
    notes: list[str],
) -> str | None:
    """Return the partition column. Adds to `problems` if the given one cannot serve, to `notes` if the default one."""
    field = schema.find(_destination_name(config.partition_field, schema, destination_names))
    if field is None:
        if config.partition_field_given:
            problems.append(_missing("partition_field", config.partition_field, schema.names))
        else:
            notes.append(f"the table is not partitioned: it has no column {config.partition_field}")
        return None
    allowed = PARTITION_GRANULARITIES.get(field.type, ()) if field.mode != REPEATED else ()
    if config.partition_granularity in allowed:
        return field.name
    if allowed:
        problems.append(
            f"partition_granularity: a {field.type} column such as {field.name} can be partitioned by "
            f"{', '.join(allowed)}, not by {config.partition_granularity}"
        )
    elif config.partition_field_given:
        problems.append(f"partition_field: {field.name} is {field.type_name}: use a DATE, DATETIME or TIMESTAMP column")
    else:
        notes.append(f"the table is not partitioned: {field.name} is {field.type_name}, which cannot partition")
    return None


def _clustering_fields(
    schema: Schema, config: AutoSchemaConfig, destination_names: dict[str, str], problems: list[str]
) -> tuple[str, ...]:
    """Return the clustering columns. Adds to `problems` those that cannot serve."""
    clustering_fields = []
    for name in config.clustering_fields:
        field = schema.find(_destination_name(name, schema, destination_names))
        if field is None:
            problems.append(_missing("clustering_fields", name, schema.names))
        elif field.mode == REPEATED or field.type not in CLUSTERING_TYPES:
            problems.append(
                f"clustering_fields: {field.name} is {field.type_name}: BigQuery clusters by "
                f"{', '.join(sorted(CLUSTERING_TYPES))}"
            )
        else:
            clustering_fields.append(field.name)
    return tuple(clustering_fields)


def with_declared_key(layout: TableLayout, key: tuple[str, ...], schema: Schema) -> TableLayout:
    """Return the layout with the key declared, if BigQuery accepts that declaration."""
    is_declarable = len(key) <= MAX_DECLARED_KEY_COLUMNS and all(
        schema.field(name).type in DECLARABLE_KEY_TYPES and schema.field(name).mode != REPEATED for name in key
    )
    return replace(layout, primary_key=key) if is_declarable else layout


def _destination_name(name: str, schema: Schema, destination_names: dict[str, str]) -> str:
    return name if schema.find(name) else destination_names.get(name, name)


def _missing(parameter: str, name: str, names: Collection[str]) -> str:
    return f"{parameter}: the destination has no column {name}; its columns are {', '.join(names)}"


def layout_notes(wanted: TableLayout, existing: TableLayout) -> list[str]:
    """Return a note on each part of the wanted layout that an existing table lacks and cannot gain in place."""
    notes = []
    if wanted.partition_field and wanted.partitioning != existing.partitioning:
        notes.append("partition_field")
    if wanted.clustering_fields and wanted.clustering != existing.clustering:
        notes.append("clustering_fields")
    return [
        f"{name}: the existing table is {existing} and stays so; rebuild it with delete_existing_table=true"
        for name in notes
    ]
