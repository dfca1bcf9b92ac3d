"""The parameters of the BigQuery source."""

from __future__ import annotations

import re

from sync_pipeline.parameters.identifiers import check_table
from sync_pipeline.parameters.parameter import ALWAYS, Parameter, ParameterType, when
from sync_pipeline.parameters.rows import TABLE_LIST, TABLES_FILE
from sync_pipeline.parameters.table_patterns import TablePatterns, TableSyntax
from sync_pipeline.sources.bigquery.config import AUTO_METHOD, QUERY_METHOD, STORAGE_METHOD

TABLE_SYNTAX = TableSyntax()


def _read_tables(text: str) -> TablePatterns:
    patterns = TABLE_SYNTAX.parse(text)
    for pattern in patterns.patterns:
        name = pattern.literal.name if pattern.literal else re.sub("[*?]", "", pattern.text.lstrip("! "))
        reason = check_table(name)
        if reason is not None and "$" in name:
            raise ValueError(f"{reason}: use source_bigquery_query with a condition on the partition column instead")
        if reason is not None:
            raise ValueError(reason)
    return patterns


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
        "Dataset of the source tables.",
        ParameterType.DATASET,
        example="raw_data",
        required=(when("source_bigquery_query"),),
    ),
    Parameter(
        "source_bigquery_table",
        "Source table",
        f"BigQuery tables to sync, {TABLE_LIST}",
        ParameterType.TABLES,
        example="user_events",
        required=(when("source_bigquery_query", TABLES_FILE),),
        read=_read_tables,
        by_table=True,
    ),
    Parameter(
        "source_bigquery_query",
        "Source query",
        "GoogleSQL query to sync instead of a table.",
        ParameterType.TEXT,
        example="SELECT * FROM `project.dataset.table` WHERE DATE(created_at) = CURRENT_DATE()",
        by_table=True,
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
        by_table=True,
    ),
    Parameter(
        "maximum_bytes_billed",
        "Maximum bytes billed",
        "Limit on the bytes that a query over the source may read; BigQuery rejects a larger one. Default: no limit.",
        ParameterType.INTEGER,
        example="1000000000000",
        minimum=1,
        maximum=10**15,
        by_table=True,
    ),
)
