"""Filters BigQuery's error messages, because messages about values quote values, and logs and errors must not.

A message is shown if it is known to mention only names, types, permissions and limits. Of any other message only the
kind and the position are shown. BigQuery keeps the full message with the job, for users who may see the data.
https://cloud.google.com/bigquery/docs/error-messages
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from sync_pipeline.bigquery_api.raised_errors import RAISED

# Reasons whose messages mention only projects, tables, permissions, quotas and the service itself.
SAFE_REASONS = frozenset(
    {
        "accessDenied",
        "backendError",
        "billingNotEnabled",
        "billingTierLimitExceeded",
        "blocked",
        "bytesBilledLimitExceeded",
        "duplicate",
        "forbidden",
        "internalError",
        "jobBackendError",
        "jobInternalError",
        "jobRateLimitExceeded",
        "notFound",
        "quotaExceeded",
        "rateLimitExceeded",
        "resourceInUse",
        "resourcesExceeded",
        "responseTooLarge",
        "stopped",
        "tableUnavailable",
        "timeout",
    }
)

# First words of messages about statements, schemas and limits.
_SAFE = re.compile(
    "|".join(
        (
            r"Access Denied: ",
            r"Already Exists: ",
            r"Aggregate function ",
            r"ALTER TABLE ",
            r"A(n internal|n) error occurred and the request could not be completed",
            r"Billing has not been enabled",
            r"Cannot (add|alter|change|cluster|combine|convert the table|create|delete|drop|find) ",
            r"Cannot (partition|query over|read|replace|set|truncate|update|use|write) ",
            r"Column [`'\w]+ .*(not found|not present|has type|cannot be|of type|already exists)",
            r"Column not found",
            r"Column name ",
            r"Could not serialize access ",
            r"CREATE ",
            r"Dataset ",
            r"Duplicate column name",
            r"Error while reading data, error message: Parquet column '[^']*' has type \S+ which does not match ",
            r"Exceeded rate limits",
            r"Field [`'\w.]+ (has changed|is missing|not found|already exists|cannot be|of type)",
            r"Function not found",
            r"Incompatible (table|partitioning)",
            r"Internal error",
            r"Invalid (dataset|project|table|schema|field name|column name|partitioning|time partitioning) ",
            r"Job .*(exceeded|timed out|was cancelled|not found)",
            r"Missing required ",
            r"Name \S+ (not found|is ambiguous)",
            r"No matching signature ",
            r"Not found: ",
            r"Partition(ing|ed)? ",
            r"PRIMARY KEY ",
            r"Provided Schema does not match",
            r"Query column \d+ has type ",
            r"Query exceeded ",
            r"Query parameter ",
            r"Query without FROM ",
            r"Quota exceeded",
            r"Require(d column|d field|s|ments?) ",
            r"Required ",
            r"Resources exceeded",
            r"Response too large",
            r"Row access polic",
            r"Schema (has no fields|update)",
            r"SELECT list expression ",
            r"Session ",
            r"Star expansion ",
            r"Syntax error: ",
            r"Table \S+ (already|cannot|does|has|is|must|not|was) ",
            r"the staging table does not hold ",
            r"The (destination|dataset|default|field|job|project|query is too|table|specified) ",
            r"This (feature|operation|table) ",
            r"Too many ",
            r"Transaction ",
            r"Unrecognized name: ",
            r"Unsupported ",
            r"UPDATE/MERGE must match at most one source row",
            r"User (does not have|\S+ does not have) ",
            r"Value of type ",
            r"VPC Service Controls",
        )
    )
)

# First words of the message for a statement that modifies too many partitions, and the remedy.
_TOO_MANY_PARTITIONS = "Too many partitions"
_FEWER_PARTITIONS = (
    "set a coarser partition_granularity for a new table, load a shorter interval per run, or set "
    "source_bigquery_read=storage_api, which publishes the rows in parts"
)

_TYPES = "int64|double|float64|float|bool|boolean|bytes|date|datetime|time|timestamp|interval|numeric|bignumeric"

# First words of messages about values, and the text that replaces them.
_VALUES: Mapping[str, str] = {
    r".*PARSE_JSON|.*Failed to parse JSON|Invalid JSON": "a text in a JSON column is not JSON that BigQuery accepts",
    rf"(?i:Bad|Invalid) (?i:({_TYPES}))\b": r"a value is not a valid \1",
    r"Could not (parse|cast|convert)|Error while reading data": "a value is invalid for its column",
    r"[Dd]ivision by zero": "a division by zero",
    r".*overflow": "a number is too large for its type",
}
_PREFIX = re.compile(r"^(Query error: |Error: |Failed: )+")
_PLACE = re.compile(r"\[\d+:\d+\]")
_LOCATION = re.compile(r"gs://\S{1,500}|query")
_UNSAFE_REASONS = frozenset({"invalid", "invalidQuery", "invalidUser", "notImplemented"})


def shown_message(message: str, reason: str | None = None, location: str | None = None) -> str:
    """Return the part of a BigQuery message that may be shown, on one line.

    Args:
        reason: the error's `reason`, BigQuery's name for the kind of error.
        location: the error's `location`, such as a file.
    """
    said = _PREFIX.sub("", " ".join(message.split()))
    if ours := RAISED.match(said):
        return ours[0]
    if reason in SAFE_REASONS or _SAFE.match(said):
        return f"{said}: {_FEWER_PARTITIONS}" if said.startswith(_TOO_MANY_PARTITIONS) else said
    kind = reason if reason in _UNSAFE_REASONS else "an error"
    where = f" in {location}" if location and _LOCATION.fullmatch(location) else ""
    # Only a position at the end of the message: an earlier one may be part of a value.
    places = _PLACE.findall(said)
    at = f" at {places[-1]}" if places and said.endswith(places[-1]) else ""
    for pattern, words in _VALUES.items():
        if found := re.match(pattern, said):
            return f"{found.expand(words) if '\\' in words else words}{at}{where}"
    return f"{kind}{at}{where}; its message may quote a value and is not shown here"
