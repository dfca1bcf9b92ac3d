"""`SyncConfig`: the parameters of a run as typed values. Below this module nobody reads a parameter's text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from sync_pipeline.errors import ConfigError
from sync_pipeline.parameters import checks
from sync_pipeline.parameters.identifiers import SourceTable, TableId, column_name
from sync_pipeline.parameters.parsing import ParameterValues, read_values
from sync_pipeline.parameters.secrets import Secret
from sync_pipeline.parameters.transformation_config import TransformationConfig
from sync_pipeline.registry import BIGQUERY, MONGODB, POSTGRESQL


@dataclass(frozen=True)
class PostgresqlConfig:
    """The server and what is asked of it: `base_query` with Smart Sync where there is one, else `query`.

    Attributes:
        host: None where `instance` is set.
        sslmode: libpq's word for how the connection is encrypted and the server verified.
        sslrootcert, sslcert: where the certificates are, as `Secret.resolve` reads them.
        instance: of Cloud SQL or AlloyDB, by its name.
        iam_login: whether a token of the job's service account is the password.
        require_auth: libpq's word for how the server must ask for the password; None for whatever it asks.
    """

    host: str | None
    port: int
    database: str
    username: str
    password: Secret | None
    query: str | None
    base_query: str | None
    sslmode: str
    sslrootcert: str | None
    partition_column: str | None
    sslcert: str | None = None
    sslkey: Secret | None = None
    require_auth: str | None = None
    instance: str | None = None
    iam_login: bool = False

    @property
    def server(self) -> str:
        """The host or the instance, as messages name it."""
        return self.instance or self.host or ""


@dataclass(frozen=True)
class MongodbConfig:
    """The collection. `connection_string` is set, or `host` is; where both are, the string counts.

    `query` and `projection` are JSON objects. `sample_size` is the number of documents that the columns are chosen by,
    None is all. With `document_mode` a row has the whole document in one column. `timestamp_field` is Smart Sync's
    field, or with dots the path to it, which a column is named by.
    """

    host: str | None
    port: int
    database: str
    collection: str
    username: str | None
    password: Secret | None
    connection_string: Secret | None
    query: str | None
    projection: str | None
    sample_size: int | None = None
    document_mode: bool = False
    tls: bool = False
    tls_ca: str | None = None
    tls_certificate_key: Secret | None = None
    timestamp_field: str = ""


@dataclass(frozen=True)
class BigquerySourceConfig:
    """Either `query` is set, or `dataset` and `table` are.

    Attributes:
        project: of the table; or runs the query, and has the tables that the query names without a project.
        dataset: with `query`, has the tables that it names without a dataset.
        read: `auto`, `storage_api` or `query`.
        maximum_bytes_billed: None for no limit.
    """

    project: str
    dataset: str | None
    table: str | None
    query: str | None
    read: str
    maximum_bytes_billed: int | None


SourceConfig = PostgresqlConfig | MongodbConfig | BigquerySourceConfig


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
        primary_key: columns by which rows are merged, by source or destination names; empty to append.
        hash_key: the key of the hashes; None for hashes without one.
        schema_evolution: `fail`, `add` or `ignore`.
        dead_letter_table: where rows that do not fit go; None fails the run.
        dead_letter_expiration_days: how long such a table keeps them, where the run creates it; None for ever.
        num_partitions: into how many parts the read is cut; None leaves it to the source.
        warnings: sentences about what was given and has no effect, or is unwise.
    """

    data_source: str
    source: SourceConfig
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
            source=_source(values),
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


def _postgresql(values: ParameterValues) -> PostgresqlConfig:
    return PostgresqlConfig(
        host=values["postgresql_host"],
        port=values["postgresql_port"],
        database=values["postgresql_database"],
        username=values["postgresql_username"],
        password=values["postgresql_password"],
        query=values["postgresql_query"],
        base_query=values["postgresql_base_query"],
        sslmode=values["postgresql_sslmode"],
        sslrootcert=values["postgresql_sslrootcert"],
        partition_column=values["partition_column"],
        sslcert=values["postgresql_sslcert"],
        sslkey=values["postgresql_sslkey"],
        instance=values["postgresql_instance"],
        iam_login=values["postgresql_iam_login"],
        require_auth=None if values["postgresql_require_auth"] == "any" else values["postgresql_require_auth"],
    )


def _mongodb(values: ParameterValues) -> MongodbConfig:
    return MongodbConfig(
        host=values["mongodb_host"],
        port=values["mongodb_port"],
        database=values["mongodb_database"],
        collection=values["mongodb_collection"],
        username=values["mongodb_username"],
        password=values["mongodb_password"],
        connection_string=values["mongodb_connection_string"],
        query=values["mongodb_query"],
        projection=values["mongodb_projection"],
        sample_size=values["mongodb_schema_sample_size"],
        document_mode=values["mongodb_document_mode"],
        tls=values["mongodb_tls"],
        tls_ca=values["mongodb_tls_ca"],
        tls_certificate_key=values["mongodb_tls_certificate_key"],
        timestamp_field=values["smart_sync_timestamp_column"],
    )


def _bigquery(values: ParameterValues) -> BigquerySourceConfig:
    return BigquerySourceConfig(
        project=values["source_bigquery_project"],
        dataset=values["source_bigquery_dataset"],
        table=values["source_bigquery_table"],
        query=values["source_bigquery_query"],
        read=values["source_bigquery_read"],
        maximum_bytes_billed=values["maximum_bytes_billed"],
    )


_SOURCES: Mapping[str, Callable[[ParameterValues], SourceConfig]] = {
    POSTGRESQL: _postgresql,
    MONGODB: _mongodb,
    BIGQUERY: _bigquery,
}


def _source(values: ParameterValues) -> SourceConfig:
    return _SOURCES[values["data_source"]](values)


def _smart_sync(values: ParameterValues) -> SmartSyncConfig:
    column = values["smart_sync_timestamp_column"]
    return SmartSyncConfig(
        timestamp_column=column_name(column) if values["data_source"] == MONGODB else column,
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
