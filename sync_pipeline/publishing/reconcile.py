"""Reconcile: one query job compares the destination with the staged rows of the source, and may correct what differs.

A report reads the destination once and changes nothing. A repair compares and corrects in one transaction, so it judges
the rows as it finds them: an update that another run has published since this one was planned is later than all that
this one has read, and stays.
"""

from __future__ import annotations

from dataclasses import dataclass

from sync_pipeline.bigquery_api.job_records import last_row
from sync_pipeline.bigquery_api.jobs import FinishedJob
from sync_pipeline.bigquery_api.raised_errors import raised_text
from sync_pipeline.errors import ConcurrentSyncError
from sync_pipeline.googlesql import quoted, string_literal
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.planning.plan_reconcile import content_sql
from sync_pipeline.publishing.differences import (
    FOUND,
    KEPT,
    SOURCE_ROWS,
    Kind,
    columns_compared,
    conditions_on_destination,
    found_alias,
    found_sql,
    in_found,
    number_of_differences,
    row_key,
    source_alias,
)
from sync_pipeline.publishing.jobs import PUBLISH
from sync_pipeline.publishing.merge import same_key
from sync_pipeline.publishing.removal_limit import allowed_sql
from sync_pipeline.publishing.rows_query import (
    columns,
    count_check,
    destination_alias,
    destination_rows,
    if_sql,
    select_sql,
)
from sync_pipeline.publishing.strategy import DifferenceCounts, Published, QueryStrategy
from sync_pipeline.schema import Field

# The variable of the script.
_COUNTS = "sync_counts"

_SURPLUS = (Kind.SURPLUS, Kind.ADDITIONAL)
_WRONG = (Kind.MISSING, Kind.DIFFERENT)


@dataclass(frozen=True)
class CompareRows(QueryStrategy):
    """Compare the destination with the source's rows, and correct the differing ones if the plan says so."""

    rejected: int

    def publish(self) -> Published:
        """Run the script. Raises PublishError."""
        table = self.table
        assert table.reconciliation is not None
        repairs = table.reconciliation.repairs
        sql = reconcile_sql(table, self.staged.rows, self.rejected)
        finished = self.jobs.query(sql, PUBLISH if repairs else "compare")
        if not finished.is_ours:
            return Published(finished)
        counts = self._counts(finished)
        if not repairs and counts.missing and self._may_have_been_removed():
            raise ConcurrentSyncError(changed_meanwhile(table))
        return Published(finished, counts.missing + counts.different if repairs else 0, differences=counts)

    def _may_have_been_removed(self) -> bool:
        """Return whether a run that has read the source later may have removed rows that this one has read."""
        reconciliation = self.table.reconciliation
        assert reconciliation is not None
        next_run = reconciliation.next_run
        return next_run is not None and next_run.deletes and self.jobs.run_from_latest() is not None

    def _counts(self, finished: FinishedJob) -> DifferenceCounts:
        table = self.table
        assert table.reconciliation is not None
        row = last_row(finished.job, "found")
        by_column = {field.name: row[f"d{number}"] for number, field in enumerate(_columns_counted(table))}
        return DifferenceCounts(
            source_rows=row["source_rows"],
            destination_rows=row["destination_rows"],
            missing=row["missing"],
            different=row["different"],
            surplus=row["surplus"] + row["additional"],
            by_column={name: count for name, count in by_column.items() if count},
            new_missing=row["new_missing"],
            new_different=row["new_different"],
            new_surplus=row["new_surplus"],
            later=row["later"],
            older=row["older"],
            unjudged=row["unjudged"],
            rejected=self.rejected,
            is_repaired=table.reconciliation.repairs,
            max_percent=table.reconciliation.max_percent,
        )


def changed_meanwhile(table: TableSync) -> str:
    """Return the error message of a comparison that does not hold, because another run has changed the table."""
    return (
        f"reconcile: another run has changed {table.table_id} since this one looked at it, so the rows were not "
        "compared, and none was changed: run it again, at a time without other runs"
    )


