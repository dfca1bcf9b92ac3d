from __future__ import annotations

from datetime import UTC, datetime

from google.cloud import bigquery

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.auto_schema.table_options import NO_OPTIONS, TableOptions, encrypted

KEY = "projects/my-project/locations/us/keyRings/r/cryptoKeys/k"
OPTIONS = TableOptions(
    kms_key=KEY,
    description='all "orders"',
    friendly_name="Orders",
    labels=(("team", "sales"), ("tier", "1")),
    expires=datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC),
    partition_expiration_days=30,
    requires_partition_filter=True,
)


def test_what_the_api_says_of_a_table() -> None:
    table = bigquery.Table("p.d.t")
    assert TableOptions.of(table) == NO_OPTIONS
    table.encryption_configuration = bigquery.EncryptionConfiguration(KEY)
    table.description, table.friendly_name = 'all "orders"', "Orders"
    table.labels = {"tier": "1", "team": "sales"}
    table.expires = OPTIONS.expires
    table.time_partitioning = bigquery.TimePartitioning(field="day", expiration_ms=30 * 86_400_000)
    table.require_partition_filter = True
    assert TableOptions.of(table) == OPTIONS


def test_options_of_a_table_in_its_place() -> None:
    carried = {
        "kms_key_name": f'"{KEY}"',
        "description": '"all \\"orders\\""',
        "friendly_name": '"Orders"',
        "labels": '[("team", "sales"), ("tier", "1")]',
        "expiration_timestamp": 'TIMESTAMP "2030-01-02T03:04:05+00:00"',
    }
    partitioned = {"partition_expiration_days": "30", "require_partition_filter": "TRUE"}
    assert OPTIONS.sql(TableLayout("day")) == carried | partitioned
    assert OPTIONS.sql(TableLayout()) == carried
    assert NO_OPTIONS.sql(TableLayout("day")) == {}
    assert NO_OPTIONS.expiration_sql == "NULL"


def test_a_table_without_a_key_is_left_to_its_dataset() -> None:
    assert encrypted(bigquery.Table("p.d.t"), None).encryption_configuration is None
    assert encrypted(bigquery.Table("p.d.t"), KEY).encryption_configuration == bigquery.EncryptionConfiguration(KEY)
