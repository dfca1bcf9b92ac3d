from __future__ import annotations

from sync_pipeline.parameters.job_labels import dataflow_labels
from sync_pipeline.parameters.run_config import RunConfig


def config(dataset: str = "analytics", table: str = "orders", **parameters: str) -> RunConfig:
    return RunConfig.from_parameters(
        {
            "data_source": "postgresql",
            "postgresql_host": "h",
            "postgresql_database": "d",
            "postgresql_username": "u",
            "postgresql_password": "hunter2",
            "postgresql_query": "SELECT 1",
            "destination_bigquery_project": "example.com:my-project",
            "destination_bigquery_dataset": dataset,
            "destination_bigquery_table": table,
        }
        | parameters
    )


def test_labels_of_the_job() -> None:
    assert dataflow_labels(config(dataset="Analytics_EU", table="Größe und-mehr")) == {
        "data_source": "postgresql",
        "destination_project": "example_com_my-project",
        "destination_dataset": "analytics_eu",
        "destination_table": "gr__e_und-mehr",
    }


def test_labels_of_a_job_with_several_tables() -> None:
    tables = {"postgresql_query": "", "postgresql_table": "*", "destination_bigquery_table": ""}
    assert dataflow_labels(config(**tables)) == {
        "data_source": "postgresql",
        "destination_project": "example_com_my-project",
        "destination_dataset": "analytics",
    }


def test_long_labels_are_cut_and_stay_different() -> None:
    first, second = (dataflow_labels(config(table="t" * 63 + end))["destination_table"] for end in "ab")
    assert first.startswith("t" * 54 + "_")
    assert (len(first), len(second)) == (63, 63)
    assert first != second