def reconcile_sql(table: TableSync, rows: int, rejected: int) -> str:
    """Return the script that compares the rows, corrects them in one transaction if asked to, and selects the counts.

    Args:
        rows: how many rows the staging table must hold.
        rejected: how many rows of the source were rejected.
    """
    reconciliation = table.reconciliation
    assert reconciliation is not None
    repairs = reconciliation.repairs
    found = f"CREATE TEMP TABLE {FOUND} AS\n{found_sql(table, rejected)}"
    statements = [f"CREATE TEMP TABLE {SOURCE_ROWS} AS\n{select_sql(table)}"]
    if repairs:
        statements += ["BEGIN TRANSACTION", *_content_check(table), found, *_repair(table)]
    else:
        statements += [found, *_content_check(table)]
    statements.append(counts_sql(table))
    if repairs:
        statements.append("COMMIT TRANSACTION")
    declaration = [f"DECLARE {_COUNTS} STRUCT<surplus INT64, existing INT64, wrong INT64>"] if repairs else []
    block = "BEGIN\n" + "".join(f"{statement};\n" for statement in [*declaration, *statements]) + "END"
    return block if table.selection is not None else f"{count_check(table.staging_table_id, rows)};\n{block}"


def counts_sql(table: TableSync) -> str:
    """Return the query for the counts, as one row."""
    assert table.reconciliation is not None
    # The rows before a repair.
    existing = f"{_COUNTS}.existing" if table.reconciliation.repairs else f"({_existing_sql(table)})"
    amount = "1" if table.primary_key else "f.copies"
    kinds = [f"IFNULL(SUM(IF(f.kind = {string_literal(kind.value)}, {amount}, 0)), 0) AS {kind.value}" for kind in Kind]
    flags = [
        f"COUNTIF(f.kind = {string_literal(Kind.DIFFERENT.value)} AND f.d{number}) AS d{number}"
        for number in range(len(_columns_counted(table)))
    ]
    return "\n".join(
        (
            f"SELECT (SELECT COUNT(*) FROM {SOURCE_ROWS}) AS source_rows,",
            f"  {existing} AS destination_rows,",
            f"  {', '.join([*kinds, *flags])}",
            f"FROM {FOUND} AS f",
        )
    )


def _columns_counted(table: TableSync) -> tuple[Field, ...]:
    return columns_compared(table) if table.primary_key else ()


def _content_check(table: TableSync) -> list[str]:
    """Return the statement that fails if the destination is not as it was when the run looked at it."""
    assert table.reconciliation is not None
    content = table.reconciliation.content
    if content is None:
        return []
    problem = string_literal(raised_text(ConcurrentSyncError, changed_meanwhile(table)))
    sql = content_sql(table.table_id, table.required_filter_column, destination_alias(table))
    return [f"ASSERT (\n{sql}\n) = {string_literal(content)} AS {problem}"]


def _existing_sql(table: TableSync) -> str:
    """Return the query for the number of the destination's rows that are compared, without marked ones."""
    assert table.reconciliation is not None
    conditions = conditions_on_destination(table)
    if table.reconciliation.mark:
        conditions.append(f"{destination_alias(table)}.{quoted(table.reconciliation.mark)} IS NULL")
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT COUNT(*) FROM {destination_rows(table)}{where}"


def _repair(table: TableSync) -> list[str]:
    assert table.reconciliation is not None
    max_percent = table.reconciliation.max_percent
    existing = f"{_COUNTS}.existing"
    removal = [
        f"CREATE TEMP TABLE {KEPT} AS\n{_kept_sql(table)}",
        _delete_sql(table),
        f"INSERT INTO {quoted(table.table_id)}\nSELECT * FROM {KEPT}",
    ]
    return [
        f"SET {_COUNTS} = (\n{_decisive_counts_sql(table)}\n)",
        if_sql(allowed_sql(f"{_COUNTS}.surplus", existing, existing, max_percent), *removal),
        if_sql(f"{_COUNTS}.wrong > 0", _correction_sql(table)),
    ]


def _decisive_counts_sql(table: TableSync) -> str:
    amount = "1" if table.primary_key else "f.copies"
    surplus, wrong = (
        f"IFNULL(SUM(IF(f.kind IN ({', '.join(string_literal(kind.value) for kind in kinds)}), {amount}, 0)), 0)"
        for kinds in (_SURPLUS, _WRONG)
    )
    return (
        f"SELECT AS STRUCT {surplus} AS surplus, ({_existing_sql(table)}) AS existing, {wrong} AS wrong\n"
        f"FROM {FOUND} AS f"
    )


