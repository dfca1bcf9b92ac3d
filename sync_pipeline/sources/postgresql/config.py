"""What a run that reads PostgreSQL was asked to do."""

from __future__ import annotations

from dataclasses import dataclass

from sync_pipeline.parameters.parameter import ParameterValues
from sync_pipeline.parameters.secrets import Secret


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


def read_config(values: ParameterValues) -> PostgresqlConfig:
    """Return the configuration of the source from the values of all parameters."""
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
