"""The template's parameters, each declared once.

The command line, `SyncConfig`, the Beam options, `metadata.json`, the README's tables and the redaction of
secrets are all rendered from `PARAMETERS`. Names and defaults are a contract with everyone who launches the template.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from types import MappingProxyType

from sync_pipeline.registry import BIGQUERY, MONGODB, POSTGRESQL

# The ways of rows from BigQuery to BigQuery.
AUTO_METHOD, STORAGE_METHOD, QUERY_METHOD = "auto", "storage_api", "query"


class ParameterType(StrEnum):
    """What a parameter's text stands for; `values.READERS` has a row for each."""

    TEXT = "Text"
    HOST = "Host"
    PEM = "Certificate or key"
    INSTANCE = "Managed instance"
    BOOLEAN = "Boolean"
    INTEGER = "Integer"
    CHOICE = "Choice"
    JSON = "JSON object"
    PROJECT = "Project id"
    DATASET = "Dataset"
    TABLE = "Table"
    TABLE_ID = "Table with project and dataset"
    TIME_ZONE = "Time zone"
    KMS_KEY = "Key in Cloud KMS"
    COLUMN = "Column"
    COLUMNS = "List of columns"
    SOURCE_TABLE = "Table of the source"


class Group(StrEnum):
    """The headings under which consoles, `--help` and README show the parameters."""

    CORE = "Core"
    POSTGRESQL = "PostgreSQL"
    SMART_SYNC = "Smart Sync"
    AUTO_SCHEMA = "Auto-Schema"
    MONGODB = "MongoDB"
    BIGQUERY_SOURCE = "BigQuery Source"
    ADDITIONAL = "Additional"


@dataclass(frozen=True)
class Requirement:
    """A case in which a parameter must be given.

    Attributes:
        when: pairs of parameter and values: each has one of its values.
        given: parameters that have been given.
        unless: parameters of which one, when given, does instead.
    """

    when: tuple[tuple[str, tuple[str, ...]], ...] = ()
    given: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()

    def __str__(self) -> str:
        clauses = [f"{name} is {' or '.join(values)}" for name, values in self.when]
        clauses += [f"{name} is given" for name in self.given]
        return " and ".join(clauses) + "".join(f", unless {name} is given" for name in self.unless)


@dataclass(frozen=True)
class Parameter:
    """One row of the table.

    Attributes:
        help: whole sentences, for consoles, `--help` and README.
        default: the text used when nothing or an empty text is given; None when there is no default.
        choices: the allowed texts of a CHOICE.
        minimum, maximum: the range of an INTEGER, both included; of COLUMNS, how many there can be.
        secret: the value is never shown; it may be the name of a secret in Secret Manager.
        source: the only `data_source` the parameter has a meaning for; None for all.
        required: the cases in which it must be given; empty when it never must.
    """

    name: str
    label: str
    help: str
    type: ParameterType
    group: Group
    example: str
    default: str | None = None
    choices: tuple[str, ...] = ()
    minimum: int = 0
    maximum: int = 0
    secret: bool = False
    source: str | None = None
    required: tuple[Requirement, ...] = ()

    @property
    def required_text(self) -> str:
        """`Yes`, `No`, or the cases in which the parameter must be given."""
        if ALWAYS in self.required:
            return "Yes"
        return "; or ".join(f"when {requirement}" for requirement in self.required) or "No"


ALWAYS = Requirement()


def _when(unless: str = "", given: str = "", **values: str) -> Requirement:
    """Return the case that each named parameter has one of its values, written `a|b`."""
    when = tuple((name, tuple(text.split("|"))) for name, text in values.items())
    return Requirement(when, given=(given,) if given else (), unless=(unless,) if unless else ())


_POSTGRESQL = partial(Parameter, group=Group.POSTGRESQL, source=POSTGRESQL)
_MONGODB = partial(Parameter, group=Group.MONGODB, source=MONGODB)
_BIGQUERY = partial(Parameter, group=Group.BIGQUERY_SOURCE, source=BIGQUERY)
_SMART_SYNC = partial(Parameter, group=Group.SMART_SYNC)
_AUTO_SCHEMA = partial(Parameter, group=Group.AUTO_SCHEMA)

