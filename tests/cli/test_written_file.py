"""The file that `init` writes is read as what it was written from, by a run here and by a launch."""

from __future__ import annotations

import pytest

from sync_pipeline.cli.found_tables import FoundTable
from sync_pipeline.cli.written_file import Written, launch_file_text, yaml_text
from sync_pipeline.launching.launch_file import read_launch
from sync_pipeline.launching.local_run import read_local_run
from sync_pipeline.parameters.file_values import content_of
from sync_pipeline.parameters.source_tables import CatalogTable, TableName

PARAMETERS = {
    "data_source": "postgresql",
    "postgresql_host": "10.0.0.5",
    "postgresql_port": "5433",
    "postgresql_database": "shop: #1",
    "postgresql_username": "no",
    "postgresql_password": "projects/my-project/secrets/shop/versions/latest",
    "postgresql_table": "*.*",
    "destination_bigquery_project": "my-project",
    "destination_bigquery_dataset": "shop",
}
TABLE = CatalogTable(
    TableName("public", "a\nb"), "table", ("id",), timestamps={"updated_at": False}, rows=1000, size=2048
)
TABLES = [FoundTable('public."a\nb"', TABLE, "merges what has changed, by updated_at")]


def test_a_run_here_reads_what_was_written() -> None:
    text = launch_file_text(Written(PARAMETERS, TABLES, temp_location="gs://bucket/tmp"))
    assert read_local_run(text) == {**PARAMETERS, "temp_location": "gs://bucket/tmp"}
    assert '# public."a\\nb"  1,000  2.0 KiB  id   updated_at  merges what has changed, by updated_at' in text
    assert "  # deletes: remove\n" in text


def test_without_a_bucket_the_place_for_it_is_shown() -> None:
    text = launch_file_text(Written(PARAMETERS, []))
    assert read_local_run(text) == PARAMETERS
    assert "  # tempLocation: gs://my-bucket/tmp" in text


def test_a_launch_reads_what_was_written() -> None:
    settings = {"job_name": "shop", "region": "us-central1", "template": "gs://templates/sync.json"}
    text = launch_file_text(Written(PARAMETERS, TABLES, temp_location="gs://bucket/tmp", **settings))
    launch = read_launch(text)
    assert launch.parameters == PARAMETERS
    assert (launch.project, launch.job_name, launch.environment) == (
        "my-project",
        "shop",
        {"tempLocation": "gs://bucket/tmp"},
    )


@pytest.mark.parametrize(
    "text", ["yes", "1.5", "012", "2024-01-01", "a: b", "a #b", "'", '"', "*", "{x}", "env:A_B", "é"]
)
def test_a_text_stays_a_text(text: str) -> None:
    assert content_of(f"a: {yaml_text(text)}") == {"a": text}
