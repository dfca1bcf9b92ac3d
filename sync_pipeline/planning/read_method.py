"""Chooses the read method: query pushdown, where one query job moves rows inside BigQuery, or reading by workers."""

from __future__ import annotations

from dataclasses import dataclass

from sync_pipeline.errors import ConfigError
from sync_pipeline.schema import Schema
from sync_pipeline.sources.source import Selection
from sync_pipeline.transforms.in_sql import all_checks


@dataclass(frozen=True)
class ReadMethod:
    """The read method and its reason; `selection` is None if workers read the rows."""

    selection: Selection | None
    reason: str


def choose_read_method(
    selection: Selection | None, read: Schema, location: str, *, keeps_dead_letters: bool, has_hash_key: bool
) -> ReadMethod:
    """Return query pushdown if it is possible and the user did not request the other method.

    Args:
        read: the columns to read, with the types to read them as.
        location: the destination's location.
        has_hash_key: whether values are hashed with a key, which must not be in a query.

    Raises:
        ConfigError: query pushdown is requested and not possible, or would read more than `maximum_bytes_billed`.
    """
    if selection is None:
        return ReadMethod(None, "")
    if selection.declined:
        return ReadMethod(None, f"the workers read the rows: {selection.declined}")
    blocker = _blocker(selection, read, location, keeps_dead_letters=keeps_dead_letters, has_hash_key=has_hash_key)
    if blocker is None:
        check_costs(selection)
        there = f"source and destination are both in {location}" if selection.location else "the query reads no table"
        return ReadMethod(selection, f"one query moves the rows, workers read none: {there}")
    if selection.required:
        raise ConfigError([selection.required.format(blocker=blocker)])
    return ReadMethod(None, f"the workers read the rows: {blocker}")


def check_costs(selection: Selection) -> None:
    """Raise ConfigError if a query would read more than `maximum_bytes_billed`."""
    estimated, limit = selection.estimated_bytes, selection.maximum_bytes_billed
    if estimated is not None and limit is not None and estimated > limit:
        problem = (
            f"maximum_bytes_billed is {limit:,}, but the query would read {estimated:,} bytes of the source by "
            "BigQuery's estimate: read less, or raise the limit"
        )
        raise ConfigError([problem])


def _blocker(
    selection: Selection, read: Schema, location: str, *, keeps_dead_letters: bool, has_hash_key: bool
) -> str | None:
    """Return the reason why query pushdown is not possible, or None."""
    if selection.location is not None and selection.location.upper() != location.upper():
        return f"the source is in {selection.location} and the destination in {location}, but a query has one location"
    if has_hash_key:
        # BigQuery stores the text and parameters of a query with its job, where other users can read them.
        return "hash_fields are hashed with hash_key, and a query would expose the key"
    columns = dict.fromkeys(check.column for check in all_checks(selection.schema, read, "q"))
    if keeps_dead_letters and columns:
        return f"rows may be invalid ({', '.join(columns)}), and one statement cannot also write dead_letter_table"
    return None
