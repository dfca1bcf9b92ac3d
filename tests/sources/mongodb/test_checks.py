from __future__ import annotations

import pytest

from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.smart_sync.placeholder_columns import compared_columns, is_readable, mismatch
from sync_pipeline.sources.mongodb.checks import comparisons
from tests.parameter_sets import CONNECTION_STRING, MONGODB, NULLS_LEFT_OUT, PASSWORD, WITH_NULLS, problems


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        pytest.param(
            MONGODB | {"mongodb_host": ""},
            "mongodb_host is missing: it is required when data_source is mongodb (or mongodb_connection_string "
            "instead)",
            id="mongodb_host",
        ),
        pytest.param(
            MONGODB | {"mongodb_host": "", "mongodb_connection_string": CONNECTION_STRING, "mongodb_database": ""},
            "mongodb_database is missing: it is required when data_source is mongodb",
            id="database with a connection string",
        ),
        pytest.param(
            MONGODB | {"mongodb_collection": ""},
            "mongodb_collection is missing: it is required when data_source is mongodb (or tables_file instead)",
            id="mongodb_collection",
        ),
        pytest.param(
            MONGODB | {"mongodb_password": PASSWORD},
            "mongodb_username is missing: it is required when data_source is mongodb and mongodb_password is given",
            id="user of a password",
        ),
        pytest.param(
            MONGODB | {"mongodb_username": "reader"},
            "mongodb_password is missing: it is required when data_source is mongodb and mongodb_username is given",
            id="password of a user",
        ),
    ],
)
def test_missing(parameters: dict[str, str], problem: str) -> None:
    assert problems(parameters) == [problem]


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        pytest.param(
            MONGODB
            | WITH_NULLS
            | {"mongodb_query": '{"updated_at": {"$gt": "{start_timestamp}", "$lte": "{end_timestamp}"}}'},
            f"smart_sync_null_timestamps is 'include', but mongodb_query {NULLS_LEFT_OUT}",
            id="NULL timestamps with a MongoDB query that excludes them",
        ),
        pytest.param(
            MONGODB
            | {
                "mongodb_connection_string": CONNECTION_STRING,
                "mongodb_username": "reader",
                "mongodb_password": PASSWORD,
            },
            "mongodb_username and mongodb_password cannot be given with mongodb_connection_string, which includes them",
            id="connection string and user",
        ),
        pytest.param(
            MONGODB | {"mongodb_query": '{"updated_at": {"$gt": "{start_timestamp}"}}'},
            "mongodb_query contains {start_timestamp}, which only Smart Sync fills in: set enable_smart_sync=true, or "
            "use literal timestamps",
            id="placeholders without Smart Sync, MongoDB",
        ),
        pytest.param(
            MONGODB | {"enable_smart_sync": "true", "mongodb_query": '{"a": "{start_timestamp}"}'},
            "mongodb_query lacks {end_timestamp}: Smart Sync needs both bounds of the interval",
            id="one of two, MongoDB",
        ),
        pytest.param(
            MONGODB | {"enable_smart_sync": "true", "smart_sync_timestamp_column": "meta..updatedAt"},
            "smart_sync_timestamp_column is 'meta..updatedAt': give the name of a field, or a path such as "
            "meta.updatedAt, without empty names and names that begin with $",
            id="timestamp column that is no path, MongoDB",
        ),
        pytest.param(
            MONGODB
            | {
                "enable_smart_sync": "true",
                "smart_sync_null_timestamps": "include",
                "mongodb_query": '{"updated_at": {"$gt": "{start_timestamp}", "$lte": "{end_timestamp}"}}',
            },
            "smart_sync_null_timestamps is 'include', but mongodb_query has placeholders and selects the rows itself: "
            "select rows without a timestamp there and omit smart_sync_null_timestamps, or omit the placeholders",
            id="NULL timestamps and placeholders, MongoDB",
        ),
    ],
)
def test_contradiction(parameters: dict[str, str], problem: str) -> None:
    assert problems(parameters) == [problem]


@pytest.mark.parametrize(
    ("parameters", "warnings"),
    [
        pytest.param(
            MONGODB
            | {
                "enable_smart_sync": "true",
                "smart_sync_lookback_seconds": "60",
                "smart_sync_null_timestamps": "include",
            },
            (),
            id="documents are merged without primary_key",
        ),
        pytest.param(
            MONGODB | {"mongodb_document_mode": "true", "mongodb_schema_sample_size": "5"},
            ("mongodb_schema_sample_size is ignored: mongodb_document_mode is true",),
            id="sample of documents that nobody looks at",
        ),
    ],
)
def test_warnings(parameters: dict[str, str], warnings: tuple[str, ...]) -> None:
    assert SyncConfig.from_parameters(parameters).warnings == warnings


def test_malformed_parameter_is_not_missing() -> None:
    given = MONGODB | {"mongodb_host": "", "mongodb_connection_string": "projects/p/secrets/s"}
    assert [problem.split(" ")[0] for problem in problems(given)] == ["mongodb_connection_string"]


def test_fields_that_a_filter_compares() -> None:
    bounds = '{"$gt": {"$date": "{start_timestamp}"}, "$lte": {"$date": "{end_timestamp}"}}'
    assert mismatch(comparisons, f'{{"updated_at": {bounds}}}', "updated_at") is None
    assert (
        mismatch(comparisons, f'{{"$and": [{{"changed": {bounds}}}]}}', "updated_at")
        == "{start_timestamp} with changed"
    )
    compared = (
        '{"$expr": {"$and": [{"$gt": ["$%s", {"$date": "{start_timestamp}"}]}, {"$lte": ["$%s", "{end_timestamp}"]}]}}'
    )
    assert mismatch(comparisons, compared % ("m", "m"), "updated_at") == "{start_timestamp} with m"
    assert compared_columns(comparisons, compared % ("updated_at", "m"), "updated_at", "{start_timestamp}") == {
        "updated_at"
    }
    unclear = '{"$expr": {"$f": {"$date": "{start_timestamp}{end_timestamp}"}}}'
    assert mismatch(comparisons, unclear, "updated_at") is None
    assert not is_readable(comparisons, unclear, "updated_at")
