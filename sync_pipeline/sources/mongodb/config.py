"""The configuration of the MongoDB source."""

from __future__ import annotations

from dataclasses import dataclass

from sync_pipeline.parameters.parameter import ParameterValues
from sync_pipeline.parameters.secrets import Secret


@dataclass(frozen=True)
class MongodbConfig:
    """The collection to read. Either `connection_string` or `host` is set; if both are, the string takes precedence.

    `query` and `projection` are JSON objects. `sample_size` is the number of documents for schema inference, None means
    all. With `document_mode`, a row has the whole document in one column. `timestamp_field` is Smart Sync's field, or
    the path to it with dots; the column's name is derived from it.
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


def read_config(values: ParameterValues) -> MongodbConfig:
    """Return the configuration of the source from the values of all parameters."""
    collection = values["mongodb_collection"]
    return MongodbConfig(
        host=values["mongodb_host"],
        port=values["mongodb_port"],
        database=values["mongodb_database"],
        collection=collection.name if collection else "",
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
