"""`SyncConfig`: the parameters of a run as typed values. Below this module nobody reads a parameter's text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sync_pipeline.errors import ConfigError
from sync_pipeline.parameters import checks
from sync_pipeline.parameters.declaration import declared
from sync_pipeline.parameters.identifiers import SourceTable, TableId
from sync_pipeline.parameters.parameter import ParameterValues
from sync_pipeline.parameters.parsing import read_values
from sync_pipeline.parameters.secrets import Secret
from sync_pipeline.parameters.transformation_config import TransformationConfig


@dataclass(frozen=True)
class SmartSyncConfig:
    """Smart Sync is on.

    Attributes:
        timestamp_column: by its source name.
        fallback_days: counts only when `sync_all_on_empty_table` is false.
        lookback: how far before the destination's latest timestamp to start; only with a primary key.
        settle, max_hold: see `smart_sync.upper_bound`.
        include_null_timestamps: rows without a timestamp are read by every run; only with a primary key.
        time_zone: of timestamps without one; None takes the source's.
    """

    timestamp_column: str
    sync_all_on_empty_table: bool
    fallback_days: int
    lookback: timedelta
    settle: timedelta
    max_hold: timedelta
    include_null_timestamps: bool
    time_zone: str | None = None


@dataclass(frozen=True)
class AutoSchemaConfig:
    """Auto-Schema is on.

    `partition_field_given` is False when `partition_field` is only the default: the table may then lack the column.
    """

    source_table: SourceTable | None
    partition_field: str
    partition_field_given: bool
    partition_granularity: str
    clustering_fields: tuple[str, ...]


@dataclass(frozen=True)
class DestinationConfig:
    """The table that is written, and how.

    Attributes:
        staging_dataset: of the same project; None stages beside the destination.
        kms_key: encrypts the tables that the run creates; None leaves them the destination's, or the dataset's, key.
    """

    project: str
    dataset: str
    table: str
    write_disposition: str
    create_disposition: str
    delete_existing_table: bool
    staging_dataset: str | None = None
    kms_key: str | None = None

    @property
    def table_id(self) -> str:
        """`project.dataset.table`, as Google's clients write it."""
        return f"{self.project}.{self.dataset}.{self.table}"


@dataclass(frozen=True)
class SyncConfig:
    """All a run was asked to do. It travels to the workers by pickle.

    Attributes:
        source: what the source reads of its own parameters; only its package looks into it.
        primary_key: columns by which rows are merged, by source or destination names; empty to append.
        hash_key: the key of the hashes; None for hashes without one.
        schema_evolution: `fail`, `add` or `ignore`.
        dead_letter_table: where rows that do not fit go; None fails the run.
        dead_letter_expiration_days: how long such a table keeps them, where the run creates it; None for ever.
        num_partitions: into how many parts the read is cut; None leaves it to the source.
        warnings: sentences about what was given and has no effect, or is unwise.
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

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str]) -> SyncConfig:
        """Return the configuration that the template's parameters describe, by name and as text.

        An empty text is the same as none; defaults are filled in.

        Raises:
            ConfigError: all problems, each naming the parameter, its value unless secret, and what is right.
        """
        values, problems = read_values(parameters)
        problems += checks.missing(values)
        problems += checks.contradictions(values)
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
            ),
            smart_sync=_smart_sync(values) if values["enable_smart_sync"] else None,
            auto_schema=_auto_schema(values) if values["enable_auto_schema"] else None,
            transformation=transformation,
            hash_key=values["hash_key"],
            primary_key=values["primary_key"] or (),
            schema_evolution=values["schema_evolution"],
            dead_letter_table=values["dead_letter_table"],
            dead_letter_expiration_days=values["dead_letter_expiration_days"],
            batch_size=values["batch_size"],
            num_partitions=values["num_partitions"],
            max_retries=values["max_retries"],
            dry_run=values["dry_run"],
            warnings=(*checks.warnings(values), *_hash_warnings(transformation, values["hash_key"])),
        )


def _hash_warnings(transformation: TransformationConfig, key: Secret | None) -> Iterator[str]:
    if transformation.hash_fields and key is None:
        yield (
            "hash_fields are hashed without a key: whoever can guess the values, such as phone numbers, finds them by "
            "hashing all of them; give hash_key"
        )
    if key is not None and not transformation.hash_fields:
        yield "hash_key is ignored: transformation_config has no hash_fields"


def _smart_sync(values: ParameterValues) -> SmartSyncConfig:
    return SmartSyncConfig(
        timestamp_column=declared(values["data_source"]).timestamp_column(values["smart_sync_timestamp_column"]),
        sync_all_on_empty_table=values["sync_all_on_empty_table"],
        fallback_days=values["fallback_days"],
        lookback=timedelta(seconds=values["smart_sync_lookback_seconds"]),
        settle=timedelta(seconds=values["smart_sync_settle_seconds"]),
        max_hold=timedelta(seconds=values["smart_sync_max_hold_seconds"]),
        include_null_timestamps=values["smart_sync_null_timestamps"] == "include",
        time_zone=values["smart_sync_time_zone"],
    )


def _auto_schema(values: ParameterValues) -> AutoSchemaConfig:
    return AutoSchemaConfig(
        source_table=values["source_table_for_schema"],
        partition_field=values["partition_field"],
        partition_field_given="partition_field" in values.given,
        partition_granularity=values["partition_granularity"],
        clustering_fields=values["clustering_fields"] or (),
    )
