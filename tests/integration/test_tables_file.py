"""Files in Cloud Storage that parameters name."""

from __future__ import annotations

import pytest
from apache_beam.io.filesystems import FileSystems

from sync_pipeline.errors import ConfigError
from sync_pipeline.parameters.run_config import RunConfig
from sync_pipeline.parameters.secrets import Secret
from sync_pipeline.parameters.source_tables import CatalogTable, TableName
from tests.parameter_sets import POSTGRESQL

PARAMETERS = POSTGRESQL | {"postgresql_query": "", "destination_bigquery_table": ""}


def test_a_file_in_cloud_storage(gcs_folder: str) -> None:
    location = f"{gcs_folder}/tables.yaml"
    with FileSystems.create(location) as file:
        file.write(b"tables: [{postgresql_table: public.orders, batch_size: 7}]")
    selection = RunConfig.from_parameters(PARAMETERS | {"tables_file": location}).selection
    assert selection is not None
    (chosen,) = selection.choose([CatalogTable(TableName("public", "orders"), "table")]).tables
    assert chosen.config({}).batch_size == 7


@pytest.mark.parametrize("location", ["{}/missing.yaml", "gs://nobody-has-this/tables.yaml"])
def test_an_object_that_does_not_exist(gcs_folder: str, location: str) -> None:
    location = location.format(gcs_folder)
    expected = f"{location} cannot be read \\(NotFound\\): check its name and permissions"
    with pytest.raises(ConfigError, match=f"^tables_file: {expected}$"):
        RunConfig.from_parameters(PARAMETERS | {"tables_file": location})
    with pytest.raises(ConfigError, match=f"^postgresql_sslkey: {expected}$"):
        Secret("postgresql_sslkey", location, may_be_file=True).resolve()
