"""Fast look-ups in the emulator's catalog; patches of the emulator in memory.

To find one name, `duckdb_tables()` and `duckdb_columns()` list all tables, and the result of every job is one. These
look-ups name the table to DuckDB instead. Like the originals they see committed data.
"""

import functools
import sys
import threading

import duckdb
from local_bigquery.catalog import datasets, metadata, names, tabledata, tables
from local_bigquery.engine import database, types
from local_bigquery.engine.database import quote
from local_bigquery.errors import not_found
from local_bigquery.jobs import query
from local_bigquery.models import Dataset
from local_bigquery.sql.rules import partitions

_TEMPORARY_TABLES = "SELECT table_name FROM duckdb_tables() WHERE temporary"


def apply() -> None:
    """Patch the emulator's modules; call once, before the first request."""
    keep_a_cursor_for_each_thread()
    find_datasets_by_their_records()
    find_objects_by_name()
    find_required_columns_by_name()
    find_a_hidden_column_by_name()
    list_temporary_tables_of_sessions_only()


def keep_a_cursor_for_each_thread() -> None:
    """Unpatched: each statement on the emulator's own tables opens a connection, which takes half of its time."""
    of_thread = threading.local()

    def run(sql, parameters=None):
        connection = database.connection()
        if getattr(of_thread, "connection", None) is not connection:
            of_thread.connection, of_thread.cursor = connection, connection.cursor()
        return of_thread.cursor.execute(sql, parameters).fetchall()

    def fetch(sql, params=None):
        return run(sql, params)

    def execute(sql, params=None):
        run(sql, params)

    replaced = {"fetch": (database.fetch, fetch), "execute": (database.execute, execute)}
    for name, module in list(sys.modules.items()):
        for attribute, (old, new) in replaced.items():
            if name.startswith("local_bigquery.") and getattr(module, attribute, None) is old:
                setattr(module, attribute, new)


def find_datasets_by_their_records() -> None:
    """Unpatched: to find one dataset, all schemas of all databases are listed. Some have no record."""
    exists = datasets.exists

    def recorded_or_there(project_id, dataset_id):
        return metadata.load(Dataset, project_id, dataset_id) is not None or exists(project_id, dataset_id)

    datasets.exists = recorded_or_there


def find_objects_by_name() -> None:
    """Unpatched: to look up one name, the emulator lists the tables and views of all datasets, and all job results."""
    objects = database.objects

    def objects_by_name(project_id, dataset_id, table_id=None):
        return objects(project_id, dataset_id) if table_id is None else _object(project_id, dataset_id, table_id)

    database.objects = objects_by_name


def _object(project_id, dataset_id, table_id):
    if dataset_id is None:
        return []
    try:
        # Only a table has row ids.
        [(rows,)] = database.fetch(f"SELECT count(rowid) FROM {quote(project_id, dataset_id, table_id)}")
    except (duckdb.CatalogException, duckdb.BinderException):
        if dataset_id == tables.RESULTS:
            return []
        return database.fetch(
            "SELECT view_name, 'VIEW', 0 FROM duckdb_views() WHERE database_name = ? AND schema_name = ? "
            "AND view_name = ?",
            [project_id, dataset_id, table_id],
        )
    return [(table_id, "TABLE", rows)]


def find_required_columns_by_name() -> None:
    """Unpatched: to find the REQUIRED columns of one table, the emulator lists the columns of all tables."""

    def columns_by_name(project_id, dataset_id, table_id):
        try:
            described = database.fetch(f"DESCRIBE {tables.name(project_id, dataset_id, table_id)}")
        except duckdb.CatalogException:
            raise not_found("Table", names.label(project_id, dataset_id, table_id)) from None
        return [
            types.field(name, _type(text), null == "NO")
            for name, text, null, *_ in described
            if name != tables.INGESTION_TIME or dataset_id == tables.RESULTS
        ]

    tables.columns = tabledata.columns = columns_by_name


@functools.cache
def _type(text):
    return duckdb.sqltype(text, connection=database.connection())


def find_a_hidden_column_by_name() -> None:
    """Unpatched: to detect partitioning by ingestion time, the emulator lists the columns of all tables."""

    def hidden_by_name(table):
        if not (table.catalog and table.db) or not isinstance(table.this, partitions.exp.Identifier):
            return False
        name = quote(table.catalog, table.db, table.name)
        try:
            database.fetch(f"SELECT {quote(tables.INGESTION_TIME)} FROM {name} LIMIT 0")
        except duckdb.Error:
            return False
        return True

    partitions._hidden = hidden_by_name


def list_temporary_tables_of_sessions_only() -> None:
    """Unpatched: before each statement all tables are listed to find temporary ones, which only a session can have."""
    execute = query.execute

    def execute_without_list(cur, project_id, job_id, config, dry_run=False, session=None):
        cur = cur if session else _FreshCursor(cur)
        return execute(cur, project_id, job_id, config, dry_run, session)

    query.execute = execute_without_list


class _FreshCursor:
    """A cursor for one statement; it has no temporary tables when the statement starts."""

    def __init__(self, cur):
        self._cur = cur

    def sql(self, statement, **options):
        return self._cur.sql("SELECT '' WHERE false" if statement == _TEMPORARY_TABLES else statement, **options)

    def __getattr__(self, name):
        return getattr(self._cur, name)
