from __future__ import annotations

from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.parameters.secrets import Secret
from sync_pipeline.sources.postgresql.config import PostgresqlConfig
from tests.parameter_sets import PASSWORD, POSTGRESQL


def test_defaults() -> None:
    assert SyncConfig.from_parameters(POSTGRESQL).source == PostgresqlConfig(
        host="db.example.com",
        port=5432,
        database="app",
        username="reader",
        password=Secret("postgresql_password", PASSWORD),
        query="SELECT * FROM users",
        base_query=None,
        sslmode="prefer",
        sslrootcert=None,
        partition_column=None,
    )
