"""Merge: one query job that updates rows by their key, and reads only partitions and blocks with older versions.

BigQuery bills a MERGE for the partitions it scans, and scans all that no constant excludes. A row's partition may
change, so its new version does not tell where the old one is. The script first finds the old partitions, by reading
only the key and the partition column, and passes them to the MERGE in a variable. Both run in one transaction, so no
row moves in between. A partition column that is part of the key does not change, so the rows themselves name the
partitions. https://cloud.google.com/bigquery/docs/using-dml-with-partitioned-tables,
https://cloud.google.com/bigquery/docs/transactions

Where the blocks of the table are sorted by the key, both statements name the lowest and the highest key of the rows, so
that they read no other blocks: https://cloud.google.com/bigquery/docs/clustered-tables#block-pruning
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sync_pipeline.auto_schema.partitions import MAX_PARTITIONS_PER_JOB, coarser_granularity, partition_sql
from sync_pipeline.bigquery_api.raised_errors import raised_text
from sync_pipeline.bigquery_api.required_filter import always_true_filter
from sync_pipeline.errors import SchemaError
from sync_pipeline.googlesql import quoted, string_literal
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.planning.pruning import FIRST_KEY, LAST_KEY, OLD, OLD_IS_NULL, OLD_PARTITIONS, ROWS
from sync_pipeline.publishing.rows_query import columns, destination_alias, destination_rows, script, select_sql
from sync_pipeline.publishing.strategy import DmlStrategy
from sync_pipeline.schema import Field
from sync_pipeline.smart_sync.bounds import TimestampBounds
from sync_pipeline.transforms.in_sql import interval_condition


class MergeRows(DmlStrategy):
    """Update the destination's rows by their primary key, and insert those that are new."""

    def sql(self) -> str:
        """Return `publish_merge_sql`."""
        return publish_merge_sql(self.table, self.staged.rows)


def publish_merge_sql(table: TableSync, rows: int) -> str:
    """Return `merge_sql`, which fails unless the staging table holds so many rows."""
    return script(table, rows, merge_sql(table))


def merge_sql(table: TableSync) -> str:
    """Return the statement that updates rows by their primary key and inserts those that are new.

    With `table.pruned_by` or `table.clustered_by` it is a block of a script. A row of the destination that is newer
    than the staged one stays: a run that read later published it first. A row from the future is replaced, as it could
    otherwise never be corrected; a backfill replaces any row up to the interval's end. Keys are never NULL: the read
    rejects such rows.
    """
    statements = merge_statements(table)
    return statements.transaction() if statements.declarations else statements.merge[0]


@dataclass(frozen=True)
class MergeStatements:
    """The statements of a merge.

    Attributes:
        declarations: of the variables of the script.
        before: what precedes the transaction.
        merge: the statements of the transaction.
    """

    declarations: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    merge: tuple[str, ...] = ()

    def transaction(
        self, declarations: tuple[str, ...] = (), first: tuple[str, ...] = (), more: tuple[str, ...] = ()
    ) -> str:
        """Return the block of a script with the statements in one transaction, after `first` and before `more`.

        A single statement needs none, in which it would be cancelled by a concurrent change instead of waiting for it.
        """
        changes = (*first, *self.merge, *more)
        statements = (
            *(f"DECLARE {declaration}" for declaration in (*self.declarations, *declarations)),
            *self.before,
            *(changes if len(changes) == 1 else ("BEGIN TRANSACTION", *changes, "COMMIT TRANSACTION")),
        )
        return "BEGIN\n" + "".join(f"{statement};\n" for statement in statements) + "END"


def merge_statements(table: TableSync) -> MergeStatements:
    """Return the statements of `merge_sql`."""
    if table.selection is None:
        rows = _Rows(quoted(table.staging_table_id), select_sql(table))
    elif table.pruned_by is None and table.clustered_by is None and table.keys is None:
        return MergeStatements(merge=(_merge(table, select_sql(table)),))
    else:
        # What BigQuery selects by itself is selected once; and before the keys, of which none may be missing.
        rows = _Rows(ROWS, f"SELECT * FROM {ROWS}", (f"CREATE TEMP TABLE {ROWS} AS\n{select_sql(table)}",))
    if table.pruned_by is None:
        pruned = MergeStatements(before=rows.before, merge=(_merge(table, rows.sql),))
    else:
        pruned = _pruned_merge(table, table.pruned_by, rows)
    if table.clustered_by is None:
        return pruned
    name = quoted(table.clustered_by.name)
    return replace(
        pruned,
        declarations=(*pruned.declarations, *(f"{bound} {table.clustered_by.type}" for bound in (FIRST_KEY, LAST_KEY))),
        before=(
            *pruned.before,
            f"SET {FIRST_KEY} = (SELECT MIN({name}) FROM {rows.table})",
            f"SET {LAST_KEY} = (SELECT MAX({name}) FROM {rows.table})",
        ),
    )


