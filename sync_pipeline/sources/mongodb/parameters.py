"""The parameters of the MongoDB source."""

from __future__ import annotations

from functools import partial

from sync_pipeline.parameters.hosts import parse_host
from sync_pipeline.parameters.parameter import ALWAYS, Parameter, ParameterType, when
from sync_pipeline.parameters.rows import PEM_PLACES, TABLE_LIST, TABLES_FILE, VERSION_NAME
from sync_pipeline.parameters.table_patterns import TableSyntax

COLLECTION_SYNTAX = TableSyntax()

PARAMETERS = (
    Parameter(
        "mongodb_host",
        "MongoDB host",
        "Address or name of the server, reachable from the workers.",
        ParameterType.HOST,
        example="mongodb.example.com",
        required=(when("mongodb_connection_string"),),
        read=partial(
            parse_host,
            port="mongodb_port",
            has_sockets=False,
            several="give the members of a replica set in mongodb_connection_string",
        ),
    ),
    Parameter(
        "mongodb_port",
        "MongoDB port",
        "Port of the server.",
        ParameterType.INTEGER,
        example="27017",
        default="27017",
        minimum=1,
        maximum=65535,
    ),
    Parameter(
        "mongodb_database",
        "MongoDB database",
        "Name of the database.",
        ParameterType.TEXT,
        example="user_data",
        required=(ALWAYS,),
    ),
    Parameter(
        "mongodb_collection",
        "MongoDB collection",
        f"Collections to sync, {TABLE_LIST} Names with a comma, * or ? are written in double quotes.",
        ParameterType.TABLES,
        example="users",
        required=(when(TABLES_FILE),),
        read=COLLECTION_SYNTAX.parse,
        by_table=True,
    ),
    Parameter(
        "mongodb_username",
        "MongoDB user",
        "User name; empty for a server without authentication.",
        ParameterType.TEXT,
        example="dataflow_user",
        required=(when(given="mongodb_password"),),
    ),
    Parameter(
        "mongodb_password",
        "MongoDB password",
        f"Password of the user. {VERSION_NAME}",
        ParameterType.TEXT,
        example="projects/my-project/secrets/mongodb-password/versions/latest",
        secret=True,
        required=(when(given="mongodb_username"),),
    ),
    Parameter(
        "mongodb_connection_string",
        "MongoDB connection string",
        f"Servers, user, password and options as one URI; takes precedence over mongodb_host. {VERSION_NAME}",
        ParameterType.TEXT,
        example="projects/my-project/secrets/mongodb-uri/versions/latest",
        secret=True,
    ),
    Parameter(
        "mongodb_tls",
        "MongoDB TLS",
        "Encrypt the connection and verify the server's certificate and name. A connection string may set this itself.",
        ParameterType.BOOLEAN,
        example="true",
        default="false",
    ),
    Parameter(
        "mongodb_tls_ca",
        "MongoDB root certificate",
        "Certificate of the authority that signed the server's, as PEM, if the workers do not trust it already; "
        f"enables TLS. {PEM_PLACES}",
        ParameterType.PEM,
        example="gs://my-bucket/mongodb-ca.pem",
    ),
    Parameter(
        "mongodb_tls_certificate_key",
        "MongoDB client certificate",
        "Client certificate and its private key, both in one PEM text without a passphrase; enables TLS. Without a "
        f"user it is the login (MONGODB-X509). {PEM_PLACES}",
        ParameterType.PEM,
        example="projects/my-project/secrets/mongodb-client/versions/latest",
        secret=True,
    ),
    Parameter(
        "mongodb_query",
        "MongoDB query",
        "Filter for the documents to read, in Extended JSON.",
        ParameterType.JSON,
        example='{"status": "active", "age": {"$gte": 18}}',
        by_table=True,
    ),
    Parameter(
        "mongodb_projection",
        "MongoDB projection",
        "Fields to read, as a MongoDB projection in Extended JSON.",
        ParameterType.JSON,
        example='{"name": 1, "email": 1, "status": 1}',
        by_table=True,
    ),
    Parameter(
        "mongodb_schema_sample_size",
        "MongoDB schema sample",
        "Random documents to sample for schema inference. Default: all documents of the run, or a sample if these are "
        "more than a million.",
        ParameterType.INTEGER,
        example="10000",
        minimum=1,
        maximum=100_000_000,
        by_table=True,
    ),
    Parameter(
        "mongodb_document_mode",
        "MongoDB document mode",
        "Load each document into one JSON column, document, next to _id, instead of one column per field.",
        ParameterType.BOOLEAN,
        example="true",
        default="false",
        by_table=True,
    ),
)