def _kept_sql(table: TableSync) -> str:
    """Return the query for the rows that stay of those that the destination has too often, with all their columns."""
    published, source = destination_alias(table), source_alias(table)
    filters = conditions_on_destination(table)
    if table.primary_key:
        keys = ", ".join(f"{published}.{quoted(name)}" for name in table.primary_key)
        conditions = [*filters, in_found(table, published, [Kind.ADDITIONAL])]
        return (
            f"SELECT {published}.*\nFROM {destination_rows(table)}\nJOIN {SOURCE_ROWS} AS {source}\n"
            f"ON {same_key(table, source_alias(table))}\nWHERE {' AND '.join(conditions)}\n"
            f"QUALIFY ROW_NUMBER() OVER (PARTITION BY {keys} ORDER BY {number_of_differences(table)}) = 1"
        )
    key, found = row_key(table, published), found_alias(table)
    where = f"\nWHERE {' AND '.join(filters)}" if filters else "\nWHERE TRUE"
    return (
        f"SELECT {published}.*\nFROM {destination_rows(table)}\n"
        f"JOIN ({_found_sql(table, Kind.SURPLUS)}) AS {found}\nON {found}.row_key = {key}{where}\n"
        f"QUALIFY ROW_NUMBER() OVER (PARTITION BY {found}.row_key) <= {found}.here"
    )


def _found_sql(table: TableSync, kind: Kind) -> str:
    found = found_alias(table)
    return f"SELECT {found}.* FROM {FOUND} AS {found} WHERE {found}.kind = {string_literal(kind.value)}"


def _delete_sql(table: TableSync) -> str:
    """Return the statement that removes all rows with a key that the destination has too often."""
    assert table.reconciliation is not None
    alias, mark = destination_alias(table), table.reconciliation.mark
    surplus = in_found(table, alias, _SURPLUS)
    if mark is not None:
        # The source need not have a marked row.
        is_unmarked = f"{alias}.{quoted(mark)} IS NULL"
        surplus = (
            f"({in_found(table, alias, [Kind.ADDITIONAL])} OR "
            f"{is_unmarked} AND {in_found(table, alias, [Kind.SURPLUS])})"
        )
    return f"DELETE FROM {destination_rows(table)}\nWHERE {' AND '.join([*conditions_on_destination(table), surplus])}"


def _correction_sql(table: TableSync) -> str:
    """Return the statement that inserts the missing rows, and updates the different ones."""
    source, found = source_alias(table), found_alias(table)
    if not table.primary_key:
        names = ", ".join(f"{source}.{quoted(field.name)}" for field in table.schema)
        return (
            f"INSERT INTO {quoted(table.table_id)} ({columns(table)})\n"
            f"SELECT {names}\nFROM {SOURCE_ROWS} AS {source}\n"
            f"JOIN ({_found_sql(table, Kind.MISSING)}) AS {found}\n"
            f"ON {found}.row_key = {row_key(table, source)}\nWHERE TRUE\n"
            f"QUALIFY ROW_NUMBER() OVER (PARTITION BY {found}.row_key) <= {found}.copies"
        )
    updates = ", ".join(f"{quoted(field.name)} = {source}.{quoted(field.name)}" for field in columns_compared(table))
    values = ", ".join(f"{source}.{quoted(name)}" for name in table.schema.names)
    matches = [same_key(table, source_alias(table)), *conditions_on_destination(table)]
    return "\n".join(
        (
            f"MERGE INTO {destination_rows(table)}",
            f"USING (SELECT * FROM {SOURCE_ROWS} AS {source}\nWHERE {in_found(table, source, _WRONG)}) AS {source}",
            f"ON {' AND '.join(matches)}",
            *([f"WHEN MATCHED THEN UPDATE SET {updates}"] if updates else []),
            f"WHEN NOT MATCHED THEN INSERT ({columns(table)}) VALUES ({values})",
        )
    )
