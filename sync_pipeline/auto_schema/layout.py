"""How a new destination table is laid out: partitioning, clustering and key, checked before anything is created."""

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

    @property
    def partitioning(self) -> tuple[str, str]:
        """Column and granularity, as BigQuery compares them: names without regard to case."""
        field = (self.partition_field or "").lower()
        return field, self.partition_granularity if field else ""

    @property
    def clustering(self) -> list[str]:
        """The clustering columns, as BigQuery compares them."""
        return [name.lower() for name in self.clustering_fields]

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


def _destination_name(name: str, schema: Schema, renamed: dict[str, str]) -> str:
    return name if schema.find(name) else renamed.get(name, name)


def _missing(parameter: str, name: str, names: Collection[str]) -> str:
    return f"{parameter}: there is no column {name}: the destination's columns are {', '.join(names)}"


def layout_notes(wanted: TableLayout, existing: TableLayout) -> list[str]:
    """Return what Auto-Schema asks for and an existing table does not have; it cannot be changed in place."""
    notes = []
    if wanted.partition_field and wanted.partitioning != existing.partitioning:
        notes.append("partition_field")
    if wanted.clustering_fields and wanted.clustering != existing.clustering:
        notes.append("clustering_fields")
    return [
        f"{name}: the table is {existing}, and stays so; delete_existing_table=true would build it anew"
        for name in notes
    ]
