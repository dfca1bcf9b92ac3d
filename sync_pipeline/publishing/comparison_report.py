"""What a comparison has found: a sentence, a table of counts, and values for JSON. No value of a row is in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sync_pipeline.planning.plan import TableSync
from sync_pipeline.publishing.strategy import DifferenceCounts

_LABELS: Mapping[str, str] = {
    "source_rows": "rows of the source",
    "destination_rows": "rows of the destination",
    "missing": "missing",
    "different": "different",
    "surplus": "surplus",
    "new_missing": "not yet synced: to be added",
    "new_different": "not yet synced: to be updated",
    "new_surplus": "not yet synced: to be deleted",
    "later": "loaded by a later run",
    "older": "older versions",
    "unjudged": "not judged",
    "rejected": "rejected rows of the source",
}

# Counts that are shown even if they are 0.
_ALWAYS = ("source_rows", "destination_rows", "missing", "different", "surplus")


def counts_of(counts: DifferenceCounts) -> dict[str, int]:
    """Return the counts by name, for one line."""
    return {
        "missing": counts.missing,
        "different": counts.different,
        "surplus": counts.surplus,
        "not_yet_synced": counts.new,
    }


def values_of(counts: DifferenceCounts) -> dict[str, Any]:
    """Return all counts by name, for JSON: `different_by_column` has those of the columns."""
    return {
        **{name: getattr(counts, name) for name in _LABELS},
        "different_by_column": dict(counts.by_column),
        "repaired": counts.is_repaired and not counts.is_refused,
    }


def count_lines(table_id: str, counts: DifferenceCounts) -> Iterator[str]:
    """Yield the table of counts, a line each; a count of 0 is left out where it says nothing."""
    values = [(label, getattr(counts, name), name) for name, label in _LABELS.items()]
    shown = [(label, count) for label, count, name in values if count or name in _ALWAYS]
    lines: list[tuple[str, int]] = []
    for label, count in shown:
        lines.append((label, count))
        if label == _LABELS["different"]:
            lines += [(f"  in {name}", number) for name, number in counts.by_column.items()]
    label_width = max(len(label) for label, _ in lines)
    count_width = max(len(f"{count:,}") for _, count in lines)
    yield f"reconcile: {table_id}"
    for label, count in lines:
        yield f"reconcile:   {label:<{label_width}}  {count:>{count_width},}"


def outcome_of_comparison(table: TableSync, counts: DifferenceCounts) -> str:
    """Return the outcome of a comparison."""
    new = f"; {counts.new:,} not yet synced" if counts.new else ""
    if not counts.found:
        return f"reconcile: {table.table_id} equals the source{new}"
    found = f"{counts.missing:,} missing, {counts.different:,} different, {counts.surplus:,} surplus rows"
    if not counts.is_repaired:
        return f"reconcile: {table.table_id} differs from the source: {found}{new}"
    refused = ", but no surplus row was removed" if counts.is_refused else ""
    return f"reconcile: repaired {table.table_id}: {found}{refused}{new}"
