"""The configuration of the PostgreSQL source."""

from __future__ import annotations

from dataclasses import dataclass

from sync_pipeline.parameters.identifiers import SourceTable
from sync_pipeline.parameters.parameter import ParameterValues
from sync_pipeline.parameters.secrets import Secret


@dataclass(frozen=True)
class PostgresqlConfig:
    """The server, and a table or a query: `base_query` with Smart Sync if given, else `query`.

    Attributes:
        host: None if `instance` is set.
        sslmode: libpq's sslmode.
        sslrootcert, sslcert: locations of the certificates, for `Secret.resolve`.
        instance: the name of a Cloud SQL or AlloyDB instance.
        iam_login: whether a token of the job's service account is the password.
        require_auth: libpq's require_auth; None for any method.
        table: the table to read, with its schema; None for a query.
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
    table: SourceTable | None = None

    @property
    def server(self) -> str:
        """The host or the instance, for messages."""
        return self.instance or self.host or ""


def read_config(values: ParameterValues) -> PostgresqlConfig:
    """Return the configuration of the source from the values of all parameters."""
    table = values["postgresql_table"]
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
        table=SourceTable(table.schema, table.name) if table else None,
        require_auth=None if values["postgresql_require_auth"] == "any" else values["postgresql_require_auth"],
    )
