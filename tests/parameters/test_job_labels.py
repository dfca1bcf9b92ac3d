from __future__ import annotations

from sync_pipeline.parameters.job_labels import dataflow_labels
from sync_pipeline.parameters.run_config import RunConfig
from tests.parameter_sets import IN_DOMAIN


def labels(**parameters: str) -> dict[str, str]:
    return dataflow_labels(RunConfig.from_parameters(IN_DOMAIN | parameters))


def test_labels_of_the_job() -> None:
    assert labels(destination_bigquery_dataset="Analytics_EU", destination_bigquery_table="Größe und-mehr") == {
        "data_source": "postgresql",
        "destination_project": "example_com_my-project",
        "destination_dataset": "analytics_eu",
        "destination_table": "gr__e_und-mehr",
    }


def test_labels_of_a_job_with_several_tables() -> None:
    tables = {"postgresql_query": "", "postgresql_table": "*", "destination_bigquery_table": ""}
    assert labels(**tables) == {
        "data_source": "postgresql",
        "destination_project": "example_com_my-project",
        "destination_dataset": "analytics",
    }


def test_long_labels_are_cut_and_stay_different() -> None:
    first, second = (labels(destination_bigquery_table="t" * 63 + end)["destination_table"] for end in "ab")
    assert first.startswith("t" * 54 + "_")
    assert (len(first), len(second)) == (63, 63)
    assert first != second
