"""BigQuery's words are shown where they speak of names, rights and limits, and never where they may quote a value."""

from __future__ import annotations

import pytest
from google.api_core import exceptions

from sync_pipeline.bigquery_api.client import translated_errors
from sync_pipeline.bigquery_api.messages import shown_message
from sync_pipeline.errors import PublishError

PLANTED = "planted-secret"
HIDDEN = "its message may quote a value and is not shown here"


@pytest.mark.parametrize(
    "message",
    [
        "Unrecognized name: nobody at [1:8]",
        "Syntax error: Unexpected end of script at [1:5]",
        "Provided Schema does not match Table p:d.t. Field id has changed type from INTEGER to STRING",
        "Query column 1 has type STRING which cannot be inserted into column a, which has type INT64 at [1:20]",
        "Cannot query over table 'p.d.t' without a filter over column(s) 'day' that can be used for partitions",
        "UPDATE/MERGE must match at most one source row for each target row",
        "Transaction is aborted due to concurrent update against table p:d.t.",
        "Error while reading data, error message: Parquet column 'a' has type INT32 which does not match the target",
        "Required field id cannot be null",
    ],
)
def test_what_is_shown(message: str) -> None:
    assert shown_message(f"Query error: {message}", "invalidQuery") == message


@pytest.mark.parametrize(
    ("message", "reason", "location", "shown"),
    [
        (f"Bad int64 value: {PLANTED}", "invalidQuery", "query", "a value is not a valid int64 in query"),
        (
            f"Query error: Invalid date: '{PLANTED}' at [3:10]",
            "invalidQuery",
            None,
            "a value is not a valid date at [3:10]",
        ),
        (f"Invalid timestamp: '{PLANTED}'", "invalid", None, "a value is not a valid timestamp"),
        (
            f"Could not parse '{PLANTED}' as INT64 for field x",
            "invalid",
            "gs://b/f",
            "a value is invalid for its column in gs://b/f",
        ),
        (f"Error while reading data, error message: {PLANTED}", "invalid", None, "a value is invalid for its column"),
        (f"int64 overflow: {PLANTED} + 1", "invalidQuery", None, "a number is too large for its type"),
        (
            f"Failed to parse JSON: {PLANTED}",
            "invalid",
            None,
            "a text in a JSON column is not JSON that BigQuery accepts",
        ),
        (f"Error in PARSE_JSON: {PLANTED}", None, None, "a text in a JSON column is not JSON that BigQuery accepts"),
        (f"{PLANTED}", "invalidQuery", f"{PLANTED} x", f"invalidQuery; {HIDDEN}"),
        (f"{PLANTED} [1:2] {PLANTED}", f"{PLANTED}", None, f"an error; {HIDDEN}"),
        (f"Bad value: sync:RecordError: {PLANTED} :sync", "invalidQuery", None, f"invalidQuery; {HIDDEN}"),
    ],
)
def test_what_is_not_shown(message: str, reason: str | None, location: str | None, shown: str) -> None:
    assert shown_message(message, reason, location) == shown


def test_our_own_words_are_shown() -> None:
    ours = "sync:RecordError: column 'a' has an invalid value :sync"
    assert shown_message(f"Query error: {ours}; error in ERROR expression", "invalidQuery") == ours


def test_a_refused_request() -> None:
    error = exceptions.BadRequest("x", errors=[{"message": f"Bad double value: {PLANTED}", "reason": "invalidQuery"}])
    with (
        pytest.raises(PublishError, match=r"^BigQuery: cannot do it: a value is not a valid double: see"),
        translated_errors("do it"),
    ):
        raise error


def test_too_many_partitions_come_with_what_helps() -> None:
    said = "Too many partitions produced by query, allowed 4000, query produces at least 5000 partitions"
    assert shown_message(f"Query error: {said}", "invalidQuery").startswith(
        f"{said}: set a coarser partition_granularity for a new table, load a shorter interval per run, or set"
    )
