"""A table in the place of another has its options, and the tables of a run lie where they should."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from google.cloud import bigquery

from tests.integration.syncing import Syncing

ITEMS = "CREATE TABLE items (id int PRIMARY KEY, name text, updated_at timestamptz)"
KEY = "projects/my-project/locations/us/keyRings/r/cryptoKeys/k"
EXPIRES = datetime(2099, 1, 1, tzinfo=UTC)


@pytest.fixture
def created(monkeypatch: pytest.MonkeyPatch) -> list[bigquery.Table]:
    """The tables that runs create by the API."""
    tables: list[bigquery.Table] = []
    create = bigquery.Client.create_table

    def record(client: bigquery.Client, table: bigquery.Table, *arguments: Any, **options: Any) -> bigquery.Table:
        tables.append(table)
        return create(client, table, *arguments, **options)

    monkeypatch.setattr(bigquery.Client, "create_table", record)
    return tables


@pytest.fixture
def private(syncing: Syncing) -> Iterator[str]:
    name = f"{syncing.dataset}_private"
    syncing.client.create_dataset(name)
    yield name
    syncing.client.delete_dataset(name, delete_contents=True)


@pytest.mark.parametrize("granularity", ["DAY", "MONTH"], ids=["the same layout", "another layout"])
def test_a_table_in_its_place_has_its_options(syncing: Syncing, granularity: str) -> None:
    syncing.execute(ITEMS)
    syncing.execute("INSERT INTO items VALUES (1, 'a', '2024-01-01Z')")
    parameters = {"enable_auto_schema": "true", "primary_key": "id"}
    syncing.run(**parameters).succeeded()
    table = syncing.table()
    table.description, table.labels, table.expires = "all items", {"team": "sales"}, EXPIRES
    table.require_partition_filter = True
    syncing.client.update_table(table, ["description", "labels", "expires", "require_partition_filter"])
    syncing.execute("INSERT INTO items VALUES (2, 'b', '2024-01-02Z')")
    run = syncing.run(**parameters, delete_existing_table="true", partition_granularity=granularity).succeeded()
    assert run.rows_loaded == 2
    replaced = syncing.table()
    assert (replaced.description, replaced.labels, replaced.expires) == ("all items", {"team": "sales"}, EXPIRES)
    assert replaced.require_partition_filter
    assert replaced.time_partitioning.type_ == granularity
    assert replaced.table_constraints.primary_key.columns == ["id"]
    assert any("expires: BigQuery deletes it at 2099-01-01" in risk for risk in run.risks)
    assert syncing.tables() == ["items"]


def test_rows_are_staged_where_they_should_be(syncing: Syncing, private: str, created: list[bigquery.Table]) -> None:
    syncing.execute(ITEMS)
    syncing.execute("INSERT INTO items VALUES (1, 'a', '2024-01-01Z')")
    parameters = {"primary_key": "id", "staging_dataset": private, "destination_kms_key": KEY}
    assert syncing.smart(**parameters).succeeded().rows_loaded == 1
    assert [table.dataset_id for table in created] == [syncing.dataset, private]
    assert {table.encryption_configuration.kms_key_name for table in created} == {KEY}
    assert [*syncing.client.list_tables(private)] == []
    syncing.run(staging_dataset="nobody_has_this").refused("staging_dataset: the dataset", "does not exist")


def test_a_staging_dataset_elsewhere_is_refused(syncing: Syncing) -> None:
    elsewhere = bigquery.Dataset(f"{syncing.endpoints.project}.{syncing.dataset}_eu")
    elsewhere.location = "EU"
    syncing.client.create_dataset(elsewhere)
    try:
        syncing.execute(ITEMS)
        message = syncing.run(staging_dataset=elsewhere.dataset_id).refused("is in EU, and the destination in US")
        assert "staging_dataset" in message
    finally:
        syncing.client.delete_dataset(elsewhere)


def test_keys_with_a_collation_are_refused(syncing: Syncing) -> None:
    syncing.execute("CREATE TABLE items (code text, at timestamptz); INSERT INTO items VALUES ('a', '2024-01-01Z')")
    key = {"primary_key": "code"}
    # The client has no attributes for a collation.
    column = bigquery.SchemaField.from_api_repr({"name": "code", "type": "STRING", "collation": "und:ci"})
    table = bigquery.Table(syncing.table_id("items"), [column, bigquery.SchemaField("at", "TIMESTAMP")])
    syncing.client.create_table(table)
    syncing.run(**key).refused("primary_key: code of", "has a collation")
    syncing.client.delete_table(table)
    dataset = syncing.client.get_dataset(syncing.dataset)
    dataset._properties["defaultCollation"] = "und:ci"
    syncing.client.update_dataset(dataset, ["defaultCollation"])
    syncing.run(**key).refused("get its default collation", "SET DEFAULT COLLATE ''")


def test_dead_letters_expire(syncing: Syncing, created: list[bigquery.Table]) -> None:
    syncing.execute("CREATE TABLE items (id int, at timestamptz)")
    syncing.execute("INSERT INTO items VALUES (1, '2024-01-01Z'), (2, 'infinity')")
    letters = syncing.table_id("letters")
    parameters = {"dead_letter_table": letters, "dead_letter_expiration_days": "30", "destination_kms_key": KEY}
    run = syncing.run(**parameters).succeeded()
    assert run.report["dead_letters"] == "1"
    [table] = [table for table in created if table.table_id == "letters"]
    assert table.time_partitioning.expiration_ms == 30 * 86_400_000
    assert table.encryption_configuration.kms_key_name == KEY


def test_the_destination_with_policy_tags_is_not_replaced(syncing: Syncing, monkeypatch: pytest.MonkeyPatch) -> None:
    syncing.execute(ITEMS)
    tagged = bigquery.SchemaField("name", "STRING", policy_tags=bigquery.PolicyTagList(["projects/p/taxonomies/1"]))
    existing = bigquery.Table(syncing.table_id(), schema=[bigquery.SchemaField("id", "INT64"), tagged])
    existing._properties |= {"type": "TABLE"}
    monkeypatch.setattr(bigquery.Client, "get_table", lambda *_, **__: existing)
    syncing.run(delete_existing_table="true").refused("delete_existing_table: name have policy tags", "WRITE_TRUNCATE")
