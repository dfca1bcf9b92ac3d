"""Finds the columns of a table that are never NULL, in any row that a read of the table returns.

NOT NULL of the table itself is not sufficient: a child table may lack it, and since PostgreSQL 18 the catalog also
shows it for a constraint that is NOT VALID, which existing rows may violate.
"""

from __future__ import annotations

from typing import Any

_NEVER_NULL_SQL = """
    WITH RECURSIVE tree AS (
        SELECT %(oid)s::oid AS oid
      UNION
        SELECT i.inhrelid FROM pg_inherits i JOIN tree ON i.inhparent = tree.oid
    )
    SELECT r.attnum FROM pg_attribute r
    WHERE r.attrelid = %(oid)s AND r.attnum > 0 AND NOT r.attisdropped AND NOT EXISTS (
        SELECT FROM tree JOIN pg_attribute a ON a.attrelid = tree.oid AND a.attname = r.attname
        WHERE NOT a.attnotnull OR EXISTS (
            SELECT FROM pg_constraint c
            WHERE c.conrelid = a.attrelid AND c.contype = 'n' AND NOT c.convalidated AND a.attnum = ANY(c.conkey)
        )
    )
"""


def never_null_columns(cursor: Any, table_oid: int) -> frozenset[int]:
    """Return the numbers of the columns that are NOT NULL in the table and in all tables that inherit from it."""
    cursor.execute(_NEVER_NULL_SQL, {"oid": table_oid})
    return frozenset(number for (number,) in cursor.fetchall())
