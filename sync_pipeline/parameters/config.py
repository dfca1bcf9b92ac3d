"""`SyncConfig`: the parameters of one table as typed values. Other modules never read a parameter's text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sync_pipeline.errors import ConfigError
from sync_pipeline.parameters import checks
from sync_pipeline.parameters.declaration import declared
from sync_pipeline.parameters.identifiers import SourceTable, TableId
from sync_pipeline.parameters.one_table import for_one_table
from sync_pipeline.parameters.parameter import ParameterValues
from sync_pipeline.parameters.parsing import read_values
from sync_pipeline.parameters.rows import KEEP, OFF
from sync_pipeline.parameters.secrets import Secret
from sync_pipeline.smart_sync.backfill import Backfill

if TYPE_CHECKING:
    from sync_pipeline.parameters.transformation_config import TransformationConfig


@dataclass(frozen=True)
class SmartSyncConfig:
    """The configuration of Smart Sync.

    Attributes:
        timestamp_column: the column's source name.
        fallback_days: only used if `sync_all_on_empty_table` is false.
        lookback: time before the destination's latest timestamp at which to start; only where rows are merged.
        settle, max_hold: see `smart_sync.upper_bound`.
        include_null_timestamps: whether the run reads rows without a timestamp; only where rows are merged.
        time_zone: the time zone of a timestamp column without one; None means the source's.
        backfill: the interval to load again; None for the one after the destination's latest timestamp.
        max_interval: the longest interval of a run; see `smart_sync.steps`. None for no limit.
    """

    timestamp_column: str
    sync_all_on_empty_table: bool
    fallback_days: int
    lookback: timedelta
    settle: timedelta
    max_hold: timedelta
    include_null_timestamps: bool
    time_zone: str | None = None
    backfill: Backfill | None = None
    max_interval: timedelta | None = None


@dataclass(frozen=True)
class AutoSchemaConfig:
    """The configuration of Auto-Schema.

    `partition_field_given` is False if `partition_field` is the default, which the table may lack.
    """

    source_table: SourceTable | None
    partition_field: str
    partition_field_given: bool
    partition_granularity: str
    clustering_fields: tuple[str, ...]


@dataclass(frozen=True)
class DestinationConfig:
    """The destination table and how to write it.

    Attributes:
        write_disposition_given: False if `write_disposition` is the default, which does not append all rows again.
        staging_dataset: dataset of staging tables in the same project; None means the destination's dataset.
        kms_key: encrypts the tables that the run creates; None means the destination's key or the dataset's default.
    """

    project: str
    dataset: str
    table: str
    write_disposition: str
    create_disposition: str
    delete_existing_table: bool
    staging_dataset: str | None = None
    kms_key: str | None = None
    write_disposition_given: bool = False

    @property
    def table_id(self) -> str:
        """The table's id for Google's clients, `project.dataset.table`."""
        return f"{self.project}.{self.dataset}.{self.table}"


@dataclass(frozen=True)
class SyncConfig:
    """The configuration of the sync of one table. Workers receive it by pickle.

    Attributes:
        source: the source's own configuration, which only the source's package uses.
        primary_key: key columns of a merge, with source or destination names; empty to append.
        hash_key: the key of hashes; None for hashes without a key.
        schema_evolution: `fail`, `add` or `ignore`.
        dead_letter_table: the table for rejected rows; None fails the run.
        dead_letter_expiration_days: how long a dead letter table that the run creates keeps its rows; None for ever.
        num_partitions: maximum number of read splits; None lets the source decide.
        deletes: `keep`, `remove` or `mark` the rows that the source no longer has.
        max_deleted_percent: the most rows of the destination, in percent, that one run may remove or mark.
        reconcile: `off`; `report` or `repair` compares the whole source with the destination instead of loading rows.
        warnings: sentences about given parameters that have no effect or are unwise.
    """

    data_source: str
    source: Any
    destination: DestinationConfig
    smart_sync: SmartSyncConfig | None
    auto_schema: AutoSchemaConfig | None
    transformation: TransformationConfig
    primary_key: tuple[str, ...]
    schema_evolution: str
    dead_letter_table: TableId | None
    dead_letter_expiration_days: int | None
    batch_size: int
    num_partitions: int | None
    max_retries: int
    dry_run: bool
    warnings: tuple[str, ...]
    hash_key: Secret | None = None
    deletes: str = KEEP
    max_deleted_percent: int = 10
    reconcile: str = OFF

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str]) -> SyncConfig:
        """Return the configuration of one table or query from the template's parameters, given as texts by name.

        An empty text means that the parameter is not given. Fills in defaults.

        Raises:
            ConfigError: parameters are invalid. Each problem names the parameter, its value unless secret, and the
                remedy.
        """
        values, problems = read_values(parameters)
        return cls.from_values(values, problems)

    @classmethod
    def from_values(
        cls, values: ParameterValues, problems: Sequence[str] = (), about: frozenset[str] | None = None
    ) -> SyncConfig:
        """Return the configuration of one table or query.

        Args:
            problems: those of reading the values.
            about: the given parameters to warn about, for one of several tables; None for all.

        Raises:
            ConfigError: see `from_parameters`.
        """
        values, found = for_one_table(values)
        problems = [*problems, *found]
        problems += checks.missing(values)
        problems += checks.contradictions(values)
        if problems and not values["transformation_config"]:
            raise ConfigError(problems)
        # A refusal does not wait for this import, unless there is something to read.
        from sync_pipeline.parameters.transformation_config import TransformationConfig

        transformation = TransformationConfig()
        try:
            transformation = TransformationConfig.from_json(values["transformation_config"] or "")
        except ConfigError as error:
            problems += error.problems
        if problems:
            raise ConfigError(problems)
        return cls(
            data_source=values["data_source"],
            source=declared(values["data_source"]).read_config(values),
            destination=DestinationConfig(
                project=values["destination_bigquery_project"],
                dataset=values["destination_bigquery_dataset"],
                table=values["destination_bigquery_table"],
                write_disposition=values["write_disposition"],
                create_disposition=values["create_disposition"],
                delete_existing_table=values["delete_existing_table"],
                staging_dataset=values["staging_dataset"],
                kms_key=values["destination_kms_key"],
                write_disposition_given="write_disposition" in values.given,
            ),
            smart_sync=_smart_sync(values) if values["enable_smart_sync"] else None,
            auto_schema=_auto_schema(values) if values["enable_auto_schema"] else None,
            transformation=transformation,
            hash_key=values["hash_key"],
            primary_key=values["primary_key"] or (),
            schema_evolution=_schema_evolution(values),
            deletes=values["deletes"],
            max_deleted_percent=values["max_deleted_percent"],
            reconcile=values["reconcile"],
            dead_letter_table=values["dead_letter_table"],
            dead_letter_expiration_days=values["dead_letter_expiration_days"],
            batch_size=values["batch_size"],
            num_partitions=values["num_partitions"],
            max_retries=values["max_retries"],
            dry_run=values["dry_run"],
            warnings=tuple(
                checks.warnings(values, transformation)
                if about is None
                else checks.table_warnings(replace(values, given=values.given & about))
            ),
        )


def _schema_evolution(values: ParameterValues) -> str:
    """Return what happens to new columns: a run that compares the table does not change its columns."""
    evolution: str = values["schema_evolution"]
    return "ignore" if evolution == "add" and values["reconcile"] != OFF else evolution


def _smart_sync(values: ParameterValues) -> SmartSyncConfig:
    backfill = None
    if values["interval_start"] is not None:
        backfill = Backfill(values["interval_start"], values["interval_end"])
    hours = values["smart_sync_max_interval_hours"]
    return SmartSyncConfig(
        timestamp_column=declared(values["data_source"]).timestamp_column(values["smart_sync_timestamp_column"]),
        sync_all_on_empty_table=values["sync_all_on_empty_table"],
        fallback_days=values["fallback_days"],
        lookback=timedelta(seconds=values["smart_sync_lookback_seconds"]),
        settle=timedelta(seconds=values["smart_sync_settle_seconds"]),
        max_hold=timedelta(seconds=values["smart_sync_max_hold_seconds"]),
        # No interval contains NULL.
        include_null_timestamps=values["smart_sync_null_timestamps"] == "include" and backfill is None,
        time_zone=values["smart_sync_time_zone"],
        backfill=backfill,
        max_interval=None if hours is None else timedelta(hours=hours),
    )


def _auto_schema(values: ParameterValues) -> AutoSchemaConfig:
    return AutoSchemaConfig(
        source_table=values["source_table_for_schema"],
        partition_field=values["partition_field"],
        partition_field_given="partition_field" in values.given,
        partition_granularity=values["partition_granularity"],
        clustering_fields=values["clustering_fields"] or (),
    )
