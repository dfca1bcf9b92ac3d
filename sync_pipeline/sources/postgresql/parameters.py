"""The parameters of a run that reads PostgreSQL."""

from __future__ import annotations

from functools import partial

from sync_pipeline.parameters.hosts import parse_host
from sync_pipeline.parameters.parameter import ALWAYS, Group, Parameter, ParameterType, when
from sync_pipeline.parameters.rows import PARTITION_COLUMN, PEM_PLACES, SOURCE_TABLE_FOR_SCHEMA, VERSION_NAME

PARAMETERS = (
    Parameter(
        "postgresql_host",
        "PostgreSQL host",
        "Address or name of the server, as the workers reach it.",
        ParameterType.HOST,
        example="db.example.com",
        required=(when("postgresql_instance"),),
        read=partial(
            parse_host,
            port="postgresql_port",
            has_sockets=True,
            several="rows that one server shows, another may not have yet",
        ),
    ),
    Parameter(
        "postgresql_instance",
        "Cloud SQL or AlloyDB instance",
        "Instance in place of postgresql_host, PROJECT:REGION:INSTANCE of Cloud SQL or "
        "projects/P/locations/L/clusters/C/instances/I of AlloyDB: its address is looked up, and Cloud SQL's "
        "certificate is verified.",
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
        "The user who reads; SELECT on the tables of the query is enough.",
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
        "Log in to Cloud SQL or AlloyDB as the job's service account, in place of a password; postgresql_username is "
        "its address.",
        ParameterType.BOOLEAN,
        example="true",
        default="false",
    ),
    Parameter(
        "postgresql_query",
        "PostgreSQL query",
        "The SELECT whose rows are synced. With Smart Sync, postgresql_base_query is used instead when it is given.",
        ParameterType.TEXT,
        example="SELECT * FROM organizations WHERE active = true",
        required=(
            when(enable_smart_sync="false"),
            when("postgresql_base_query", enable_smart_sync="true"),
        ),
    ),
    Parameter(
        "postgresql_sslmode",
        "PostgreSQL TLS mode",
        "How the connection is encrypted and the server verified, in the words of libpq.",
        ParameterType.CHOICE,
        example="verify-full",
        default="prefer",
        choices=("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    ),
    Parameter(
        "postgresql_sslrootcert",
        "PostgreSQL root certificate",
        f"Certificate of the authority that signed the server's, in PEM form. {PEM_PLACES}",
        ParameterType.PEM,
        example="gs://my-bucket/server-ca.pem",
        required=(when(postgresql_sslmode="verify-ca|verify-full"),),
    ),
    Parameter(
        "postgresql_sslcert",
        "PostgreSQL client certificate",
        f"Certificate that this client shows to the server, in PEM form. {PEM_PLACES}",
        ParameterType.PEM,
        example="gs://my-bucket/client-cert.pem",
        required=(when(given="postgresql_sslkey"),),
    ),
    Parameter(
        "postgresql_sslkey",
        "PostgreSQL client key",
        f"Private key of postgresql_sslcert, in PEM form and without a passphrase. {PEM_PLACES}",
        ParameterType.PEM,
        example="projects/my-project/secrets/postgresql-client-key/versions/latest",
        secret=True,
        required=(when(given="postgresql_sslcert"),),
    ),
    Parameter(
        "postgresql_require_auth",
        "PostgreSQL authentication",
        "How the server must ask for the password: by scram-sha-256, which does not show it to the server, or any way.",
        ParameterType.CHOICE,
        example="scram-sha-256",
        default="any",
        choices=("any", "scram-sha-256"),
    ),
    Parameter(
        "postgresql_base_query",
        "PostgreSQL query of Smart Sync",
        "The SELECT whose rows are synced, with {start_timestamp} and {end_timestamp} for the interval's bounds.",
        ParameterType.TEXT,
        Group.SMART_SYNC,
        example="SELECT * FROM organizations "
        "WHERE updated_at > '{start_timestamp}' AND updated_at <= '{end_timestamp}' ORDER BY updated_at ASC",
        after="enable_smart_sync",
        required=(when("postgresql_query", enable_smart_sync="true"),),
    ),
    SOURCE_TABLE_FOR_SCHEMA,
    PARTITION_COLUMN,
)
