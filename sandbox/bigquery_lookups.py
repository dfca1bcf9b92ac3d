"""Look-ups in the emulator's catalog that cost the same however many tables there are; patches of it in memory.

`duckdb_tables()` reads the statistics of every table of every dataset, 1.6 ms each, to find a single name. These ask
DuckLake's own tables: https://ducklake.select/docs/stable/specification/tables/overview. Like what they replace they
see what is committed, and compare names exactly.
"""

import duckdb
from local_bigquery.catalog import datasets, names, tables
from local_bigquery.engine import database, types
from local_bigquery.engine.database import quote
from local_bigquery.errors import not_found
from local_bigquery.jobs import query

_TEMPORARY_TABLES = "SELECT table_name FROM duckdb_tables() WHERE temporary"


def apply() -> None:
    """Patch the emulator's modules; call once, before the first request."""
    find_objects_by_name()
    find_a_dataset_by_name()
    find_required_columns_by_name()
    list_temporary_tables_of_sessions_only()


def find_objects_by_name() -> None:
    """One name was looked up by listing the tables and views of all datasets, and the results of all jobs."""
    objects = database.objects

    def objects_by_name(project_id, dataset_id, table_id=None):
        if (project_id, dataset_id) == ("emulator", tables.RESULTS) and table_id is not None:
            return _result(table_id)
        if project_id not in database._attached:
            return objects(project_id, dataset_id, table_id)
        catalog = _catalog(project_id)
        return database.fetch(
            f"WITH one AS (SELECT schema_id FROM {catalog}.ducklake_schema "
            "WHERE schema_name = $1 AND end_snapshot IS NULL) "
            f"SELECT table_name, 'TABLE', coalesce(record_count, 0) FROM {catalog}.ducklake_table "
            f"SEMI JOIN one USING (schema_id) LEFT JOIN {catalog}.ducklake_table_stats USING (table_id) "
            "WHERE table_name = coalesce($2, table_name) AND end_snapshot IS NULL "
            f"UNION ALL SELECT view_name, 'VIEW', 0 FROM {catalog}.ducklake_view SEMI JOIN one USING (schema_id) "
            "WHERE view_name = coalesce($2, view_name) AND end_snapshot IS NULL ORDER BY 1",
            [dataset_id, table_id],
        )

    database.objects = objects_by_name


def _result(table_id):
    name = quote("emulator", tables.RESULTS, table_id)
    try:
        [(rows,)] = database.fetch(f"SELECT count(*) FROM {name}")
    except duckdb.CatalogException:
        return []
    return [(table_id, "TABLE", rows)]


def find_a_dataset_by_name() -> None:
    """One name was looked up by listing all schemas."""
    exists = datasets.exists

    def exists_by_name(project_id, dataset_id):
        if project_id not in database._attached:
            return exists(project_id, dataset_id)
        found = "WHERE schema_name = ? AND end_snapshot IS NULL"
        return bool(database.fetch(f"SELECT 1 FROM {_catalog(project_id)}.ducklake_schema {found}", [dataset_id]))

    datasets.exists = exists_by_name


def _catalog(project_id) -> str:
    return quote(f"__ducklake_metadata_{project_id}")


def find_required_columns_by_name() -> None:
    """The columns of one table that are REQUIRED were found by listing the columns of all tables."""

    def columns_by_name(project_id, dataset_id, table_id):
        table = tables.name(project_id, dataset_id, table_id)
        with database.cursor() as cur:
            try:
                relation = cur.sql(f"SELECT * FROM {table} LIMIT 0")
            except duckdb.CatalogException:
                raise not_found("Table", names.label(project_id, dataset_id, table_id)) from None
            required = _required_columns(cur, project_id, dataset_id, table_id)
            return [
                types.field(name, kind, name in required)
                for name, kind in zip(relation.columns, relation.types, strict=True)
                if name != tables.INGESTION_TIME or dataset_id == tables.RESULTS
            ]

    tables.columns = columns_by_name


def _required_columns(cur, project_id, dataset_id, table_id):
    if dataset_id == tables.RESULTS:
        described = cur.execute(f"DESCRIBE {tables.name(project_id, dataset_id, table_id)}").fetchall()
        return {name for name, _, null, *_ in described if null == "NO"}
    catalog = _catalog(project_id)
    found = cur.execute(
        f"SELECT column_name FROM {catalog}.ducklake_schema AS one JOIN {catalog}.ducklake_table AS two "
        f"USING (schema_id) JOIN {catalog}.ducklake_column AS three USING (table_id) WHERE schema_name = ? "
        "AND table_name = ? AND parent_column IS NULL AND NOT nulls_allowed AND one.end_snapshot IS NULL "
        "AND two.end_snapshot IS NULL AND three.end_snapshot IS NULL",
        [dataset_id, table_id],
    )
    return {name for (name,) in found.fetchall()}


def list_temporary_tables_of_sessions_only() -> None:
    """Before each statement all tables were listed to find the temporary ones, which only a session can have."""
    execute = query.execute

    def execute_without_list(cur, project_id, job_id, config, dry_run=False, session=None):
        cur = cur if session else _FreshCursor(cur)
        return execute(cur, project_id, job_id, config, dry_run, session)

    query.execute = execute_without_list


class _FreshCursor:
    """A cursor that was made for one statement, and has no temporary tables when that begins."""

    def __init__(self, cur):
        self._cur = cur

    def sql(self, statement, **options):
        return self._cur.sql("SELECT '' WHERE false" if statement == _TEMPORARY_TABLES else statement, **options)

    def __getattr__(self, name):
        return getattr(self._cur, name)
