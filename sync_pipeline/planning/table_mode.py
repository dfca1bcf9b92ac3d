"""The mode of a chosen table: how it is kept equal to its source where the parameters do not say it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from sync_pipeline.parameters.source_tables import CatalogTable

# Values of `table_mode`.
AUTO, APPEND, REPLACE = "auto", "append", "replace"

_APPENDED = {"write_disposition": "WRITE_APPEND"}
_REPLACED = {"write_disposition": "WRITE_TRUNCATE"}

# Parameters that decide the mode themselves.
_DECIDING = frozenset({"write_disposition", "delete_existing_table"})


@dataclass(frozen=True)
class TableMode:
    """The mode of a table.

    Attributes:
        implied: the values of the parameters that make the mode; a given value takes precedence.
        reason: why, worded for the plan.
    """

    reason: str
    implied: Mapping[str, Any] = field(default_factory=dict)


def mode_of(
    table: CatalogTable,
    given: Collection[str],
    timestamp_column: str,
    *,
    asked: str = AUTO,
    smart_sync: bool | None,
    has_own_key: bool,
) -> TableMode:
    """Return the mode: a Smart Sync merge for a table with key and timestamp column, else a replacement of all rows.

    A whole replacement is a load job, which BigQuery does not bill. A comparison with the existing rows would be a
    query, which it does.

    Args:
        given: the parameters with an explicit value for the table.
        timestamp_column: the column of Smart Sync, with the source's name.
        asked: the value of `table_mode`.
        smart_sync: the given `enable_smart_sync`, None if it is not given.
        has_own_key: whether Smart Sync merges by the source's own key if no primary_key is given. One that the catalog
            does not tell may repeat, so the table does not imply a merge by it.
    """
    key = "primary_key" in given or bool(table.key)
    has_timestamp = timestamp_column in table.timestamps
    if asked == APPEND:
        return TableMode("table_mode is append", _APPENDED)
    if asked == REPLACE:
        return TableMode("table_mode is replace", _REPLACED)
    if _DECIDING & set(given):
        return TableMode("as given")
    if smart_sync or (smart_sync is None and key and has_timestamp):
        return _smart_sync(table, given, timestamp_column, has_own_key=has_own_key, was_given=bool(smart_sync))
    if "primary_key" in given:
        return TableMode("primary_key is given")
    if smart_sync is False:
        reason = "enable_smart_sync is false"
    elif not key:
        reason = table.why_no_key or f"the {table.kind} has no primary key"
    else:
        reason = f"the {table.kind} has no timestamp column {timestamp_column}"
    return TableMode(reason, _REPLACED)


def mode_of_query(given: Collection[str], *, asked: str = AUTO) -> TableMode:
    """Return the mode of a query: its rows replace all rows, unless the parameters say another.

    Args:
        given, asked: see `mode_of`.
    """
    if asked == APPEND:
        return TableMode("table_mode is append", _APPENDED)
    if asked == REPLACE:
        return TableMode("table_mode is replace", _REPLACED)
    if {"primary_key", "enable_smart_sync", *_DECIDING} & set(given):
        return TableMode("as given")
    return TableMode("a query has no key", _REPLACED)


def _smart_sync(
    table: CatalogTable, given: Collection[str], timestamp_column: str, *, has_own_key: bool, was_given: bool
) -> TableMode:
    implied: dict[str, Any] = {"enable_smart_sync": True}
    is_merged = "primary_key" in given or has_own_key or bool(table.key)
    if table.key and not has_own_key:
        implied["primary_key"] = table.key
    if is_merged and table.timestamps.get(timestamp_column):
        # Rows without a timestamp are read again by each run, because no interval contains them.
        implied["smart_sync_null_timestamps"] = "include"
    if was_given:
        return TableMode("enable_smart_sync is given", implied)
    key = "primary_key" if "primary_key" in given else ", ".join(table.key) or "the source's key"
    return TableMode(f"key {key}, timestamps {timestamp_column}", implied)
