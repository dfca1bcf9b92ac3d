"""The destination at launch: what is there, and how it differs from what is coming.

Nothing here writes. The table is created when the rows are published, so that a run that fails before leaves
the dataset as it found it.
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

TIMESTAMP_TYPES = ("TIMESTAMP", "DATETIME")


@dataclass(frozen=True)
class ExistingTable:
    """The destination table as it is.

    Attributes:
        required_filter_column: BigQuery refuses a query that does not filter by it; None where it requires no filter.
        has_other_partitions: it is partitioned by the time of loading, or by ranges of integers, which no
            `TableLayout` tells.
        size: in logical bytes, which are what is billed.
        options: what a table in its place has as well.
    """

    schema: Schema
    layout: TableLayout
    required_filter_column: str | None = None
    has_other_partitions: bool = False
    size: int = 0
    options: TableOptions = NO_OPTIONS

    def has_layout(self, layout: TableLayout) -> bool:
        """Whether the table is partitioned and clustered just so."""
        return (
            not self.has_other_partitions
            and self.layout.partitioning == layout.partitioning
            and self.layout.clustering == layout.clustering
        )


@dataclass(frozen=True)
class DestinationDescription:
    """Where the rows go.

    Attributes:
        location: of the dataset; jobs run there.
        table: None when there is none.
        observed_at: BigQuery's clock before the table was looked at.
        partitions_expire: the dataset deletes partitions by age, also while a load is writing them.
        is_replaced: the table goes away with its rows, and another one takes its place.
        new_tables_expire: after so long the dataset deletes a table that is created in it; None for never.
        ignores_case: the dataset does not tell names of tables apart that differ in case.
    """

    location: str
    table: ExistingTable | None
    observed_at: datetime
    is_replaced: bool = False
    partitions_expire: bool = False
    new_tables_expire: timedelta | None = None
    ignores_case: bool = False

    @property
    def kept_table(self) -> ExistingTable | None:
        """The table that the rows go to, with its columns and layout; None where a new one is made for them."""
        return None if self.is_replaced else self.table


def describe_destination(client: bigquery.Client, config: DestinationConfig) -> DestinationDescription:
    """Return the dataset's location and the table as it is.

    Raises ConfigError or PublishError when the dataset cannot be seen, SchemaError when the table cannot be loaded, or
    must not be created.
    """
    dataset_id = f"{config.project}.{config.dataset}"
    dataset = describe_dataset(client, dataset_id, "destination_bigquery_dataset")
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
    if table is None and config.create_disposition == "CREATE_NEVER":
        raise SchemaError(
            f"destination_bigquery_table: {config.table_id} does not exist and create_disposition is CREATE_NEVER: "
            "create the table, or use CREATE_IF_NEEDED"
        )
    expiration = dataset.default_table_expiration_ms
    return DestinationDescription(
        location=location,
        table=_existing(table) if table is not None else None,
        observed_at=observed_at,
        is_replaced=table is not None and config.delete_existing_table,
        partitions_expire=dataset.default_partition_expiration_ms is not None,
        new_tables_expire=None if expiration is None else timedelta(milliseconds=expiration),
        ignores_case=bool(dataset.is_case_insensitive),
    )


def _check_staging_dataset(client: bigquery.Client, config: DestinationConfig, location: str) -> None:
    """Raise ConfigError unless the query that publishes can read the dataset of the staging table."""
    if config.staging_dataset is None:
        return
    dataset = describe_dataset(client, f"{config.project}.{config.staging_dataset}", "staging_dataset")
    if (dataset.location or "US").upper() != location.upper():
        problem = (
            f"staging_dataset: {config.staging_dataset} is in {dataset.location}, and the destination in {location}"
        )
        raise ConfigError([f"{problem}: a query has one location; name a dataset in the same one"])


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
        options=TableOptions.of(table),
    )


def describe_dataset(client: bigquery.Client, dataset_id: str, parameter: str) -> bigquery.Dataset:
    """Return the dataset. Raises ConfigError, naming the parameter, when there is none; PublishError otherwise."""
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