@dataclass(frozen=True)
class _Rows:
    """The rows to merge: the table that has them, the query for them, and what stores them there."""

    table: str
    sql: str
    before: tuple[str, ...] = ()


def _merge(table: TableSync, rows_sql: str, *pruning: str) -> str:
    """Return the MERGE statement; `rows_sql` is the query for the rows, each key once."""
    # MERGE refuses to SET a column that is called like the alias.
    staged = table.schema.free_name("s")
    matches = [same_key(table, staged), *required_filter(table), *_key_range(table), *pruning]
    others = [quoted(name) for name in table.schema.names if name not in table.primary_key]
    updates = ", ".join(f"{column} = {staged}.{column}" for column in others)
    values = ", ".join(f"{staged}.{quoted(name)}" for name in table.schema.names)
    return "\n".join(
        (
            f"MERGE INTO {destination_rows(table)}",
            f"USING (\n{rows_sql}\n) AS {staged}",
            f"ON {' AND '.join(matches)}",
            *([f"WHEN MATCHED{_is_not_older(table)} THEN UPDATE SET {updates}"] if updates else []),
            f"WHEN NOT MATCHED THEN INSERT ({columns(table)}) VALUES ({values})",
        )
    )


def same_key(table: TableSync, other: str) -> str:
    """Return the condition that the destination's row has the key of the row called `other`."""
    published = destination_alias(table)
    return " AND ".join(f"{published}.{quoted(name)} = {other}.{quoted(name)}" for name in table.primary_key)


def required_filter(table: TableSync) -> list[str]:
    """Return the condition that the destination demands of every statement; none where it demands none."""
    column = table.required_filter_column
    return [] if column is None else [always_true_filter(f"{destination_alias(table)}.{quoted(column)}")]


def _key_range(table: TableSync) -> list[str]:
    """Return the condition that leaves out the blocks without a key of the rows; none where no block is left out."""
    if table.clustered_by is None:
        return []
    return [f"{destination_alias(table)}.{quoted(table.clustered_by.name)} BETWEEN {FIRST_KEY} AND {LAST_KEY}"]


def _is_not_older(table: TableSync) -> str:
    """Return the condition by which a row replaces the one that has its key; empty where it always does."""
    if table.timestamp_column is None:
        return ""
    column = quoted(table.timestamp_column)
    old, new = f"{destination_alias(table)}.{column}", f"{table.schema.free_name('s')}.{column}"
    type_name = table.schema.field(table.timestamp_column).type
    is_replaced = f"{new} >= {old}"
    if table.is_backfill and table.interval is not None:
        # No version of a row appears at or before the interval's end after the read: the source has it no longer.
        is_replaced = interval_condition(old, type_name, TimestampBounds("", None, table.interval.end))
    if type_name == "INT64":
        # Nothing is in the future of a sequence.
        return f" AND ({old} IS NULL OR {new} IS NULL OR {is_replaced})"
    return f" AND ({old} IS NULL OR {new} IS NULL OR {is_replaced} OR {old} > {now_sql(table, type_name)})"


def now_sql(table: TableSync, type_name: str) -> str:
    """Return what the clock of the timestamps shows now, whatever a project's default_time_zone is."""
    clock = table.interval.wall_clock if table.interval is not None else None
    if clock is None and type_name == "TIMESTAMP":
        return "CURRENT_TIMESTAMP()"
    if type_name == "DATE":
        return f"CURRENT_DATE('{clock.zone if clock is not None else 'UTC'}')"
    now = f"CURRENT_DATETIME('{clock.zone if clock is not None else 'UTC'}')"
    # Readings of a wall clock are compared, and stored in a TIMESTAMP, as if they were UTC.
    return now if type_name == "DATETIME" else f"TIMESTAMP({now}, 'UTC')"


