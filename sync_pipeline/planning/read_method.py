"""The short way: rows that lie in BigQuery already are moved by one query job, and no worker reads them."""

from __future__ import annotations

from dataclasses import dataclass

from sync_pipeline.errors import ConfigError
from sync_pipeline.schema import Schema
from sync_pipeline.sources.bigquery.config import QUERY_METHOD, STORAGE_METHOD
from sync_pipeline.sources.source import Selection
from sync_pipeline.transforms.in_sql import all_checks


@dataclass(frozen=True)
class ReadMethod:
    """How the rows go, and why; `selection` is None where the workers read them."""

    selection: Selection | None
    reason: str


def choose_read_method(
    selection: Selection | None, read: Schema, location: str, *, keeps_dead_letters: bool, has_hash_key: bool = False
) -> ReadMethod:
    """Return the short way where it exists, unless the other one is demanded.

    Args:
        read: the columns that are read, with the types they are read as.
        location: of the destination.
        has_hash_key: values are hashed with a key, which must not stand in a query.

    Raises ConfigError when the short way is demanded and does not exist, or would read more than is allowed.
    """
    if selection is None:
        return ReadMethod(None, "")
    if selection.demand == STORAGE_METHOD:
        return ReadMethod(None, f"the workers read the rows: source_bigquery_read={STORAGE_METHOD}")
    hindrance = _blocker(selection, read, location, keeps_dead_letters=keeps_dead_letters, has_hash_key=has_hash_key)
    if hindrance is None:
        _check_costs(selection)
        there = f"source and destination are both in {location}" if selection.location else "the query reads no table"
        return ReadMethod(selection, f"one query moves the rows, and the workers read none: {there}")
    if selection.demand == QUERY_METHOD:
        raise ConfigError([f"source_bigquery_read is '{QUERY_METHOD}', but {hindrance}: use auto or {STORAGE_METHOD}"])
    return ReadMethod(None, f"the workers read the rows: {hindrance}")


def _check_costs(selection: Selection) -> None:
    estimated, limit = selection.estimated_bytes, selection.maximum_bytes_billed
    if estimated is not None and limit is not None and estimated > limit:
        problem = (
            f"maximum_bytes_billed is {limit:,}, but the query would read {estimated:,} bytes of the source, as "
            "BigQuery's dry run estimates: read less, or allow more"
        )
        raise ConfigError([problem])


def _blocker(
    selection: Selection, read: Schema, location: str, *, keeps_dead_letters: bool, has_hash_key: bool
) -> str | None:
    """Return why one query cannot do it all, or None."""
    if selection.location is not None and selection.location.upper() != location.upper():
        return f"the source is in {selection.location} and the destination in {location}, and a query has one location"
    if has_hash_key:
        # The text and the parameters of a query are kept with its job, where others can read them.
        return "hash_fields are hashed with hash_key, and a query would show the key"
    columns = dict.fromkeys(check.column for check in all_checks(selection.schema, read, "q"))
    if keeps_dead_letters and columns:
        return f"rows may not fit ({', '.join(columns)}), and one statement cannot put them into dead_letter_table"
    return None
