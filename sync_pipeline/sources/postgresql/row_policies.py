"""Warns about row-level security, which silently hides rows from the user's queries.

https://www.postgresql.org/docs/current/ddl-rowsecurity.html
"""

from __future__ import annotations

from collections.abc import Iterable

from psycopg2.extensions import connection as Connection

from sync_pipeline.sources.postgresql.connection import translated_errors

_FILTERED_SQL = """
    SELECT oid::regclass::text FROM pg_class WHERE oid = ANY(%(oids)s) AND row_security_active(oid) ORDER BY 1
"""


def row_policy_risks(connection: Connection, table_oids: Iterable[int]) -> list[str]:
    """Return a warning for each table whose policies filter the rows for the user."""
    with translated_errors(), connection.cursor() as cursor:
        cursor.execute(_FILTERED_SQL, {"oids": list(table_oids)})
        tables = [name for (name,) in cursor.fetchall()]
    return [row_policy_risk(table) for table in tables]


def row_policy_risk(table: str) -> str:
    """Return the warning for a table whose policies filter the rows for the user."""
    return (
        f"row-level security of {table} applies to the user: the run does not read rows that its policies hide. To "
        "read all rows, give the user the attribute BYPASSRLS, or a policy that shows every row"
    )
