"""What the sandbox's emulator does not have."""

from __future__ import annotations

from google.cloud.bigquery.table import TableListItem

from sync_pipeline.sources.bigquery.catalog import _listed_table


def test_an_external_table_is_named_to_load_it() -> None:
    reference = {"projectId": "p", "datasetId": "d", "tableId": "sheet"}
    table = _listed_table(TableListItem({"tableReference": reference, "type": "EXTERNAL"}), None)
    assert (str(table.name), table.kind) == ("sheet", "external table")
    assert table.left_out == "it is an external table, whose rows are outside of BigQuery: name it to load it"
