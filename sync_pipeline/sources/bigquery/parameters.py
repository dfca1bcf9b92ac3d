"""The parameters of the BigQuery source."""

from __future__ import annotations

from sync_pipeline.parameters.identifiers import check_table
from sync_pipeline.parameters.parameter import ALWAYS, Parameter, ParameterType, when
from sync_pipeline.sources.bigquery.config import AUTO_METHOD, QUERY_METHOD, STORAGE_METHOD


def _read_table(text: str) -> str:
    reason = check_table(text)
    if reason is None:
        return text
    if "*" in text:
        raise ValueError(f"{reason}: use source_bigquery_query=SELECT * FROM `project.dataset.{text}` instead")
    if "$" in text:
        raise ValueError(f"{reason}: use source_bigquery_query with a condition on the partition column instead")
    raise ValueError(reason)


PARAMETERS = (
    Parameter(
        "source_bigquery_project",
        "Source project",
        "Project of the source table, or project that runs and is billed for the query; default for unqualified names.",
        ParameterType.PROJECT,
        example="source-data-project",
        required=(ALWAYS,),
    ),
    Parameter(
        "source_bigquery_dataset",
        "Source dataset",
        "Dataset of the source table.",
        ParameterType.DATASET,
        example="raw_data",
        required=(when("source_bigquery_query"),),
    ),
    Parameter(
        "source_bigquery_table",
        "Source table",
        "BigQuery table to read.",
        ParameterType.TABLE,
        example="user_events",
        required=(when("source_bigquery_query"),),
        read=_read_table,
    ),
    Parameter(
        "source_bigquery_query",
        "Source query",
        "GoogleSQL query to sync instead of a table.",
        ParameterType.TEXT,
        example="SELECT * FROM `project.dataset.table` WHERE DATE(created_at) = CURRENT_DATE()",
    ),
    Parameter(
        "source_bigquery_read",
        "Read method",
        "Query pushdown, where one query job moves the rows inside BigQuery (query), reading by workers through the "
        "Storage API (storage_api), or pushdown if possible (auto).",
        ParameterType.CHOICE,
        example=STORAGE_METHOD,
        default=AUTO_METHOD,
        choices=(AUTO_METHOD, STORAGE_METHOD, QUERY_METHOD),
    ),
    Parameter(
        "maximum_bytes_billed",
        "Maximum bytes billed",
        "Limit on the bytes that a query over the source may read; BigQuery rejects a larger one. Default: no limit.",
        ParameterType.INTEGER,
        example="1000000000000",
        minimum=1,
        maximum=10**15,
    ),
)
