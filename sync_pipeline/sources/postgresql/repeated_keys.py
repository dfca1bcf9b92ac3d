"""Decides whether the rows of a query may repeat a table's key, through a join or through child tables.

A primary key in PostgreSQL is unique within one table and its partitions, but not across inheritance children.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from psycopg2.extensions import connection as Connection

from sync_pipeline.printable import named
from sync_pipeline.sources.postgresql.connection import translated_errors
from sync_pipeline.sources.postgresql.repeatable import explained, reads_only, repeats_rows, scanned_relations

# The given tables and their descendants at any depth, and whether each is a given table or a partition.
_DESCENDANTS_SQL = """
    WITH RECURSIVE tree AS (
        SELECT c.oid AS root, c.oid FROM pg_class c WHERE c.oid = ANY(%(oids)s)
      UNION
        SELECT tree.root, i.inhrelid FROM pg_inherits i JOIN tree ON i.inhparent = tree.oid
    )
    SELECT tree.root::regclass::text, n.nspname || '.' || c.relname, c.oid = tree.root OR c.relispartition
    FROM tree JOIN pg_class c ON c.oid = tree.oid JOIN pg_namespace n ON n.oid = c.relnamespace
    ORDER BY 1, 2
"""


def reads_table_alone(connection: Connection, query: str, table_oid: int) -> bool:
    """Whether a query returns only rows of one table and its partitions, each at most once."""
    with translated_errors(), connection.cursor() as cursor:
        cursor.execute(_DESCENDANTS_SQL, {"oids": [table_oid]})
        members = frozenset(name for _, name, shares_key in cursor.fetchall() if shares_key)
        plan = explained(cursor, query)
    return reads_only(plan, members) and not repeats_rows(plan)


def child_table_risks(connection: Connection, query: str, table_oids: Iterable[int]) -> list[str]:
    """Return warnings for a merge whose query also reads inheritance children of its tables."""
    children: dict[str, list[str]] = {}
    with translated_errors(), connection.cursor() as cursor:
        cursor.execute(_DESCENDANTS_SQL, {"oids": list(table_oids)})
        for parent, name, shares_key in cursor.fetchall():
            if not shares_key:
                children.setdefault(parent, []).append(name)
        scanned = scanned_relations(explained(cursor, query)) if children else frozenset()
    risks = []
    for parent, names in children.items():
        read = [name for name in names if name in scanned]
        if read:
            risks.append(child_table_risk(parent, read))
    return risks


def child_table_risk(parent: str, children: Sequence[str]) -> str:
    """Return the warning for a merge that also reads these inheritance children of a table."""
    return (
        f"the query also reads the child tables of {parent} ({named(children, 3)}), whose rows may repeat its keys: "
        f"the merge loads one row per key. If keys repeat, select FROM ONLY {parent}, or add "
        "tableoid::regclass::text AS child_table to the query and child_table to primary_key"
    )
