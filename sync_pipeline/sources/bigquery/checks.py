"""Checks across the parameters of the BigQuery source."""

from __future__ import annotations

from collections.abc import Iterator

from sync_pipeline.parameters.parameter import ParameterValues
from sync_pipeline.parameters.rows import DESTINATION

_TABLE = ("source_bigquery_project", "source_bigquery_dataset", "source_bigquery_table")


def contradictions(values: ParameterValues) -> Iterator[str]:
    """Yield a sentence for each contradictory combination."""
    # A dataset with a query is allowed: it is the default for the query's unqualified names.
    is_same = [str(values[name]) for name in _TABLE] == [str(values[name]) for name in DESTINATION]
    if is_same and "source_bigquery_query" not in values.given:
        yield "source_bigquery_table is the destination table itself: name another"
