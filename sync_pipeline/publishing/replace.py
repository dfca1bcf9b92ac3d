"""Replace: a new table in the destination's place, by one statement, or built beside it and renamed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sync_pipeline.auto_schema.ddl import create_table_sql
from sync_pipeline.bigquery_api.client import rows_in_table
from sync_pipeline.bigquery_api.job_records import changed_rows
from sync_pipeline.googlesql import quoted, string_literal
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.publishing.jobs import PUBLISH
from sync_pipeline.publishing.refill import refill_statements
from sync_pipeline.publishing.rows_query import script, select_sql
from sync_pipeline.publishing.strategy import Published, QueryStrategy
from sync_pipeline.publishing.tables import STAGING_TABLE_HOURS


class ReplaceTable(QueryStrategy):
    """Put a new table of the same layout in the destination's place, by one statement."""

    def publish(self) -> Published:
        """Run the statement of `replace_sql`. Raises PublishError."""
        finished = self.jobs.query(replace_sql(self.table, self.staged.rows), PUBLISH)
        return Published.by(finished, lambda: rows_in_table(self.jobs.client, self.table.table_id))


class SwapTables(QueryStrategy):
    """Build a table beside the destination, of another layout or by several statements, and rename both."""

    def publish(self) -> Published:
        """Run the scripts of `build_sql` and `swap_sql`. Raises PublishError."""
        built = self.jobs.query(build_sql(self.table, self.staged.rows, self.staged.partition_groups), "build")
        swapped = self.jobs.query(swap_sql(self.table), PUBLISH)
        return Published.by(swapped, lambda: changed_rows(self.jobs.client, built.job))


def replace_sql(table: TableSync, rows: int) -> str:
    """Return the statement that puts a new table, with the rows of `select_sql`, in the destination's place.

    BigQuery does that only for a table of the same layout; `build_sql` and `swap_sql` do it for another one.
    https://cloud.google.com/bigquery/docs/reference/standard-sql/data-definition-language#create_table_statement
    """
    create = create_table_sql(
        table.table_id, table.schema, table.layout, create="CREATE OR REPLACE TABLE", options=table.replacement_options
    )
    return script(table, rows, f"{create}\nAS {select_sql(table)}")


def build_sql(table: TableSync, rows: int, partitions: Sequence[frozenset[str | None]] = ()) -> str:
    """Return the statements that build the table to be swapped in; it expires if it never is."""
    table_id = table.replacement_table_id
    create = create_table_sql(
        table_id,
        table.schema,
        # Declared when the table has its name: one with a key cannot be renamed.
        # https://cloud.google.com/bigquery/docs/information-schema-table-constraints#limitations
        replace(table.layout, primary_key=()),
        create="CREATE TABLE IF NOT EXISTS",
        options={
            **table.replacement_options,
            "expiration_timestamp": f"TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL {STAGING_TABLE_HOURS} HOUR)",
        },
    )
    return script(table, rows, create, *refill_statements(table, table_id, partitions))


def swap_sql(table: TableSync) -> str:
    """Return the script that puts the built table in the destination's place.

    No table has the destination's name for the moment between the two renamings; if the second one fails, the first is
    taken back. Once the built table is gone the script does nothing, so that it can be repeated. A declared key is
    dropped before, as it would forbid the renaming, and declared after it.
    """
    destination, built, old = (
        quoted(name) for name in (table.table_id, table.replacement_table_id, table.replaced_table_id)
    )
    old_name, built_name = (name.rpartition(".")[2] for name in (table.replaced_table_id, table.replacement_table_id))
    dataset = quoted(table.table_id.rpartition(".")[0])
    key = ", ".join(map(quoted, table.layout.primary_key))
    declare = f"  ALTER TABLE {destination} ADD PRIMARY KEY ({key}) NOT ENFORCED;\n" if key else ""
    return f"""\
IF EXISTS (SELECT 1 FROM {dataset}.INFORMATION_SCHEMA.TABLES WHERE table_name = {string_literal(built_name)}) THEN
  ALTER TABLE {built} SET OPTIONS (expiration_timestamp = {table.options.expiration_sql});
  BEGIN
    ALTER TABLE IF EXISTS {destination} DROP PRIMARY KEY IF EXISTS;
    ALTER TABLE IF EXISTS {destination} RENAME TO {quoted(old_name)};
    ALTER TABLE {built} RENAME TO {quoted(table.config.destination.table)};
  EXCEPTION WHEN ERROR THEN
    ALTER TABLE IF EXISTS {old} RENAME TO {quoted(table.config.destination.table)};
    RAISE;
  END;
{declare}END IF;
DROP TABLE IF EXISTS {old}"""
