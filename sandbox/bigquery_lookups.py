"""Fast and cached look-ups in the emulator's catalog; patches of the emulator in memory.

To find one name, `duckdb_tables()` reads the statistics of every table of every dataset, 1.6 ms each. These look-ups
query DuckLake's own tables: https://ducklake.select/docs/stable/specification/tables/overview. Like the originals they
see committed data and compare names exactly. Answers from DuckLake are cached until its next snapshot, or until its
next schema version; answers from the emulator's own tables, until it writes to them.
"""

import functools
import sys
import threading

import duckdb
from local_bigquery.catalog import datasets, metadata, names, row_access, tabledata, tables
from local_bigquery.engine import database, types
from local_bigquery.engine.database import quote
from local_bigquery.errors import not_found
from local_bigquery.jobs import query
from local_bigquery.sql.rules import partitions

_TEMPORARY_TABLES = "SELECT table_name FROM duckdb_tables() WHERE temporary"
# By project and column of `ducklake_snapshot`: its newest value, and the answers since then by function and arguments.
_answers: dict[tuple[str, str], tuple[int, dict]] = {}


def apply() -> None:
    """Patch the emulator's modules; call once, before the first request."""
    keep_a_cursor_for_each_thread()
    remember_resources()
    find_objects_by_name()
    find_a_dataset_by_name()
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


def remember_resources() -> None:
    """Unpatched: each statement reads the record of a dataset or a table ten times or more."""
    fetch, execute, lock = database.fetch, database.execute, threading.Lock()
    answers: dict = {}

    def fetch_once(sql, parameters=()):
        key, then = (sql, tuple(parameters)), answers
        if key not in then:
            then[key] = fetch(sql, list(parameters))
        return then[key]

    def execute_and_forget(sql, parameters):
        nonlocal answers
        execute(sql, parameters)
        with lock:
            # A new dictionary: a concurrent reader then fills the old one, which nobody uses any more.
            answers = {}

    metadata.fetch = row_access.fetch = fetch_once
    metadata.execute = execute_and_forget


def find_objects_by_name() -> None:
    """Unpatched: to look up one name, the emulator lists the tables and views of all datasets, and all job results."""
    objects = database.objects

    def objects_by_name(project_id, dataset_id, table_id=None):
        if (project_id, dataset_id) == ("emulator", tables.RESULTS) and table_id is not None:
            return _result(table_id)
        if project_id not in database._attached:
            return objects(project_id, dataset_id, table_id)
        return _objects(project_id, dataset_id, table_id)

    database.objects = objects_by_name


def _result(table_id):
    name = quote("emulator", tables.RESULTS, table_id)
    try:
        [(rows,)] = database.fetch(f"SELECT count(*) FROM {name}")
    except duckdb.CatalogException:
        return []
    return [(table_id, "TABLE", rows)]


def _once_for_each(version):
    """Cache a function of a project and of names in it, while the column `version` of the snapshots is the same."""

    def remembering(function):
        @functools.wraps(function)
        def answered(project_id, *arguments):
            [(current,)] = database.fetch(f"SELECT max({version}) FROM {_catalog(project_id)}.ducklake_snapshot")
            newest, answers = _answers.get((project_id, version), (None, {}))
            if newest != current:
                answers = {}
                _answers[project_id, version] = (current, answers)
            key = (function, *arguments)
            if key not in answers:
                answers[key] = function(project_id, *arguments)
            return answers[key]

        return answered

    return remembering


def _catalog(project_id) -> str:
    return quote(f"__ducklake_metadata_{project_id}")


@_once_for_each("snapshot_id")
def _objects(project_id, dataset_id, table_id):
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


def find_a_dataset_by_name() -> None:
    """Unpatched: to look up one name, the emulator lists all schemas."""
    exists = datasets.exists

    def exists_by_name(project_id, dataset_id):
        if project_id not in database._attached:
            return exists(project_id, dataset_id)
        return _is_dataset(project_id, dataset_id)

    datasets.exists = exists_by_name


@_once_for_each("schema_version")
def _is_dataset(project_id, dataset_id):
    schemas = f"{_catalog(project_id)}.ducklake_schema"
    return bool(database.fetch(f"SELECT 1 FROM {schemas} WHERE schema_name = ? AND end_snapshot IS NULL", [dataset_id]))


def find_required_columns_by_name() -> None:
    """Unpatched: to find the REQUIRED columns of one table, the emulator lists the columns of all tables."""

    def columns_by_name(project_id, dataset_id, table_id):
        if dataset_id == tables.RESULTS or project_id not in database._attached:
            return _columns(project_id, dataset_id, table_id)
        return list(_remembered_columns(project_id, dataset_id, table_id))

    tables.columns = tabledata.columns = columns_by_name


def _columns(project_id, dataset_id, table_id):
    return [
        types.field(name, kind, is_required)
        for name, kind, is_required in _typed_columns(project_id, dataset_id, table_id)
        if name != tables.INGESTION_TIME or dataset_id == tables.RESULTS
    ]


@_once_for_each("schema_version")
def _remembered_columns(project_id, dataset_id, table_id):
    return _columns(project_id, dataset_id, table_id)


def _typed_columns(project_id, dataset_id, table_id):
    table = tables.name(project_id, dataset_id, table_id)
    with database.cursor() as cur:
        try:
            relation = cur.sql(f"SELECT * FROM {table} LIMIT 0")
        except duckdb.CatalogException:
            raise not_found("Table", names.label(project_id, dataset_id, table_id)) from None
        kinds = list(zip(relation.columns, relation.types, strict=True))
        if dataset_id == tables.RESULTS:
            described = cur.execute(f"DESCRIBE {table}").fetchall()
            required = {name for name, _, null, *_ in described if null == "NO"}
        else:
            required = _required_columns(cur, project_id, dataset_id, table_id)
        return [(name, kind, name in required) for name, kind in kinds]


def _required_columns(cur, project_id, dataset_id, table_id):
    catalog = _catalog(project_id)
    found = cur.execute(
        f"SELECT column_name FROM {catalog}.ducklake_schema AS one JOIN {catalog}.ducklake_table AS two "
        f"USING (schema_id) JOIN {catalog}.ducklake_column AS three USING (table_id) WHERE schema_name = ? "
        "AND table_name = ? AND parent_column IS NULL AND NOT nulls_allowed AND one.end_snapshot IS NULL "
        "AND two.end_snapshot IS NULL AND three.end_snapshot IS NULL",
        [dataset_id, table_id],
    )
    return {name for (name,) in found.fetchall()}


def find_a_hidden_column_by_name() -> None:
    """Unpatched: to detect partitioning by ingestion time, the emulator lists the columns of all tables."""
    hidden = partitions._hidden

    def hidden_by_name(table):
        if table.catalog not in database._attached:
            return hidden(table)
        return isinstance(table.this, partitions.exp.Identifier) and _is_hidden(table.catalog, table.db, table.name)

    partitions._hidden = hidden_by_name


@_once_for_each("schema_version")
def _is_hidden(project_id, dataset_id, table_id):
    catalog = _catalog(project_id)
    return bool(
        database.fetch(
            f"SELECT 1 FROM {catalog}.ducklake_schema AS one JOIN {catalog}.ducklake_table AS two USING (schema_id) "
            f"JOIN {catalog}.ducklake_column AS three USING (table_id) WHERE schema_name = ? AND table_name = ? "
            "AND column_name = ? AND one.end_snapshot IS NULL AND two.end_snapshot IS NULL "
            "AND three.end_snapshot IS NULL",
            [dataset_id, table_id, tables.INGESTION_TIME],
        )
    )


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
