from __future__ import annotations

from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.parameters.secrets import Secret
from sync_pipeline.sources.mongodb.config import MongodbConfig
from tests.parameter_sets import CONNECTION_STRING, MONGODB, PASSWORD


def test_parameters() -> None:
    given = MONGODB | {
        "mongodb_username": "reader",
        "mongodb_password": PASSWORD,
        "mongodb_query": '{"status": "active"}',
        "mongodb_projection": '{"name": 1}',
    }
    assert SyncConfig.from_parameters(given).source == MongodbConfig(
        host="mongo.example.com",
        port=27017,
        database="app",
        collection="users",
        username="reader",
        password=Secret("mongodb_password", PASSWORD),
        connection_string=None,
        query='{"status": "active"}',
        projection='{"name": 1}',
        timestamp_field="updated_at",
    )


def test_connection_string_beside_a_host() -> None:
    config = SyncConfig.from_parameters(MONGODB | {"mongodb_connection_string": CONNECTION_STRING})
    assert isinstance(config.source, MongodbConfig)
    assert (config.source.host, config.warnings) == ("mongo.example.com", ())


def test_connection_string_needs_no_host() -> None:
    given = {key: value for key, value in MONGODB.items() if key != "mongodb_host"}
    source = SyncConfig.from_parameters(given | {"mongodb_connection_string": CONNECTION_STRING}).source
    assert isinstance(source, MongodbConfig)
    assert source.host is None
    assert source.connection_string == Secret("mongodb_connection_string", CONNECTION_STRING)
