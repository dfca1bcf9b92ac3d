from __future__ import annotations

import pytest

from sync_pipeline.parameters.parameter import ALWAYS, Parameter, ParameterType, Requirement
from sync_pipeline.parameters.parsing import READERS, read_values
from sync_pipeline.parameters.table import BY_NAME, HEADINGS, PARAMETERS

# The published contract: these names and defaults are in other people's launch commands.
PUBLISHED = {
    "data_source": None,
    "destination_bigquery_project": None,
    "destination_bigquery_dataset": None,
    "destination_bigquery_table": None,
    "postgresql_host": None,
    "postgresql_port": "5432",
    "postgresql_database": None,
    "postgresql_username": None,
    "postgresql_password": None,
    "postgresql_query": None,
    "enable_smart_sync": "false",
    "postgresql_base_query": None,
    "smart_sync_timestamp_column": "updated_at",
    "sync_all_on_empty_table": "true",
    "fallback_days": "1",
    "enable_auto_schema": "false",
    "source_table_for_schema": None,
    "partition_field": "updated_at",
    "clustering_fields": None,
    "delete_existing_table": "false",
    "mongodb_host": None,
    "mongodb_port": "27017",
    "mongodb_database": None,
    "mongodb_collection": None,
    "mongodb_username": None,
    "mongodb_password": None,
    "mongodb_connection_string": None,
    "mongodb_query": None,
    "mongodb_projection": None,
    "source_bigquery_project": None,
    "source_bigquery_dataset": None,
    "source_bigquery_table": None,
    "source_bigquery_query": None,
    "transformation_config": None,
    "write_disposition": "WRITE_APPEND",
    "create_disposition": "CREATE_IF_NEEDED",
    "batch_size": "1000",
    "max_retries": "3",
}
ADDED = {
    "postgresql_table": None,
    "tables_file": None,
    "table_mode": "auto",
    "max_source_connections": "8",
    "postgresql_sslmode": "prefer",
    "postgresql_sslrootcert": None,
    "postgresql_instance": None,
    "postgresql_iam_login": "false",
    "postgresql_sslcert": None,
    "postgresql_sslkey": None,
    "postgresql_require_auth": "any",
    "mongodb_tls": "false",
    "mongodb_tls_ca": None,
    "mongodb_tls_certificate_key": None,
    "partition_granularity": "DAY",
    "smart_sync_lookback_seconds": "0",
    "smart_sync_settle_seconds": "1",
    "smart_sync_max_hold_seconds": "3600",
    "smart_sync_max_interval_hours": None,
    "smart_sync_null_timestamps": "exclude",
    "smart_sync_time_zone": None,
    "interval_start": None,
    "interval_end": None,
    "hash_key": None,
    "primary_key": None,
    "deletes": "keep",
    "max_deleted_percent": "10",
    "reconcile": "off",
    "schema_evolution": "fail",
    "dead_letter_table": None,
    "mongodb_schema_sample_size": None,
    "mongodb_document_mode": "false",
    "num_partitions": None,
    "source_bigquery_read": "auto",
    "maximum_bytes_billed": None,
    "partition_column": None,
    "destination_kms_key": None,
    "dead_letter_expiration_days": None,
    "staging_dataset": None,
    "dry_run": "false",
}


def test_the_contract_has_38_parameters() -> None:
    assert len(PUBLISHED) == 38


@pytest.mark.parametrize(("name", "default"), [*PUBLISHED.items(), *ADDED.items()])
def test_parameter_and_its_default(name: str, default: str | None) -> None:
    assert BY_NAME[name].default == default


def test_every_parameter_is_published_or_added() -> None:
    assert BY_NAME.keys() == PUBLISHED.keys() | ADDED.keys()


def test_no_name_is_declared_twice() -> None:
    names = [parameter.name for parameter in PARAMETERS]
    assert len(names) == len(set(names))


def test_what_has_been_added_is_optional() -> None:
    assert not [name for name in BY_NAME.keys() - PUBLISHED.keys() if ALWAYS in BY_NAME[name].required]


def test_always_required() -> None:
    assert [parameter.name for parameter in PARAMETERS if ALWAYS in parameter.required] == [
        "data_source",
        "destination_bigquery_project",
        "destination_bigquery_dataset",
    ]


def test_secrets() -> None:
    assert {parameter.name for parameter in PARAMETERS if parameter.secret} == {
        "postgresql_password",
        "postgresql_sslkey",
        "mongodb_password",
        "mongodb_connection_string",
        "hash_key",
        "mongodb_tls_certificate_key",
    }


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: parameter.name)
def test_example_and_default_are_valid(parameter: Parameter) -> None:
    values, problems = read_values({parameter.name: parameter.example})
    assert problems == []
    assert not values.malformed


def test_data_sources() -> None:
    assert BY_NAME["data_source"].choices == ("postgresql", "mongodb", "bigquery")


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: parameter.name)
def test_row_is_complete(parameter: Parameter) -> None:
    assert parameter.label
    assert parameter.help.endswith(".")
    assert bool(parameter.choices) == (parameter.type is ParameterType.CHOICE)
    has_range = parameter.type in (ParameterType.INTEGER, ParameterType.COLUMNS)
    assert (parameter.maximum > parameter.minimum) == has_range
    named = {name for requirement in parameter.required for name, _ in requirement.when}
    named |= {name for requirement in parameter.required for name in (*requirement.given, *requirement.unless)}
    assert named <= BY_NAME.keys() - {parameter.name}


def test_every_type_has_a_reader_and_every_group_a_parameter() -> None:
    assert READERS.keys() == set(ParameterType)
    assert {parameter.group for parameter in PARAMETERS} == set(HEADINGS)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("data_source", "Yes", id="always"),
        pytest.param("max_retries", "No", id="never"),
        pytest.param(
            "postgresql_query",
            "when data_source is postgresql and enable_smart_sync is false, unless postgresql_table or tables_file is "
            "given; or when data_source is postgresql and enable_smart_sync is true, unless postgresql_base_query or "
            "postgresql_table or tables_file is given",
            id="two cases",
        ),
        pytest.param(
            "postgresql_sslrootcert",
            "when data_source is postgresql and postgresql_sslmode is verify-ca or verify-full",
            id="two values",
        ),
        pytest.param(
            "mongodb_username", "when data_source is mongodb and mongodb_password is given", id="another is given"
        ),
    ],
)
def test_required_text(name: str, text: str) -> None:
    assert BY_NAME[name].required_text == text


def test_requirement_without_conditions_has_no_text() -> None:
    assert str(Requirement()) == ""