def _pruned_merge(table: TableSync, column: Field, rows: _Rows) -> MergeStatements:
    moment = f"{destination_alias(table)}.{quoted(column.name)}"
    old_partition = partition_sql(moment, column, table.layout)
    pruning = f"({old_partition} IN UNNEST({OLD_PARTITIONS}) OR ({OLD_IS_NULL} AND {moment} IS NULL))"
    return MergeStatements(
        declarations=(
            f"{OLD} STRUCT<partitions ARRAY<{column.type}>, has_null BOOL>",
            f"{OLD_PARTITIONS} ARRAY<{column.type}>",
            f"{OLD_IS_NULL} BOOL",
        ),
        before=rows.before,
        merge=(
            f"SET {OLD} = (\n{_old_partitions_sql(table, column, rows.table, moment, old_partition)})",
            # A row that nobody has is in no partition.
            f"SET {OLD_PARTITIONS} = IFNULL({OLD}.partitions, [])",
            f"SET {OLD_IS_NULL} = IFNULL({OLD}.has_null, FALSE)",
            _partition_limit(table, rows.table, column),
            _merge(table, rows.sql, pruning),
        ),
    )


def _old_partitions_sql(table: TableSync, column: Field, rows: str, moment: str, old_partition: str) -> str:
    """Return the query for the partitions that hold the destination's rows with the keys of `rows`."""
    staged = table.schema.free_name("s")
    if incoming := _key_part(table, column):
        # Both versions of a row are in one partition. A key is never NULL.
        new_partition = partition_sql(f"{staged}.{quoted(incoming.name)}", column, table.layout)
        return (
            f"SELECT AS STRUCT ARRAY_AGG(DISTINCT {new_partition}) AS partitions, FALSE AS has_null\n"
            f"FROM {rows} AS {staged}\n"
        )
    keys = ", ".join(map(quoted, table.primary_key))
    sql = (
        f"SELECT AS STRUCT ARRAY_AGG(DISTINCT {old_partition} IGNORE NULLS) AS partitions, "
        f"LOGICAL_OR({moment} IS NULL) AS has_null\n"
        f"FROM {destination_rows(table)}\n"
        f"JOIN (SELECT DISTINCT {keys} FROM {rows}) AS {staged}\nON {same_key(table, staged)}\n"
    )
    filters = [*required_filter(table), *_key_range(table)]
    return f"{sql}WHERE {' AND '.join(filters)}\n" if filters else sql


def _key_part(table: TableSync, column: Field) -> Field | None:
    """Return the partition column of the rows, if it is part of the key and compared as it is."""
    incoming = next(
        (table.schema.field(name) for name in table.primary_key if name.lower() == column.name.lower()), None
    )
    return incoming if incoming is not None and incoming.type == column.type else None


def _partition_limit(table: TableSync, rows: str, column: Field) -> str:
    """Return the statement that fails when the merge would change more partitions than one job may."""
    incoming = table.schema.find(column.name)
    new_partition = f"CAST(NULL AS {column.type})"
    if incoming is not None:
        new_partition = partition_sql(f"{table.schema.free_name('s')}.{quoted(incoming.name)}", column, table.layout)
    return (
        f"ASSERT (\nSELECT COUNT(*) + IF({OLD_IS_NULL}, 1, 0)\n"
        f"FROM (SELECT * FROM UNNEST({OLD_PARTITIONS})\nUNION DISTINCT\n"
        f"SELECT {new_partition} FROM {rows} AS {table.schema.free_name('s')})\n"
        f") <= {MAX_PARTITIONS_PER_JOB} AS {string_literal(_too_many(column, table))}"
    )


def _too_many(column: Field, table: TableSync) -> str:
    coarser = coarser_granularity(column, table.layout)
    remedy = f"build the table with partition_granularity={coarser} (delete_existing_table), or " if coarser else ""
    return raised_text(
        SchemaError,
        f"the merge changes rows in more than {MAX_PARTITIONS_PER_JOB:,} partitions of {column.name} "
        f"by {table.layout.partition_granularity}, older row versions included, BigQuery's limit for one job: "
        f"{remedy}partition it by a column that does not change, or merge a shorter interval a run",
    )
