from __future__ import annotations

from pathlib import Path

import pytest

from sync_pipeline.errors import ConfigError
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.parameters.identifiers import SourceTable
from sync_pipeline.parameters.run_config import RunConfig
from sync_pipeline.parameters.secrets import Secret
from sync_pipeline.sources.bigquery.config import BigquerySourceConfig
from sync_pipeline.sources.postgresql.config import PostgresqlConfig
from tests.parameter_sets import BIGQUERY, MONGODB, PASSWORD, POSTGRESQL, SMART_SYNC

TABLES = POSTGRESQL | {"postgresql_query": "", "postgresql_table": "public.*", "destination_bigquery_table": ""}


def problems(parameters: dict[str, str]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        RunConfig.from_parameters(parameters)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param(POSTGRESQL, id="query"),
        pytest.param(SMART_SYNC, id="Smart Sync query"),
        pytest.param(MONGODB, id="collection"),
        pytest.param(MONGODB | {"mongodb_collection": '"a*b"'}, id="quoted collection"),
        pytest.param(BIGQUERY, id="BigQuery table"),
        pytest.param(BIGQUERY | {"source_bigquery_table": "", "source_bigquery_query": "SELECT 1 AS x"}, id="BigQuery"),
    ],
)
def test_a_single_table_or_query(parameters: dict[str, str]) -> None:
    config = RunConfig.from_parameters(parameters)
    assert config.single == SyncConfig.from_parameters(parameters)
    assert config.selection is None
    assert config.source == config.single.source
    assert config.warnings == config.single.warnings


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param(TABLES, id="pattern"),
        pytest.param(TABLES | {"postgresql_table": "orders"}, id="table of PostgreSQL"),
        pytest.param(MONGODB | {"mongodb_collection": "users,orders"}, id="collections"),
        pytest.param(BIGQUERY | {"source_bigquery_table": "events_*"}, id="BigQuery tables"),
    ],
)
def test_tables_of_a_catalog(parameters: dict[str, str]) -> None:
    config = RunConfig.from_parameters(parameters)
    assert config.single is None
    assert config.selection is not None


def test_a_run_of_several_tables() -> None:
    config = RunConfig.from_parameters(TABLES | {"max_source_connections": "16", "max_retries": "5", "dry_run": "true"})
    assert config.data_source == "postgresql"
    assert config.source == PostgresqlConfig(
        host="db.example.com",
        port=5432,
        database="app",
        username="reader",
        password=Secret("postgresql_password", PASSWORD),
        query=None,
        base_query=None,
        sslmode="prefer",
        sslrootcert=None,
        partition_column=None,
    )
    assert (config.destination_project, config.destination_dataset) == ("my-project", "production")
    assert (config.max_source_connections, config.max_retries, config.dry_run) == (16, 5, True)
    assert config.warnings == ()


def test_a_server_names_no_table() -> None:
    assert RunConfig.from_parameters(TABLES | {"postgresql_table": "orders"}).source.table is None
    assert RunConfig.from_parameters(MONGODB | {"mongodb_collection": "users,a"}).source.collection == ""


def test_warnings_of_a_run_are_about_what_tables_have_in_common() -> None:
    given = TABLES | {
        "postgresql_password": "hunter3",
        "mongodb_host": "m",
        "fallback_days": "7",
        "hash_key": PASSWORD,
    }
    assert RunConfig.from_parameters(given).warnings == (
        "mongodb_host is ignored: data_source is postgresql",
        (
            "postgresql_password was given in plain text and is stored with the launch request; store it in Secret "
            "Manager and pass projects/PROJECT/secrets/SECRET/versions/VERSION"
        ),
        "hash_key is ignored: transformation_config has no hash_fields",
    )


def test_no_secret_is_shown() -> None:
    assert "hunter3" not in repr(RunConfig.from_parameters(TABLES | {"postgresql_password": "hunter3"}))


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        pytest.param(
            TABLES | {"postgresql_query": "SELECT 1 AS x"},
            "postgresql_table and postgresql_query are both given: omit one of them",
            id="table and query",
        ),
        pytest.param(
            TABLES | {"postgresql_table": "!public.audit_*"},
            "postgresql_table is '!public.audit_*': it only excludes; write what to sync in front, such as *",
            id="only exclusions",
        ),
        pytest.param(
            MONGODB | {"mongodb_collection": "a*", "destination_bigquery_table": "{schema}_{table}"},
            "destination_bigquery_table is '{schema}_{table}': tables of this source have no schema; use {table}",
            id="schema of collections",
        ),
        pytest.param(
            BIGQUERY
            | {"source_bigquery_project": "my-project", "source_bigquery_dataset": "production"}
            | {"source_bigquery_table": "a*", "destination_bigquery_table": ""},
            "source_bigquery_table is the destination table itself: name another",
            id="tables and their destinations",
        ),
        pytest.param(
            TABLES | {"enable_smart_sync": "true", "write_disposition": "WRITE_TRUNCATE"},
            "write_disposition is 'WRITE_TRUNCATE' and enable_smart_sync is true: each run would keep only the rows "
            "of its own interval; use WRITE_APPEND, or disable Smart Sync",
            id="contradiction whatever the table implies",
        ),
        pytest.param(
            TABLES | {"postgresql_host": ""},
            "postgresql_host is missing: it is required when data_source is postgresql (or postgresql_instance "
            "instead)",
            id="missing",
        ),
        pytest.param(
            TABLES | {"postgresql_table": "a-b"},
            "postgresql_table is 'a-b': write schema.table or table, with other names in double quotes: "
            'public."Order Items"',
            id="name that needs quotes",
        ),
        pytest.param(
            TABLES | {"max_source_connections": "101"},
            "max_source_connections is '101': write a whole number from 1 to 100",
            id="too many connections",
        ),
    ],
)
def test_problems(parameters: dict[str, str], problem: str) -> None:
    assert problems(parameters) == [problem]


def test_what_a_table_may_resolve_is_no_problem_before_it_is_known() -> None:
    # A merge by the table's own key makes both right.
    RunConfig.from_parameters(
        TABLES
        | {"enable_smart_sync": "true", "smart_sync_lookback_seconds": "60", "smart_sync_null_timestamps": "include"}
    )


def test_a_single_table_of_a_source_needs_no_destination_name() -> None:
    config = RunConfig.from_parameters(MONGODB | {"destination_bigquery_table": ""})
    assert config.single is not None
    assert config.single.destination.table == "users"


def test_postgresql_reads_the_chosen_table() -> None:
    config = SyncConfig.from_parameters(TABLES | {"postgresql_table": "sales.orders"})
    assert config.source.table == SourceTable("sales", "orders")


@pytest.mark.parametrize("in_file", [False, True], ids=["parameter", "default of the file"])
def test_the_names_of_copies_beside_their_tables(tmp_path: Path, *, in_file: bool) -> None:
    """A wildcard must not match what the run itself writes."""
    parameters = BIGQUERY | {
        "source_bigquery_project": BIGQUERY["destination_bigquery_project"],
        "source_bigquery_dataset": BIGQUERY["destination_bigquery_dataset"],
        "source_bigquery_table": "*",
    }
    del parameters["destination_bigquery_table"]
    if in_file:
        file = tmp_path / "tables.yaml"
        file.write_text("defaults:\n  destination_bigquery_table: copy_{table}\n")
        parameters |= {"tables_file": str(file)}
    else:
        parameters |= {"destination_bigquery_table": "copy_{table}"}
    source = RunConfig.from_parameters(parameters).source
    assert isinstance(source, BigquerySourceConfig)
    assert source.destinations == "copy_{table}"
