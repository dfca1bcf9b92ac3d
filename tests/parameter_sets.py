"""Parameters of runs, a set for each source, and what is wrong with others."""

from __future__ import annotations

import pytest

from sync_pipeline.errors import ConfigError
from sync_pipeline.parameters.config import SyncConfig

DESTINATION = {
    "destination_bigquery_project": "my-project",
    "destination_bigquery_dataset": "production",
    "destination_bigquery_table": "users",
}
PASSWORD = "projects/p/secrets/s/versions/1"
POSTGRESQL = DESTINATION | {
    "data_source": "postgresql",
    "postgresql_host": "db.example.com",
    "postgresql_database": "app",
    "postgresql_username": "reader",
    "postgresql_password": PASSWORD,
    "postgresql_query": "SELECT * FROM users",
}
# A project of a domain, whose id a label of a job must change.
IN_DOMAIN = POSTGRESQL | {
    "destination_bigquery_project": "example.com:my-project",
    "destination_bigquery_dataset": "analytics",
    "destination_bigquery_table": "orders",
}
BASE_QUERY = "SELECT * FROM users WHERE updated_at > '{start_timestamp}' AND updated_at <= '{end_timestamp}'"
SMART_SYNC = {key: value for key, value in POSTGRESQL.items() if key != "postgresql_query"} | {
    "enable_smart_sync": "true",
    "postgresql_base_query": BASE_QUERY,
}
MONGODB = DESTINATION | {
    "data_source": "mongodb",
    "mongodb_host": "mongo.example.com",
    "mongodb_database": "app",
    "mongodb_collection": "users",
}
BIGQUERY = DESTINATION | {
    "data_source": "bigquery",
    "source_bigquery_project": "source-project",
    "source_bigquery_dataset": "raw",
    "source_bigquery_table": "events",
}
CONNECTION_STRING = "projects/p/secrets/uri/versions/2"
WITH_NULLS = {"enable_smart_sync": "true", "smart_sync_null_timestamps": "include", "primary_key": "id"}
NULLS_LEFT_OUT = (
    "has placeholders and selects the rows itself: select rows without a timestamp there and omit "
    "smart_sync_null_timestamps, or omit the placeholders"
)


def problems(parameters: dict[str, str]) -> list[str]:
    """Return what is refused about the parameters, which are refused."""
    with pytest.raises(ConfigError) as caught:
        SyncConfig.from_parameters(parameters)
    return list(caught.value.problems)
