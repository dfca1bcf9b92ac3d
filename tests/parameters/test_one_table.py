from __future__ import annotations

import pytest

from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.parameters.identifiers import SourceTable
from tests.parameter_sets import BIGQUERY, MONGODB, POSTGRESQL, problems

TABLE = POSTGRESQL | {"postgresql_query": "", "postgresql_table": "sales.orders"}


@pytest.mark.parametrize(
    ("text", "table"),
    [
        pytest.param("sales.orders", SourceTable("sales", "orders"), id="with schema"),
        pytest.param("Orders", SourceTable("public", "orders"), id="without schema, folded"),
        pytest.param('"Sales"."Order, *"', SourceTable("Sales", "Order, *"), id="quoted"),
    ],
)
def test_a_table_of_postgresql(text: str, table: SourceTable) -> None:
    config = SyncConfig.from_parameters(TABLE | {"postgresql_table": text})
    assert config.source.table == table
    assert config.source.query is None


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        pytest.param(TABLE, "users", id="given"),
        pytest.param(TABLE | {"destination_bigquery_table": ""}, "orders", id="default"),
        pytest.param(TABLE | {"destination_bigquery_table": "{schema}_{table}_raw"}, "sales_orders_raw", id="fields"),
        pytest.param(MONGODB | {"destination_bigquery_table": ""}, "users", id="MongoDB"),
        pytest.param(BIGQUERY | {"destination_bigquery_table": "copy_of_{table}"}, "copy_of_events", id="BigQuery"),
    ],
)
def test_the_destination(parameters: dict[str, str], name: str) -> None:
    assert SyncConfig.from_parameters(parameters).destination.table == name


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        pytest.param(
            POSTGRESQL | {"destination_bigquery_table": "{table}"},
            "destination_bigquery_table is '{table}': a query has no table's name; write a name without braces",
            id="fields with a query",
        ),
        pytest.param(
            TABLE | {"destination_bigquery_table": "{tabel}"},
            "destination_bigquery_table is '{tabel}': {tabel} is unknown; {schema} and {table} stand for the names of "
            "the source's table; did you mean {table}?",
            id="unknown field",
        ),
        pytest.param(
            MONGODB | {"destination_bigquery_table": "{schema}_{table}"},
            "destination_bigquery_table is '{schema}_{table}': tables of this source have no schema; use {table}",
            id="schema of a collection",
        ),
        pytest.param(
            MONGODB | {"destination_bigquery_table": "", "mongodb_collection": "f" * 1025},
            f"destination_bigquery_table is '{'f' * 97}...': a table name has at most 1,024 bytes in UTF-8; name "
            f"another for {'f' * 1025}, with several tables in tables_file",
            id="no name for BigQuery",
        ),
        pytest.param(
            POSTGRESQL | {"destination_bigquery_table": ""},
            "destination_bigquery_table is missing: give, for example, --destination_bigquery_table=organizations",
            id="missing with a query",
        ),
        pytest.param(
            POSTGRESQL | {"destination_bigquery_table": "", "mongodb_collection": "users"},
            "destination_bigquery_table is missing: give, for example, --destination_bigquery_table=organizations",
            id="table of another source",
        ),
        pytest.param(
            POSTGRESQL | {"postgresql_table": "orders"},
            "postgresql_table and postgresql_query are both given: omit one of them",
            id="table and query",
        ),
        pytest.param(
            TABLE | {"postgresql_table": "public.*"}, "postgresql_table is 'public.*': name one table", id="several"
        ),
    ],
)
def test_problems(parameters: dict[str, str], problem: str) -> None:
    assert problems(parameters) == [problem]
