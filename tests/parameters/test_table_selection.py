from __future__ import annotations

from datetime import timedelta

import pytest

from sync_pipeline.errors import ConfigError
from sync_pipeline.parameters.identifiers import SourceTable
from sync_pipeline.parameters.run_config import RunConfig
from sync_pipeline.parameters.source_tables import CatalogTable, TableName
from sync_pipeline.parameters.table_selection import TableSelection
from tests.parameter_sets import MONGODB, POSTGRESQL

TABLES = POSTGRESQL | {"postgresql_query": "", "postgresql_table": "*", "destination_bigquery_table": ""}
CATALOG = (
    CatalogTable(TableName("public", "Order Items"), "table"),
    CatalogTable(TableName("public", "audit_1"), "table"),
    CatalogTable(TableName("public", "orders"), "table", key=("id",)),
    CatalogTable(TableName("public", "orders_2024"), "table", left_out="it is a partition of public.orders"),
    CatalogTable(TableName("sales", "orders"), "table"),
)


def selection(text: str, **parameters: str) -> TableSelection:
    chosen = RunConfig.from_parameters(TABLES | {"postgresql_table": text} | parameters).selection
    assert chosen is not None
    return chosen


def names(text: str, **parameters: str) -> list[str]:
    return [one.name for one in selection(text, **parameters).choose(CATALOG).tables]


def problems(text: str, **parameters: str) -> list[str]:
    """Return what is wrong, whether something is left to sync or not."""
    try:
        failed = selection(text, **parameters).choose(CATALOG).failed
    except ConfigError as error:
        return list(error.problems)
    return [problem for error in failed.values() for problem in error.problems]


def test_a_name_without_a_table_does_not_stop_the_others() -> None:
    choice = selection("orders,customers,x_*").choose(CATALOG)
    assert [one.name for one in choice.tables] == ["public.orders"]
    assert list(choice.failed) == ["customers", "x_*"]


def test_tables_with_one_destination_are_left_out() -> None:
    choice = selection("*.orders,audit_1").choose(CATALOG)
    assert [one.name for one in choice.tables] == ["public.audit_1"]
    assert list(choice.failed) == ["public.orders", "sales.orders"]


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        pytest.param("sales.orders", ["sales.orders"], id="name"),
        pytest.param("*", ['public."Order Items"', "public.audit_1", "public.orders"], id="schema"),
        pytest.param("*,!audit_*,orders", ['public."Order Items"', "public.orders"], id="exclusion"),
        pytest.param(
            "orders_*,orders_2024,orders", ["public.orders", "public.orders_2024"], id="named though left out"
        ),
    ],
)
def test_chosen(text: str, chosen: list[str]) -> None:
    assert names(text, destination_bigquery_table="{schema}_{table}") == chosen


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param(
            "ordrs,orders",
            "postgresql_table names ordrs, which does not exist; did you mean public.orders?",
            id="name that does not exist",
        ),
        pytest.param(
            '"order items"',
            'postgresql_table names "order items", which does not exist; did you mean public."Order Items"?',
            id="capitals",
        ),
        pytest.param(
            "orders,a_*", "postgresql_table has a_*, which matches no table", id="pattern that matches nothing"
        ),
        pytest.param(
            "orders,a_*,!b",
            "postgresql_table has a_*, which matches no table, or only excluded ones",
            id="pattern beside an exclusion",
        ),
        pytest.param(
            "orders_*",
            "postgresql_table has orders_*, which matches no table that a wildcard chooses: public.orders_2024: it is "
            "a partition of public.orders",
            id="only tables that are left out",
        ),
        pytest.param("orders,!*", "postgresql_table: every table that it names is excluded, too", id="nothing left"),
        pytest.param(
            "*.orders",
            "public.orders, sales.orders have one destination table, orders: give "
            "destination_bigquery_table={schema}_{table}, or a name for each in tables_file",
            id="one destination",
        ),
    ],
)
def test_problems(text: str, problem: str) -> None:
    assert problems(text) == [problem]


def test_dead_letters_in_the_destination_of_another_table() -> None:
    given = {"dead_letter_table": "my-project.production.orders"}
    assert problems("orders,audit_1", **given) == [
        "public.audit_1: dead_letter_table is the destination table of public.orders: name another"
    ]
    assert names("audit_1", **given) == ["public.audit_1"]


def test_destinations_of_names_that_bigquery_refuses() -> None:
    """Underscores replace characters; what still is no name, or no longer unique, is reported together."""
    long = "l" * 1025
    chosen = RunConfig.from_parameters(
        MONGODB | {"mongodb_collection": "*", "destination_bigquery_table": ""}
    ).selection
    assert chosen is not None
    collections = [CatalogTable(TableName("", name), "collection") for name in ("a.b", "ok", "c$d", "a_b", long)]
    kept = chosen.choose(collections[:3]).tables
    assert [one.config({}).destination.table for one in kept] == ["a_b", "ok", "c_d"]
    failed = chosen.choose(collections).failed
    assert list(failed) == [long, "a.b", "a_b"]
    [too_long], [same] = failed[long].problems, failed["a_b"].problems
    assert too_long.startswith(f"{long}: destination_bigquery_table is ")
    assert same.startswith("a.b, a_b have one destination table, a_b: ")


@pytest.mark.parametrize(
    ("name", "needed", "matches"),
    [
        pytest.param(TableName("public", "orders"), True, True, id="named"),
        pytest.param(TableName("public", "order"), True, False, id="similar"),
        pytest.param(TableName("sales", "x"), True, True, id="pattern"),
        pytest.param(TableName("sales", "x_old"), False, False, id="excluded"),
        pytest.param(TableName("hr", "people"), False, False, id="other"),
    ],
)
def test_may_choose(name: TableName, needed: bool, matches: bool) -> None:
    tables = selection("orders,sales.*,!sales.*_old")
    assert (tables.may_choose(name), tables.matches(name)) == (needed, matches)


def test_the_configuration_of_a_table() -> None:
    (one,) = selection("orders", batch_size="500", fallback_days="1").choose(CATALOG).tables
    assert one.table == CATALOG[2]
    assert "batch_size" in one.given
    assert "fallback_days" not in one.given
    config = one.config({})
    assert config.source.table == SourceTable("public", "orders")
    assert config.source.host == "db.example.com"
    assert config.destination.table_id == "my-project.production.orders"
    assert config.batch_size == 500


def test_implied_values_fill_only_what_nobody_gave() -> None:
    (one,) = selection("orders", primary_key="order_id", smart_sync_lookback_seconds="60").choose(CATALOG).tables
    config = one.config({"primary_key": ("id",), "enable_smart_sync": True, "smart_sync_timestamp_column": "changed"})
    assert config.primary_key == ("order_id",)
    assert config.smart_sync is not None
    assert config.smart_sync.timestamp_column == "changed"
    assert config.smart_sync.lookback == timedelta(seconds=60)
    assert config.warnings == ()


def test_an_implied_key_has_the_names_of_the_source() -> None:
    (one,) = selection("orders").choose(CATALOG).tables
    assert one.config({"primary_key": ("Order Id", "a,b")}).primary_key == ("Order Id", "a,b")


def test_problems_of_a_table_begin_with_its_name() -> None:
    (one,) = selection("orders", smart_sync_null_timestamps="include").choose(CATALOG).tables
    with pytest.raises(ConfigError, match="orders: smart_sync_null_timestamps is 'include', and without"):
        one.config({"enable_smart_sync": True})
