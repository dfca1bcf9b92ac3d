from __future__ import annotations

from sandbox import demo_bigquery
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.sources.bigquery.config import BigquerySourceConfig

MERGED = {
    "data_source": "postgresql",
    "postgresql_host": "127.0.0.1",
    "primary_key": "id",
    "destination_bigquery_project": "sandbox-project",
    "destination_bigquery_dataset": "demo",
    "destination_bigquery_table": "orders_now",
    "temp_location": "gs://bucket/staging",
}


def test_the_copy_reads_what_the_merge_has_written() -> None:
    parameters = demo_bigquery.copy_parameters(MERGED)
    assert parameters.pop("temp_location") == "gs://bucket/staging"
    config = SyncConfig.from_parameters(parameters)
    assert config.source == BigquerySourceConfig(
        "sandbox-project", "demo", "orders_now", None, "auto", None, "sandbox-project"
    )
    assert config.destination.table_id == "sandbox-project.demo.orders_copy"
    assert config.transformation.hash_fields == ("customer",)
    assert [warning.partition(" ")[0] for warning in config.warnings] == ["hash_fields"]
