"""The parameters of the PostgreSQL source."""

from __future__ import annotations

from functools import partial

from sync_pipeline.parameters.hosts import parse_host
from sync_pipeline.parameters.parameter import ALWAYS, Group, Parameter, ParameterType, when
from sync_pipeline.parameters.rows import PEM_PLACES, TABLE_LIST, TABLES_FILE, VERSION_NAME
from sync_pipeline.parameters.table_patterns import TableSyntax

TABLE_SYNTAX = TableSyntax(default_schema="public", folds_case=True)

PARAMETERS = (
    Parameter(
        "postgresql_host",
        "PostgreSQL host",
        "Address or name of the server, reachable from the workers.",
        ParameterType.HOST,
        example="db.example.com",
        required=(when("postgresql_instance"),),
        read=partial(
            parse_host,
            port="postgresql_port",
            has_sockets=True,
            several="another server may not have all rows yet",
        ),
    ),
    Parameter(
        "postgresql_instance",
        "Cloud SQL or AlloyDB instance",
        "Instance to use instead of postgresql_host, PROJECT:REGION:INSTANCE of Cloud SQL or "
        "projects/P/locations/L/clusters/C/instances/I of AlloyDB. The run looks up its address and, for Cloud SQL, "
        "verifies the certificate.",
        ParameterType.INSTANCE,
        example="my-project:us-central1:shop",
    ),
    Parameter(
        "postgresql_port",
        "PostgreSQL port",
        "Port of the server.",
        ParameterType.INTEGER,
        example="5432",
        default="5432",
        minimum=1,
        maximum=65535,
    ),
    Parameter(
        "postgresql_database",
        "PostgreSQL database",
        "Name of the database.",
        ParameterType.TEXT,
        example="user_management",
        required=(ALWAYS,),
    ),
    Parameter(
        "postgresql_username",
        "PostgreSQL user",
        "User name. The user needs only SELECT on the tables of the query.",
        ParameterType.TEXT,
        example="dataflow_user",
        required=(ALWAYS,),
    ),
    Parameter(
        "postgresql_password",
        "PostgreSQL password",
        f"Password of the user. {VERSION_NAME}",
        ParameterType.TEXT,
        example="projects/my-project/secrets/postgresql-password/versions/latest",
        secret=True,
        required=(when("postgresql_iam_login", "postgresql_sslcert"),),
    ),
    Parameter(
        "postgresql_iam_login",
        "IAM login",
        "Log in to Cloud SQL or AlloyDB as the job's service account instead of with a password. postgresql_username "
        "is its address.",
        ParameterType.BOOLEAN,
        example="true",
        default="false",
    ),
    Parameter(
        "postgresql_table",
        "PostgreSQL tables",
        f"Tables to sync, {TABLE_LIST} A name without a schema is in public. Write a name with capitals or spaces in "
        'double quotes, public."Order Items".',
        ParameterType.TABLES,
        example="public.*,!public.audit_*",
        read=TABLE_SYNTAX.parse,
        by_table=True,
    ),
    Parameter(
        "postgresql_query",
        "PostgreSQL query",
        "SELECT to sync instead of tables. With Smart Sync, postgresql_base_query takes precedence if given.",
        ParameterType.TEXT,
        example="SELECT * FROM organizations WHERE active = true",
        required=(
            when("postgresql_table", TABLES_FILE, enable_smart_sync="false"),
            when("postgresql_base_query", "postgresql_table", TABLES_FILE, enable_smart_sync="true"),
        ),
        by_table=True,
    ),
    Parameter(
        "postgresql_sslmode",
        "PostgreSQL TLS mode",
        "Encryption and verification of the server: libpq sslmode.",
        ParameterType.CHOICE,
        example="verify-full",
        default="prefer",
        choices=("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    ),
    Parameter(
        "postgresql_sslrootcert",
        "PostgreSQL root certificate",
        f"Certificate of the authority that signed the server's, as PEM. {PEM_PLACES}",
        ParameterType.PEM,
        example="gs://my-bucket/server-ca.pem",
        required=(when(postgresql_sslmode="verify-ca|verify-full"),),
    ),
    Parameter(
        "postgresql_sslcert",
        "PostgreSQL client certificate",
        f"Client certificate for the server, as PEM. {PEM_PLACES}",
        ParameterType.PEM,
        example="gs://my-bucket/client-cert.pem",
        required=(when(given="postgresql_sslkey"),),
    ),
    Parameter(
        "postgresql_sslkey",
        "PostgreSQL client key",
        f"Private key of postgresql_sslcert, as PEM without a passphrase. {PEM_PLACES}",
        ParameterType.PEM,
        example="projects/my-project/secrets/postgresql-client-key/versions/latest",
        secret=True,
        required=(when(given="postgresql_sslcert"),),
    ),
    Parameter(
        "postgresql_require_auth",
        "PostgreSQL authentication",
        "Required authentication method: scram-sha-256, which does not reveal the password to the server, or any.",
        ParameterType.CHOICE,
        example="scram-sha-256",
        default="any",
        choices=("any", "scram-sha-256"),
    ),
    Parameter(
        "postgresql_base_query",
        "PostgreSQL Smart Sync query",
        "SELECT to sync, with {start_timestamp} and {end_timestamp} as bounds of the interval.",
        ParameterType.TEXT,
        Group.SMART_SYNC,
        example="SELECT * FROM organizations "
        "WHERE updated_at > '{start_timestamp}' AND updated_at <= '{end_timestamp}' ORDER BY updated_at ASC",
        after="enable_smart_sync",
        required=(when("postgresql_query", "postgresql_table", TABLES_FILE, enable_smart_sync="true"),),
        by_table=True,
    ),
    Parameter(
        "source_table_for_schema",
        "Source table of the schema",
        "PostgreSQL table that provides comments and NOT NULL for the query's columns, as schema.table or table.",
        ParameterType.SOURCE_TABLE,
        Group.AUTO_SCHEMA,
        example="public.organizations",
        after="enable_auto_schema",
        by_table=True,
    ),
    Parameter(
        "partition_column",
        "Read split column",
        "Column whose ranges split the read: one with an index and values that do not change. By default a Smart Sync "
        "interval is split by its timestamp column, and a query of one table by its primary key.",
        ParameterType.COLUMN,
        Group.ADDITIONAL,
        example="id",
        after="num_partitions",
        by_table=True,
    ),
)
