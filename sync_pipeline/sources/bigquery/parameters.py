"""The parameters of a run that reads BigQuery."""

from __future__ import annotations

from sync_pipeline.parameters.identifiers import check_table
from sync_pipeline.parameters.parameter import ALWAYS, Parameter, ParameterType, when
from sync_pipeline.sources.bigquery.config import AUTO_METHOD, QUERY_METHOD, STORAGE_METHOD


def _read_table(text: str) -> str:
    reason = check_table(text)
    if reason is None:
        return text
    if "*" in text:
        raise ValueError(f"{reason}: write source_bigquery_query=SELECT * FROM `project.dataset.{text}` in its place")
    if "$" in text:
        raise ValueError(f"{reason}: write source_bigquery_query with a condition on the partition column in its place")
    raise ValueError(reason)


PARAMETERS = (
    Parameter(
        "source_bigquery_project",
        "Source project",
        "Project of the table that is read. A query runs in it, is paid for by it, and finds there the tables that it "
        "names without a project.",
        ParameterType.PROJECT,
        example="source-data-project",
        required=(ALWAYS,),
    ),
    Parameter(
        "source_bigquery_dataset",
        "Source dataset",
        "Dataset of the table that is read.",
        ParameterType.DATASET,
        example="raw_data",
        required=(when("source_bigquery_query"),),
    ),
    Parameter(
        "source_bigquery_table",
        "Source table",
        "The table that is read.",
        ParameterType.TABLE,
        example="user_events",
        required=(when("source_bigquery_query"),),
        read=_read_table,
    ),
    Parameter(
        "source_bigquery_query",
        "Source query",
        "GoogleSQL query whose rows are synced, in place of a table.",
        ParameterType.TEXT,
        example="SELECT * FROM `project.dataset.table` WHERE DATE(created_at) = CURRENT_DATE()",
    ),
    Parameter(
        "source_bigquery_read",
        "Read method",
        "Whether one query job moves the rows inside BigQuery (query), the workers read them through the Storage API "
        "(storage_api), or the query does it wherever it can (auto).",
        ParameterType.CHOICE,
        example=STORAGE_METHOD,
        default=AUTO_METHOD,
        choices=(AUTO_METHOD, STORAGE_METHOD, QUERY_METHOD),
    ),
    Parameter(
        "maximum_bytes_billed",
        "Maximum bytes billed",
        "BigQuery refuses a query over the source that would read more bytes than this. Without it nothing is refused.",
        ParameterType.INTEGER,
        example="1000000000000",
        minimum=1,
        maximum=10**15,
    ),
)
