from __future__ import annotations

import pytest
from google.cloud.bigquery import SchemaField

from sync_pipeline.bigquery_api.job_records import job_labels
from sync_pipeline.publishing.jobs import load_job_config

FIELDS = [
    SchemaField("id", "INT64", "REQUIRED", description="the key"),
    SchemaField("local", "DATETIME"),
    SchemaField("tags", "STRING", "REPEATED"),
]


@pytest.mark.parametrize("disposition", ["WRITE_APPEND", "WRITE_TRUNCATE_DATA"])
def test_load_job_config(disposition: str) -> None:
    config = load_job_config(FIELDS, disposition, job_labels("20250722T150000_0A1B2C3D", "postgresql"))
    assert config.to_api_repr() == {
        "load": {
            "sourceFormat": "PARQUET",
            "parquetOptions": {"enableListInference": True},
            "createDisposition": "CREATE_NEVER",
            "writeDisposition": disposition,
            "schema": {
                "fields": [
                    {"name": "id", "type": "INT64", "mode": "REQUIRED", "description": "the key"},
                    {"name": "local", "type": "DATETIME", "mode": "NULLABLE"},
                    {"name": "tags", "type": "STRING", "mode": "REPEATED"},
                ]
            },
        },
        "labels": {"sync_source": "postgresql", "sync_run": "20250722t150000_0a1b2c3d"},
    }
