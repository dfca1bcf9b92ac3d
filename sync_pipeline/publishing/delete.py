"""Merge and delete: one transaction merges the rows, and removes or marks those that the source no longer has.

The staged keys are those of the whole source, and were read after the rows. Only the run that publishes next after it
has looked at the destination gets this far (`TableSync.publish_id`), so no other run has added rows meanwhile. Besides,
a row that is later than the interval's end is not judged: if the rule failed, the row would be that of a newer run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sync_pipeline.bigquery_api.job_records import changed_rows, last_row
from sync_pipeline.bigquery_api.jobs import FinishedJob
from sync_pipeline.googlesql import quoted, string_literal
from sync_pipeline.planning.deletions import MARK, Deletions
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.publishing.jobs import PUBLISH
from sync_pipeline.publishing.merge import MergeStatements, merge_statements, now_sql, required_filter, same_key
from sync_pipeline.publishing.removal_limit import allowed_sql
from sync_pipeline.publishing.rows_query import count_check, destination_alias, destination_rows, if_sql
from sync_pipeline.publishing.staged_files import StagedFiles
from sync_pipeline.publishing.strategy import DeletionCounts, Published, QueryStrategy
from sync_pipeline.publishing.tables import fill_keys_table, fill_staging_table
from sync_pipeline.smart_sync.interval import bound_literal, bound_text
from sync_pipeline.transforms.in_sql import keys_sql

# The variables of the script: the rows before the merge, and the counts after it.
_BEFORE, _COUNTS = "sync_before", "sync_counts"

# The temporary table of the keys that BigQuery selects.
_KEYS = "sync_keys"


@dataclass(frozen=True)
class MergeAndDelete(QueryStrategy):
    """Merge the rows, and remove or mark those of the destination whose key is not among `keys`."""

    keys: StagedFiles

    def prepare(self) -> None:
        """Load rows, if there are any, and keys into their staging tables. Raises PublishError."""
        if self.table.selection is not None:
            return
        if self.staged.rows:
            fill_staging_table(self.jobs, self.staged)
        fill_keys_table(self.jobs, self.keys)

    def publish(self) -> Published:
        """Run the script. Raises PublishError."""
        finished = self.jobs.query(merge_and_delete_sql(self.table, self.staged.rows, self.keys.rows), PUBLISH)
        if not finished.is_ours:
            return Published(finished)
        has_merged = self.staged.rows or self.table.selection is not None
        merged = changed_rows(self.jobs.client, finished.job) if has_merged else 0
        return Published(finished, merged, self._counts(finished))

    def _counts(self, finished: FinishedJob) -> DeletionCounts:
        row = last_row(finished.job, "deleted")
        assert self.table.deletions is not None
        numbers = {name: row[name] for name in ("before", "existing", "missing", "returned")}
        return DeletionCounts(**numbers, max_percent=self.table.deletions.max_percent)


def merge_and_delete_sql(table: TableSync, rows: int, keys: int) -> str:
    """Return the script that merges the rows, deletes what the source no longer has, and selects the counts.

    Args:
        rows, keys: how many of them the staging tables must hold; without rows there is no staging table of rows. Where
            BigQuery selects rows and keys there are none.
    """
    assert table.deletions is not None
    merge, checks = MergeStatements(), []
    if table.selection is not None:
        merge = merge_statements(table)
        merge = replace(merge, before=(*merge.before, f"CREATE TEMP TABLE {_KEYS} AS\n{_selected_keys_sql(table)}"))
    else:
        if rows:
            merge = merge_statements(table)
            checks.append(count_check(table.staging_table_id, rows))
        checks.append(count_check(table.keys_table_id, keys))
    transaction = merge.transaction(
        (f"{_BEFORE} INT64", f"{_COUNTS} STRUCT<existing INT64, missing INT64, returned INT64>"),
        (f"SET {_BEFORE} = (\n{_before_sql(table, table.deletions)})",),
        (
            f"SET {_COUNTS} = (\n{_counts_sql(table, table.deletions)})",
            if_sql(_is_allowed_sql(table.deletions.max_percent), _deletion_sql(table, table.deletions)),
            *([if_sql(f"{_COUNTS}.returned > 0", _unmark_sql(table))] if table.deletions.marks else []),
            (
                f"SELECT {_BEFORE} AS before, {_COUNTS}.existing AS existing, {_COUNTS}.missing AS missing, "
                f"{_COUNTS}.returned AS returned"
            ),
        ),
    )
    return ";\n".join((*checks, transaction))


def _selected_keys_sql(table: TableSync) -> str:
    keys = table.keys
    assert keys is not None
    assert keys.read.selection is not None
    selection = keys.read.selection
    return keys_sql(selection.sql, selection.schema, keys.read_schema, keys.schema, keys.transformation)


def _keys_table(table: TableSync) -> str:
    return quoted(table.keys_table_id) if table.selection is None else _KEYS


def _is_allowed_sql(max_percent: int) -> str:
    """Return the condition that there are rows to delete, and that `DeletionCounts.is_refused` is false."""
    return allowed_sql(f"{_COUNTS}.missing", f"{_COUNTS}.existing", _BEFORE, max_percent)


def _before_sql(table: TableSync, deletions: Deletions) -> str:
    """Return the query for the number of rows that are not marked."""
    count = f"COUNTIF({_mark(table)} IS NULL)" if deletions.marks else "COUNT(*)"
    filters = "".join(f"WHERE {condition}\n" for condition in required_filter(table))
    return f"SELECT {count}\nFROM {quoted(table.table_id)} AS {destination_alias(table)}\n{filters}"


def _counts_sql(table: TableSync, deletions: Deletions) -> str:
    """Return the query for the numbers of rows: those there are, those to delete, and marked ones that are back."""
    published, source = destination_alias(table), _source(table)
    keys = ", ".join(map(quoted, table.primary_key))
    is_missing = f"{source}.{quoted(table.primary_key[0])} IS NULL"
    existing, returned = "COUNT(*)", "0"
    if deletions.marks:
        existing, returned = (
            f"COUNTIF({_mark(table)} IS NULL)",
            f"COUNTIF({_mark(table)} IS NOT NULL AND NOT {is_missing})",
        )
    filters = required_filter(table)
    return "\n".join(
        (
            f"SELECT AS STRUCT {existing} AS existing,",
            f"  COUNTIF({' AND '.join((is_missing, *_judged(table, deletions)))}) AS missing,",
            f"  {returned} AS returned",
            f"FROM {quoted(table.table_id)} AS {published}",
            # A query may return a key several times.
            f"LEFT JOIN (SELECT DISTINCT {keys} FROM {_keys_table(table)}) AS {source}",
            f"ON {same_key(table, source)}",
            *(f"WHERE {condition}" for condition in filters),
            "",
        )
    )


def _deletion_sql(table: TableSync, deletions: Deletions) -> str:
    """Return the statement that removes or marks the rows that the source no longer has."""
    published = destination_rows(table)
    conditions = (*required_filter(table), *_judged(table, deletions), f"NOT {_is_at_source(table)}")
    verb = f"DELETE FROM {published}"
    if deletions.marks:
        moment = string_literal(bound_text(table.observed_at))
        verb = f"UPDATE {published} SET {quoted(MARK.name)} = TIMESTAMP {moment}"
    return f"{verb}\nWHERE {' AND '.join(conditions)}"


def _unmark_sql(table: TableSync) -> str:
    """Return the statement that takes the mark from rows that the source has again."""
    conditions = (*required_filter(table), f"{_mark(table)} IS NOT NULL", _is_at_source(table))
    return (
        f"UPDATE {quoted(table.table_id)} AS {destination_alias(table)} SET {quoted(MARK.name)} = NULL\n"
        f"WHERE {' AND '.join(conditions)}"
    )


def _is_at_source(table: TableSync) -> str:
    source = _source(table)
    return f"EXISTS (SELECT 1 FROM {_keys_table(table)} AS {source} WHERE {same_key(table, source)})"


def _judged(table: TableSync, deletions: Deletions) -> list[str]:
    """Return the conditions of rows that are deleted if the source lacks them."""
    assert table.interval is not None, "deletions need Smart Sync"
    assert table.timestamp_column is not None
    type_name = table.schema.field(table.timestamp_column).type
    moment = f"{destination_alias(table)}.{quoted(table.timestamp_column)}"
    literal = bound_literal(table.interval.end, type_name)
    # A later row comes from a later run; one from the future is nobody's, as in the merge.
    conditions = [f"({moment} IS NULL OR {moment} <= {literal} OR {moment} > {now_sql(table, type_name)})"]
    return [*conditions, f"{_mark(table)} IS NULL"] if deletions.marks else conditions


def _mark(table: TableSync) -> str:
    return f"{destination_alias(table)}.{quoted(MARK.name)}"


def _source(table: TableSync) -> str:
    return table.schema.free_name("k")
