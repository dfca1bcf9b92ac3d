"""The configuration of the BigQuery source."""

from __future__ import annotations

from dataclasses import dataclass

from sync_pipeline.parameters.destination_names import has_fields
from sync_pipeline.parameters.parameter import ParameterValues
from sync_pipeline.parameters.rows import DESTINATION

_DATASET = ("source_bigquery_project", "source_bigquery_dataset")

# The values of `source_bigquery_read`.
AUTO_METHOD, STORAGE_METHOD, QUERY_METHOD = "auto", "storage_api", "query"


@dataclass(frozen=True)
class BigquerySourceConfig:
    """Either `query` is set, or `dataset` and `table` are.

    Attributes:
        project: the table's project; or the project that runs the query and is the default for its unqualified names.
        dataset: with `query`, the default dataset for its unqualified names.
        read: `auto`, `storage_api` or `query`.
        maximum_bytes_billed: None for no limit.
        job_project: the project of jobs and read sessions. For a table it is the destination's, because the job's
            account may have only read access to the table.
        destinations: how destination tables are named after the tables of the source, such as `copy_{table}`, if they
            are in the same dataset; else None.
    """

    project: str
    dataset: str | None
    table: str | None
    query: str | None
    read: str
    maximum_bytes_billed: int | None
    job_project: str
    destinations: str | None = None


def read_config(values: ParameterValues) -> BigquerySourceConfig:
    """Return the configuration of the source from the values of all parameters."""
    table, query = values["source_bigquery_table"], values["source_bigquery_query"]
    named = values[DESTINATION[2]]
    is_same_dataset = [values[name] for name in _DATASET] == [values[name] for name in DESTINATION[:2]]
    return BigquerySourceConfig(
        project=values["source_bigquery_project"],
        dataset=values["source_bigquery_dataset"],
        table=table.name if table else None,
        query=query,
        read=values["source_bigquery_read"],
        maximum_bytes_billed=values["maximum_bytes_billed"],
        destinations=named if is_same_dataset and named and has_fields(named) else None,
        job_project=values["source_bigquery_project" if query else "destination_bigquery_project"],
    )
