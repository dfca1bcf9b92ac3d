"""Describes the destination at launch. Never writes.

Publishing creates the table, so that a run that fails earlier leaves the dataset unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from google.api_core import exceptions
from google.cloud import bigquery

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.auto_schema.table_options import NO_OPTIONS, TableOptions
from sync_pipeline.bigquery_api.client import REQUEST_RETRY, translated_errors
from sync_pipeline.bigquery_api.required_filter import required_filter_column
from sync_pipeline.errors import ConfigError, SchemaError
from sync_pipeline.parameters.config import DestinationConfig
from sync_pipeline.schema import Schema


@dataclass(frozen=True)
class ExistingTable:
    """The existing destination table.

    Attributes:
        required_filter_column: the column that BigQuery requires queries to filter by; None without that requirement.
        has_other_partitions: whether the table is partitioned by ingestion time or integer range, which `TableLayout`
            cannot express.
        size: logical bytes, which BigQuery bills.
        rows: as the table's metadata says.
        has_rows: whether it has any, visible to this user or not.
        options: options that a replacement table takes over.
        collated: the columns whose values are compared by a collation, so without case.
    """

    schema: Schema
    layout: TableLayout
    required_filter_column: str | None = None
    has_other_partitions: bool = False
    size: int = 0
    rows: int = 0
    options: TableOptions = NO_OPTIONS
    has_rows: bool = False
    collated: tuple[str, ...] = ()

    def has_layout(self, layout: TableLayout) -> bool:
        """Whether the table has exactly this partitioning and clustering."""
        return (
            not self.has_other_partitions
            and self.layout.partitioning == layout.partitioning
            and self.layout.clustering == layout.clustering
        )


@dataclass(frozen=True)
class DestinationDataset:
    """The dataset of destination tables at launch; see `DestinationDescription` for the attributes."""

    location: str
    observed_at: datetime
    partitions_expire: bool
    new_tables_expire: timedelta | None
    ignores_case: bool
    collated_datasets: tuple[str, ...]


@dataclass(frozen=True)
class DestinationDescription:
    """The destination at launch.

    Attributes:
        location: the dataset's location, in which jobs run.
        table: the existing table, or None.
        observed_at: BigQuery's clock before the table was queried.
        partitions_expire: whether the dataset deletes partitions by age, even during a load.
        is_replaced: whether the run replaces the table.
        new_tables_expire: time after which the dataset deletes a new table; None for never.
        ignores_case: whether the dataset ignores case in names of tables.
        collated_datasets: those of the dataset and the staging dataset whose new columns have a collation.
    """

    location: str
    table: ExistingTable | None
    observed_at: datetime
    is_replaced: bool = False
    partitions_expire: bool = False
    new_tables_expire: timedelta | None = None
    ignores_case: bool = False
    collated_datasets: tuple[str, ...] = ()

    @property
    def kept_table(self) -> ExistingTable | None:
        """The existing table that the rows are loaded into; None if the run creates a new one."""
        return None if self.is_replaced else self.table


def describe_destination(client: bigquery.Client, config: DestinationConfig) -> DestinationDescription:
    """Describe the dataset and the table. Raises the errors of `destination_dataset` and `describe_table`."""
    return describe_table(client, config, destination_dataset(client, config))


def destination_dataset(client: bigquery.Client, config: DestinationConfig) -> DestinationDataset:
    """Describe the dataset, and check the staging dataset. Call this before any of its tables is queried.

    Raises:
        ConfigError: a dataset does not exist, or the staging dataset is in another location.
        PublishError: BigQuery rejected the request.
    """
    dataset = describe_dataset(client, f"{config.project}.{config.dataset}", "destination_bigquery_dataset")
    location = location_of(dataset)
    datasets = [dataset, *_staging_datasets(client, config, location)]
    expiration = dataset.default_table_expiration_ms
    return DestinationDataset(
        location=location,
        observed_at=bigquery_clock(client, location),
        partitions_expire=dataset.default_partition_expiration_ms is not None,
        new_tables_expire=None if expiration is None else timedelta(milliseconds=expiration),
        ignores_case=bool(dataset.is_case_insensitive),
        collated_datasets=tuple(each.dataset_id for each in datasets if each.to_api_repr().get("defaultCollation")),
    )


def describe_table(
    client: bigquery.Client, config: DestinationConfig, dataset: DestinationDataset, *, may_exist: bool = True
) -> DestinationDescription:
    """Describe the table.

    Args:
        may_exist: False if a listing of the dataset has shown that there is no such table.

    Raises:
        PublishError: BigQuery rejected the request.
        SchemaError: the table cannot be loaded, or is missing and must not be created.
    """
    table = _table(client, config.table_id) if may_exist else None
    if table is not None and table.table_type != "TABLE":
        raise SchemaError(
            f"destination_bigquery_table: {config.table_id} is a {table.table_type.lower().replace('_', ' ')}, "
            "which cannot be loaded: name a table"
        )
    if table is None and config.create_disposition == "CREATE_NEVER":
        raise SchemaError(
            f"destination_bigquery_table: {config.table_id} does not exist and create_disposition is CREATE_NEVER: "
            "create the table, or use CREATE_IF_NEEDED"
        )
    return DestinationDescription(
        location=dataset.location,
        table=_existing(table) if table is not None else None,
        observed_at=dataset.observed_at,
        is_replaced=table is not None and config.delete_existing_table,
        partitions_expire=dataset.partitions_expire,
        new_tables_expire=dataset.new_tables_expire,
        ignores_case=dataset.ignores_case,
        collated_datasets=dataset.collated_datasets,
    )


def listed_tables(client: bigquery.Client, dataset_id: str) -> frozenset[str]:
    """Return the names of all tables and views of a dataset, in lower case. Raises PublishError."""
    with translated_errors(f"list the tables of {dataset_id}"):
        return frozenset(table.table_id.lower() for table in client.list_tables(dataset_id, retry=REQUEST_RETRY))


def _table(client: bigquery.Client, table_id: str) -> bigquery.Table | None:
    with translated_errors(f"look at the table {table_id}"):
        try:
            return client.get_table(table_id, retry=REQUEST_RETRY)
        except exceptions.NotFound:
            return None


def _staging_datasets(client: bigquery.Client, config: DestinationConfig, location: str) -> list[bigquery.Dataset]:
    """Return the staging dataset, if one is given. Raises ConfigError when the publishing query cannot use it."""
    if config.staging_dataset is None:
        return []
    dataset = describe_dataset(client, f"{config.project}.{config.staging_dataset}", "staging_dataset")
    there = location_of(dataset)
    if there.upper() != location.upper():
        problem = f"staging_dataset: {config.staging_dataset} is in {there}, and the destination in {location}"
        raise ConfigError([f"{problem}: a query runs in one location; name a dataset in the same one"])
    return [dataset]


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
        required_filter_column(table),
        has_other_partitions,
        size=int(table.num_bytes or 0),
        rows=int(table.num_rows or 0),
        options=TableOptions.of(table),
        # BigQuery does not count rows that were streamed in the last minutes.
        has_rows=bool(table.num_rows) or table.streaming_buffer is not None,
        collated=tuple(field.name for field in table.schema if field.to_api_repr().get("collation")),
    )


def describe_dataset(client: bigquery.Client, dataset_id: str, parameter: str) -> bigquery.Dataset:
    """Return the dataset. Raises ConfigError when it does not exist, PublishError when BigQuery rejects the request."""
    with translated_errors(f"find the dataset {dataset_id}"):
        try:
            return client.get_dataset(dataset_id, retry=REQUEST_RETRY)
        except exceptions.NotFound:
            raise ConfigError(
                [f"{parameter}: the dataset {dataset_id} does not exist: create it, or correct its name"]
            ) from None


def location_of(dataset: bigquery.Dataset) -> str:
    """Return the dataset's location; BigQuery's default is US."""
    return dataset.location or "US"


def bigquery_clock(client: bigquery.Client, location: str) -> datetime:
    """Return BigQuery's own clock. Later queries see the results of all jobs that ended before it."""
    with translated_errors("run a query"):
        job = client.query("SELECT 1", location=location, retry=REQUEST_RETRY, job_retry=None)
        job.result()
    created = job.created
    assert isinstance(created, datetime), "every BigQuery job has a creation time"
    return created