_PEM_PLACES = (
    "Give the name of a version in Secret Manager, a gs:// object, or the path of a file that the workers have."
)
_VERSION_NAME = (
    "Give the name of a secret in Secret Manager, projects/PROJECT/secrets/SECRET/versions/VERSION, or, outside "
    "Dataflow, env:VARIABLE; the secret itself works too, but is then kept with the launch request."
)

PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        "data_source",
        "Data source",
        "Where the rows come from.",
        ParameterType.CHOICE,
        Group.CORE,
        example="postgresql",
        choices=(POSTGRESQL, MONGODB, BIGQUERY),
        required=(ALWAYS,),
    ),
    Parameter(
        "destination_bigquery_project",
        "Destination project",
        "Project of the BigQuery table that is written.",
        ParameterType.PROJECT,
        Group.CORE,
        example="my-analytics-project",
        required=(ALWAYS,),
    ),
    Parameter(
        "destination_bigquery_dataset",
        "Destination dataset",
        "Dataset of the BigQuery table that is written; it must exist.",
        ParameterType.DATASET,
        Group.CORE,
        example="production_data",
        required=(ALWAYS,),
    ),
    Parameter(
        "destination_bigquery_table",
        "Destination table",
        "The BigQuery table that is written.",
        ParameterType.TABLE,
        Group.CORE,
        example="organizations",
        required=(ALWAYS,),
    ),
    _POSTGRESQL(
        "postgresql_host",
        "PostgreSQL host",
        "Address or name of the server, as the workers reach it.",
        ParameterType.HOST,
        example="db.example.com",
        required=(_when(data_source=POSTGRESQL, unless="postgresql_instance"),),
    ),
    _POSTGRESQL(
        "postgresql_instance",
        "Cloud SQL or AlloyDB instance",
        "Instance in place of postgresql_host, PROJECT:REGION:INSTANCE of Cloud SQL or "
        "projects/P/locations/L/clusters/C/instances/I of AlloyDB: its address is looked up, and Cloud SQL's "
        "certificate is verified.",
        ParameterType.INSTANCE,
        example="my-project:us-central1:shop",
    ),
    _POSTGRESQL(
        "postgresql_port",
        "PostgreSQL port",
        "Port of the server.",
        ParameterType.INTEGER,
        example="5432",
        default="5432",
        minimum=1,
        maximum=65535,
    ),
    _POSTGRESQL(
        "postgresql_database",
        "PostgreSQL database",
        "Name of the database.",
        ParameterType.TEXT,
        example="user_management",
        required=(_when(data_source=POSTGRESQL),),
    ),
    _POSTGRESQL(
        "postgresql_username",
        "PostgreSQL user",
        "The user who reads; SELECT on the tables of the query is enough.",
        ParameterType.TEXT,
        example="dataflow_user",
        required=(_when(data_source=POSTGRESQL),),
    ),
    _POSTGRESQL(
        "postgresql_password",
        "PostgreSQL password",
        f"Password of the user. {_VERSION_NAME}",
        ParameterType.TEXT,
        example="projects/my-project/secrets/postgresql-password/versions/latest",
        secret=True,
        required=(
            Requirement((("data_source", (POSTGRESQL,)),), unless=("postgresql_iam_login", "postgresql_sslcert")),
        ),
    ),
    _POSTGRESQL(
        "postgresql_iam_login",
        "IAM login",
        "Log in to Cloud SQL or AlloyDB as the job's service account, in place of a password; postgresql_username is "
        "its address.",
        ParameterType.BOOLEAN,
        example="true",
        default="false",
    ),
    _POSTGRESQL(
        "postgresql_query",
        "PostgreSQL query",
        "The SELECT whose rows are synced. With Smart Sync, postgresql_base_query is used instead when it is given.",
        ParameterType.TEXT,
        example="SELECT * FROM organizations WHERE active = true",
        required=(
            _when(data_source=POSTGRESQL, enable_smart_sync="false"),
            _when(data_source=POSTGRESQL, enable_smart_sync="true", unless="postgresql_base_query"),
        ),
    ),
    _POSTGRESQL(
        "postgresql_sslmode",
        "PostgreSQL TLS mode",
        "How the connection is encrypted and the server verified, in the words of libpq.",
        ParameterType.CHOICE,
        example="verify-full",
        default="prefer",
        choices=("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    ),
    _POSTGRESQL(
        "postgresql_sslrootcert",
        "PostgreSQL root certificate",
        f"Certificate of the authority that signed the server's, in PEM form. {_PEM_PLACES}",
        ParameterType.PEM,
        example="gs://my-bucket/server-ca.pem",
        required=(_when(data_source=POSTGRESQL, postgresql_sslmode="verify-ca|verify-full"),),
    ),
    _POSTGRESQL(
        "postgresql_sslcert",
        "PostgreSQL client certificate",
        f"Certificate that this client shows to the server, in PEM form. {_PEM_PLACES}",
        ParameterType.PEM,
        example="gs://my-bucket/client-cert.pem",
        required=(_when(data_source=POSTGRESQL, given="postgresql_sslkey"),),
    ),
    _POSTGRESQL(
        "postgresql_sslkey",
        "PostgreSQL client key",
        f"Private key of postgresql_sslcert, in PEM form and without a passphrase. {_PEM_PLACES}",
        ParameterType.PEM,
        example="projects/my-project/secrets/postgresql-client-key/versions/latest",
        secret=True,
        required=(_when(data_source=POSTGRESQL, given="postgresql_sslcert"),),
    ),
    _POSTGRESQL(
        "postgresql_require_auth",
        "PostgreSQL authentication",
        "How the server must ask for the password: by scram-sha-256, which does not show it to the server, or any way.",
        ParameterType.CHOICE,
        example="scram-sha-256",
        default="any",
        choices=("any", "scram-sha-256"),
    ),
    _SMART_SYNC(
        "enable_smart_sync",
        "Enable Smart Sync",
        "Read only the rows whose timestamp is later than the latest one in the destination.",
        ParameterType.BOOLEAN,
        example="true",
        default="false",
    ),
    _SMART_SYNC(
        "postgresql_base_query",
        "PostgreSQL query of Smart Sync",
        "The SELECT whose rows are synced, with {start_timestamp} and {end_timestamp} for the interval's bounds.",
        ParameterType.TEXT,
        example="SELECT * FROM organizations "
        "WHERE updated_at > '{start_timestamp}' AND updated_at <= '{end_timestamp}' ORDER BY updated_at ASC",
        source=POSTGRESQL,
        required=(_when(data_source=POSTGRESQL, enable_smart_sync="true", unless="postgresql_query"),),
    ),
    _SMART_SYNC(
        "smart_sync_timestamp_column",
        "Timestamp column",
        "Column of the source that says when a row last changed.",
        ParameterType.TEXT,
        example="last_modified",
        default="updated_at",
    ),
    _SMART_SYNC(
        "sync_all_on_empty_table",
        "Sync all on an empty table",
        "What a first run reads: everything (true), or the last fallback_days days (false).",
        ParameterType.BOOLEAN,
        example="true",
        default="true",
    ),
    _SMART_SYNC(
        "fallback_days",
        "Fallback days",
        "Days a first run looks back when sync_all_on_empty_table is false.",
        ParameterType.INTEGER,
        example="7",
        default="1",
        minimum=1,
        maximum=36500,
    ),
    _SMART_SYNC(
        "smart_sync_lookback_seconds",
        "Lookback",
        "Seconds that are read again before the latest timestamp, for rows that come late; only where rows are merged.",
        ParameterType.INTEGER,
        example="3600",
        default="0",
        minimum=0,
        maximum=31_536_000,
    ),
    _SMART_SYNC(
        "smart_sync_settle_seconds",
        "Settle time",
        "Seconds that the end of the interval stays behind the source's clock and its oldest open transaction.",
        ParameterType.INTEGER,
        example="5",
        default="1",
        minimum=0,
        maximum=86_400,
    ),
    _SMART_SYNC(
        "smart_sync_max_hold_seconds",
        "Longest hold",
        "How long an open transaction holds the end of the interval back, in seconds; after that it is warned of.",
        ParameterType.INTEGER,
        example="21600",
        default="3600",
        minimum=0,
        maximum=604_800,
    ),
    _SMART_SYNC(
        "smart_sync_null_timestamps",
        "Rows without a timestamp",
        "Whether rows whose timestamp is NULL are left out, or read by every run and merged.",
        ParameterType.CHOICE,
        example="include",
        default="exclude",
        choices=("exclude", "include"),
    ),
    _SMART_SYNC(
        "smart_sync_time_zone",
        "Time zone of the timestamps",
        "Time zone by whose wall clock rows are stamped, for a timestamp column without one; by default the TimeZone "
        "of the PostgreSQL server for the user, and UTC for BigQuery.",
        ParameterType.TIME_ZONE,
        example="America/New_York",
    ),
    _AUTO_SCHEMA(
        "enable_auto_schema",
        "Enable Auto-Schema",
        "Create the destination table partitioned and clustered, with the source's types and comments.",
        ParameterType.BOOLEAN,
        example="true",
        default="false",
    ),
    _AUTO_SCHEMA(
        "source_table_for_schema",
        "Source table of the schema",
        "The PostgreSQL table whose columns describe the query's, as schema.table or table.",
        ParameterType.SOURCE_TABLE,
        example="public.organizations",
        source=POSTGRESQL,
    ),
    _AUTO_SCHEMA(
        "partition_field",
        "Partition field",
        "Date or timestamp column by which the destination table is partitioned.",
        ParameterType.COLUMN,
        example="created_at",
        default="updated_at",
    ),
    _AUTO_SCHEMA(
        "partition_granularity",
        "Partition granularity",
        "How much time one partition holds; BigQuery writes at most 4,000 partitions at once.",
        ParameterType.CHOICE,
        example="MONTH",
        default="DAY",
        choices=("HOUR", "DAY", "MONTH", "YEAR"),
    ),
    _AUTO_SCHEMA(
        "clustering_fields",
        "Clustering fields",
        "Up to four columns by which the destination table is clustered, separated by commas.",
        ParameterType.COLUMNS,
        example="id,status",
        maximum=4,
    ),
    _AUTO_SCHEMA(
        "delete_existing_table",
        "Replace the existing table",
        "Replace the destination table, its schema and its rows by this run's; readers see the old table until then.",
        ParameterType.BOOLEAN,
        example="false",
        default="false",
    ),
    _MONGODB(
        "mongodb_host",
        "MongoDB host",
        "Address or name of the server, as the workers reach it.",
        ParameterType.HOST,
        example="mongodb.example.com",
        required=(_when(data_source=MONGODB, unless="mongodb_connection_string"),),
    ),
    _MONGODB(
        "mongodb_port",
        "MongoDB port",
        "Port of the server.",
        ParameterType.INTEGER,
        example="27017",
        default="27017",
        minimum=1,
        maximum=65535,
    ),
    _MONGODB(
        "mongodb_database",
        "MongoDB database",
        "Name of the database.",
        ParameterType.TEXT,
        example="user_data",
        required=(_when(data_source=MONGODB),),
    ),
    _MONGODB(
        "mongodb_collection",
        "MongoDB collection",
        "The collection that is read.",
        ParameterType.TEXT,
        example="users",
        required=(_when(data_source=MONGODB),),
    ),
    _MONGODB(
        "mongodb_username",
        "MongoDB user",
        "The user who reads; empty for a server without authentication.",
        ParameterType.TEXT,
        example="dataflow_user",
        required=(_when(data_source=MONGODB, given="mongodb_password"),),
    ),
    _MONGODB(
        "mongodb_password",
        "MongoDB password",
        f"Password of the user. {_VERSION_NAME}",
        ParameterType.TEXT,
        example="projects/my-project/secrets/mongodb-password/versions/latest",
        secret=True,
        required=(_when(data_source=MONGODB, given="mongodb_username"),),
    ),
    _MONGODB(
        "mongodb_connection_string",
        "MongoDB connection string",
        f"Servers, user, password and options in one; it counts where mongodb_host differs. {_VERSION_NAME}",
        ParameterType.TEXT,
        example="projects/my-project/secrets/mongodb-uri/versions/latest",
        secret=True,
    ),
    _MONGODB(
        "mongodb_tls",
        "MongoDB TLS",
        "Encrypt the connection and verify the server's certificate and name; a connection string may say so itself.",
        ParameterType.BOOLEAN,
        example="true",
        default="false",
    ),
    _MONGODB(
        "mongodb_tls_ca",
        "MongoDB root certificate",
        "Certificate of the authority that signed the server's, in PEM form, where it is none that the workers know; "
        f"turns TLS on. {_PEM_PLACES}",
        ParameterType.PEM,
        example="gs://my-bucket/mongodb-ca.pem",
    ),
    _MONGODB(
        "mongodb_tls_certificate_key",
        "MongoDB client certificate",
        "Certificate that this client shows to the server and its private key, both in one text in PEM form, without a "
        f"passphrase; turns TLS on, and without a user it is the login (MONGODB-X509). {_PEM_PLACES}",
        ParameterType.PEM,
        example="projects/my-project/secrets/mongodb-client/versions/latest",
        secret=True,
    ),
    _MONGODB(
        "mongodb_query",
        "MongoDB query",
        "Filter of the documents that are read, in extended JSON.",
        ParameterType.JSON,
        example='{"status": "active", "age": {"$gte": 18}}',
    ),
    _MONGODB(
        "mongodb_projection",
        "MongoDB projection",
        "Fields that are read, as a MongoDB projection in extended JSON.",
        ParameterType.JSON,
        example='{"name": 1, "email": 1, "status": 1}',
    ),
    _MONGODB(
        "mongodb_schema_sample_size",
        "MongoDB schema sample",
        "How many documents, chosen at random, tell the columns. Without it all that the run reads are looked at, or "
        "a sample where these are more than a million.",
        ParameterType.INTEGER,
        example="10000",
        minimum=1,
        maximum=100_000_000,
    ),
    _MONGODB(
        "mongodb_document_mode",
        "MongoDB document mode",
        "Load each document into one JSON column, document, beside _id, instead of a column for each field.",
        ParameterType.BOOLEAN,
        example="true",
        default="false",
    ),
    _BIGQUERY(
        "source_bigquery_project",
        "Source project",
        "Project of the table that is read. A query runs in it, is paid for by it, and finds there the tables that it "
        "names without a project.",
        ParameterType.PROJECT,
        example="source-data-project",
        required=(_when(data_source=BIGQUERY),),
    ),
    _BIGQUERY(
        "source_bigquery_dataset",
        "Source dataset",
        "Dataset of the table that is read.",
        ParameterType.DATASET,
        example="raw_data",
        required=(_when(data_source=BIGQUERY, unless="source_bigquery_query"),),
    ),
    _BIGQUERY(
        "source_bigquery_table",
        "Source table",
        "The table that is read.",
        ParameterType.TABLE,
        example="user_events",
        required=(_when(data_source=BIGQUERY, unless="source_bigquery_query"),),
    ),
    _BIGQUERY(
        "source_bigquery_query",
        "Source query",
        "GoogleSQL query whose rows are synced, in place of a table.",
        ParameterType.TEXT,
        example="SELECT * FROM `project.dataset.table` WHERE DATE(created_at) = CURRENT_DATE()",
    ),
    _BIGQUERY(
        "source_bigquery_read",
        "Read method",
        "Whether one query job moves the rows inside BigQuery (query), the workers read them through the Storage API "
        "(storage_api), or the query does it wherever it can (auto).",
        ParameterType.CHOICE,
        example=STORAGE_METHOD,
        default=AUTO_METHOD,
        choices=(AUTO_METHOD, STORAGE_METHOD, QUERY_METHOD),
    ),
    _BIGQUERY(
        "maximum_bytes_billed",
        "Maximum bytes billed",
        "BigQuery refuses a query over the source that would read more bytes than this. Without it nothing is refused.",
        ParameterType.INTEGER,
        example="1000000000000",
        minimum=1,
        maximum=10**15,
    ),
    Parameter(
        "transformation_config",
        "Transformation",
        "JSON object with any of field_mappings, include_fields, exclude_fields, type_overrides, constant_fields and "
        "hash_fields.",
        ParameterType.JSON,
        Group.ADDITIONAL,
        example='{"field_mappings": {"old_name": "new_name"}}',
    ),
    Parameter(
        "hash_key",
        "Key of the hashes",
        "Key of hash_fields: values are hashed by HMAC-SHA-256 with it, so that nobody without it can find them by "
        f"trying. {_VERSION_NAME}",
        ParameterType.TEXT,
        Group.ADDITIONAL,
        example="projects/my-project/secrets/sync-hash-key/versions/1",
        secret=True,
    ),
    Parameter(
        "primary_key",
        "Primary key",
        "Columns that tell rows apart, separated by commas. With them a row replaces its older version; without, every "
        "version is appended (documents of MongoDB are merged by _id when Smart Sync is on).",
        ParameterType.COLUMNS,
        Group.ADDITIONAL,
        example="id",
        # https://cloud.google.com/bigquery/docs/primary-foreign-keys
        maximum=16,
    ),
    Parameter(
        "schema_evolution",
        "Schema evolution",
        "When the source has changed: fail and name the statement that would help, add columns and widen types, or "
        "ignore new columns.",
        ParameterType.CHOICE,
        Group.ADDITIONAL,
        example="add",
        default="fail",
        choices=("fail", "add", "ignore"),
    ),
    Parameter(
        "dead_letter_table",
        "Dead letter table",
        "Table for rows with a value that does not fit its column, as project.dataset.table; without it the run fails.",
        ParameterType.TABLE_ID,
        Group.ADDITIONAL,
        example="my-analytics-project.production_data.organizations_dead_letters",
    ),
    Parameter(
        "dead_letter_expiration_days",
        "Expiration of dead letters",
        "Days after which rows in a dead letter table that we create are deleted. Without it they are kept.",
        ParameterType.INTEGER,
        Group.ADDITIONAL,
        example="30",
        minimum=1,
        maximum=10_000,
    ),
    Parameter(
        "staging_dataset",
        "Staging dataset",
        "Dataset of the destination's project, in the same location, in which rows that are merged, or have JSON, lie "
        "until they are published. Without it they lie beside the destination.",
        ParameterType.DATASET,
        Group.ADDITIONAL,
        example="staging",
    ),
    Parameter(
        "destination_kms_key",
        "Cloud KMS key of the tables",
        "Cloud KMS key that encrypts the tables we create: destination, staging and dead letters. Without it a staging "
        "table has the key of the destination, and a new table that of its dataset.",
        ParameterType.KMS_KEY,
        Group.ADDITIONAL,
        example="projects/my-project/locations/us/keyRings/analytics/cryptoKeys/tables",
    ),
    Parameter(
        "write_disposition",
        "Write disposition",
        "Whether the rows are added to the destination table or replace its rows.",
        ParameterType.CHOICE,
        Group.ADDITIONAL,
        example="WRITE_TRUNCATE",
        default="WRITE_APPEND",
        choices=("WRITE_APPEND", "WRITE_TRUNCATE"),
    ),
    Parameter(
        "create_disposition",
        "Create disposition",
        "Whether a missing destination table is created or ends the run.",
        ParameterType.CHOICE,
        Group.ADDITIONAL,
        example="CREATE_NEVER",
        default="CREATE_IF_NEEDED",
        choices=("CREATE_IF_NEEDED", "CREATE_NEVER"),
    ),
    Parameter(
        "batch_size",
        "Batch size",
        "Rows that are fetched and written together.",
        ParameterType.INTEGER,
        Group.ADDITIONAL,
        example="5000",
        default="1000",
        minimum=1,
        maximum=1_000_000,
    ),
    Parameter(
        "num_partitions",
        "Partitions",
        "How many parts the rows are read in, side by side, at most. Without it the source's size decides.",
        ParameterType.INTEGER,
        Group.ADDITIONAL,
        example="8",
        minimum=1,
        maximum=1000,
    ),
    Parameter(
        "partition_column",
        "Partition column",
        "Column by whose ranges the read is cut into parts: one with an index, whose values do not change. "
        "Without it a Smart Sync interval is cut by its timestamp column, and a query of one table by its primary key.",
        ParameterType.COLUMN,
        Group.ADDITIONAL,
        example="id",
        source=POSTGRESQL,
    ),
    Parameter(
        "max_retries",
        "Retries",
        "How often connecting to the source, and a job that BigQuery failed for the moment, is tried again.",
        ParameterType.INTEGER,
        Group.ADDITIONAL,
        example="5",
        default="3",
        minimum=0,
        maximum=20,
    ),
    Parameter(
        "dry_run",
        "Dry run",
        "Check the parameters, look at source and destination, print the plan and stop.",
        ParameterType.BOOLEAN,
        Group.ADDITIONAL,
        example="true",
        default="false",
    ),
)

BY_NAME: Mapping[str, Parameter] = MappingProxyType({parameter.name: parameter for parameter in PARAMETERS})
