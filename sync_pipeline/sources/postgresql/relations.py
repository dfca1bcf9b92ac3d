"""All tables of a database, and which of them a wildcard chooses.

A table of the destination equals `SELECT * FROM` its table. What that means for wildcards:

* They choose what stores rows: tables, partitioned tables, materialized views. A view computes its rows from tables
  that are loaded already, at unknown cost, and a foreign table fetches them from another server: both must be named.
* Rows of partitions are read with their table, and rows of inheritance children with their parent. A child with columns
  of its own is chosen as well, because a read of its parent does not return these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sync_pipeline.parameters.source_tables import TableName

# The temporary tables of other sessions cannot be read, and names that begin with pg_ are the system's.
_RELATIONS_SQL = """
    SELECT c.oid, n.nspname, c.relname, c.relkind, c.relpersistence = 'u', c.relispopulated,
           coalesce(has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'), false),
           row_security_active(c.oid),
           (SELECT e.extname FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
            WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
              AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'),
           EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't'
      AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
    ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
"""

# The remedy if the user may not read a table.
GRANT = "GRANT SELECT on it, and USAGE on its schema"

# The words for pg_class.relkind.
KINDS = {
    "r": "table",
    "p": "partitioned table",
    "v": "view",
    "m": "materialized view",
    "f": "foreign table",
}


@dataclass(frozen=True)
class Relation:
    """A table, view or foreign table.

    Attributes:
        kind: pg_class.relkind.
        is_populated: False for a materialized view without data.
        hides_rows: whether row-level security applies to the user.
        extension: the extension that it belongs to.
    """

    oid: int
    schema: str
    relation: str
    kind: str
    is_unlogged: bool
    is_populated: bool
    may_select: bool
    hides_rows: bool
    extension: str | None
    has_columns: bool

    @property
    def name(self) -> TableName:
        return TableName(self.schema, self.relation)

    def why_left_out(self, *, is_standby: bool) -> str:
        """Return why a wildcard does not choose it, whatever else is chosen; empty if it does."""
        if not self.may_select:
            return f"the user has no right to SELECT from it: {GRANT}"
        if self.extension is not None:
            return f"it belongs to the extension {self.extension}: name it to load it"
        if self.kind == "v":
            return "it is a view, which computes its rows from other tables: name it to load it"
        if self.kind == "f":
            return "it is a foreign table, which reads another server: name it to load it"
        if not self.is_populated:
            return "it is a materialized view without data: REFRESH it"
        if self.is_unlogged and is_standby:
            return "it is an unlogged table, whose rows a standby does not have: read the primary"
        return "" if self.has_columns else "it has no columns"


def read_relations(cursor: Any) -> list[Relation]:
    """Return the tables of the database in the order of their names."""
    cursor.execute(_RELATIONS_SQL)
    return [Relation(*row) for row in cursor.fetchall()]
