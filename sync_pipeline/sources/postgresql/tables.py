"""The catalog's description of many tables, in a few statements.

A table of the destination equals `SELECT * FROM` its table. What that means for wildcards:

* They choose what stores rows: tables, partitioned tables, materialized views. A view computes its rows from tables
  that are loaded already, at unknown cost, and a foreign table fetches them from another server: both must be named.
* Rows of partitions are read with their table, and rows of inheritance children with their parent. A child with columns
  of its own is chosen as well, because a read of its parent does not return these.
* A primary key identifies rows, a unique index does not: its values may change, an e-mail address say, and a merge by
  them would keep the old row.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg2.extensions import connection as Connection

from sync_pipeline.parameters.identifiers import SourceTable
from sync_pipeline.parameters.source_tables import CatalogTable, TableName
from sync_pipeline.schema import KEY_TYPES, REPEATED, TIMESTAMP_TYPES
from sync_pipeline.sources.catalog import Wanted
from sync_pipeline.sources.postgresql.catalog import DescribedType, described_types, digits_of, table_reference
from sync_pipeline.sources.postgresql.column_types import SourceColumn
from sync_pipeline.sources.postgresql.connection import translated_errors
from sync_pipeline.sources.postgresql.inheritance import Inheritance, read_inheritance
from sync_pipeline.sources.postgresql.table_sizes import TableSize, read_sizes, total

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

_COLUMNS_SQL = """
    SELECT a.attrelid, a.attnum, a.attname, a.atttypid, a.atttypmod, col_description(a.attrelid, a.attnum)
    FROM pg_attribute a WHERE a.attrelid = ANY(%(oids)s) AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attrelid, a.attnum
"""

# See `not_null`, which has the same rule for one table.
_MAYBE_NULL_SQL = """
    SELECT DISTINCT m.root, a.attname
    FROM unnest(%(roots)s::oid[], %(members)s::oid[]) AS m (root, member)
    JOIN pg_attribute a ON a.attrelid = m.member AND a.attnum > 0 AND NOT a.attisdropped
    WHERE NOT a.attnotnull OR EXISTS (
        SELECT FROM pg_constraint c
        WHERE c.conrelid = a.attrelid AND c.contype = 'n' AND NOT c.convalidated AND a.attnum = ANY(c.conkey)
    )
"""

# The key's columns for a primary key; else the column that an index can find the values of.
_INDEXES_SQL = """
    SELECT i.indrelid, i.indisprimary, CASE WHEN i.indisprimary THEN i.indnkeyatts ELSE 1 END, i.indkey::int2[]
    FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam
    WHERE i.indrelid = ANY(%(oids)s) AND i.indisvalid AND (i.indisprimary OR m.amname = 'btree' AND i.indpred IS NULL)
"""

_DOMAINS_SQL = "SELECT oid, typbasetype, typtypmod FROM pg_type WHERE typtype = 'd'"

_KINDS = {
    "r": "table",
    "p": "partitioned table",
    "v": "view",
    "m": "materialized view",
    "f": "foreign table",
}


@dataclass(frozen=True)
class PostgresqlTable:
    """What the catalog has about one table.

    Attributes:
        listed: what choosing tables needs to know.
        numbers: pg_attribute.attnum of each of `columns`.
        never_null: columns that are NULL in no row that a read of the table returns.
        key: the primary key's columns, in order. Rows of `children` may repeat it.
        children: the names of inheritance children at any depth.
        indexed: columns by which a B-tree index sorts.
        computes_rows: whether the server computes the rows, or fetches them from elsewhere.
    """

    listed: CatalogTable
    oid: int
    columns: tuple[SourceColumn, ...]
    numbers: tuple[int, ...]
    comments: Mapping[str, str]
    never_null: frozenset[str]
    key: tuple[str, ...]
    children: tuple[str, ...]
    indexed: frozenset[str]
    computes_rows: bool
    may_select: bool
    hides_rows: bool

    @property
    def reference(self) -> str:
        """The quoted name."""
        return reference_of(self.listed.name)


@dataclass(frozen=True)
class _Relation:
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
            return "the user has no right to SELECT from it"
        if self.extension is not None:
            return f"it belongs to the extension {self.extension}"
        if self.kind == "v":
            return "it is a view, which computes its rows from other tables: name it to load it"
        if self.kind == "f":
            return "it is a foreign table, which reads another server: name it to load it"
        if not self.is_populated:
            return "it is a materialized view without data: REFRESH it"
        if self.is_unlogged and is_standby:
            return "it is an unlogged table, whose rows a standby does not have"
        return "" if self.has_columns else "it has no columns"


@dataclass(frozen=True)
class _Column:
    number: int
    name: str
    type_oid: int
    modifier: int
    comment: str


def reference_of(name: TableName) -> str:
    """Return the quoted name of a table."""
    return table_reference(SourceTable(name.schema, name.name))


def read_tables(connection: Connection, wanted: Wanted, *, is_standby: bool) -> tuple[PostgresqlTable, ...]:
    """Return the tables that may be chosen, in the order of their names."""
    with translated_errors(), connection.cursor() as cursor:
        cursor.execute(_RELATIONS_SQL)
        relations = [_Relation(*row) for row in cursor.fetchall()]
        may_be_chosen = [relation for relation in relations if wanted.may_choose(relation.name)]
        inheritance = read_inheritance(cursor)
        return _described(cursor, relations, may_be_chosen, inheritance, is_standby=is_standby)


def _described(
    cursor: Any,
    relations: Sequence[_Relation],
    chosen: Sequence[_Relation],
    inheritance: Inheritance,
    *,
    is_standby: bool,
) -> tuple[PostgresqlTable, ...]:
    oids = [relation.oid for relation in chosen]
    members = {oid: inheritance.members(oid) for oid in oids}
    columns, types = _columns(cursor, oids)
    maybe_null = _maybe_null(cursor, members)
    keys, indexed = _indexes(cursor, oids)
    sizes = read_sizes(cursor, {member for of_table in members.values() for member in of_table})
    names = {relation.oid: relation.name for relation in relations}
    reasons = {relation.oid: relation.why_left_out(is_standby=is_standby) for relation in chosen}
    known = {oid: {column.name for column in of_table} for oid, of_table in columns.items()}
    partitioned = {relation.oid for relation in relations if relation.kind == "p"}
    tables = []
    for relation in chosen:
        oid = relation.oid
        described = [
            types[column.type_oid].column(column.name, *digits_of(column.type_oid, column.modifier))
            for column in columns.get(oid, ())
        ]
        by_number = {column.number: column.name for column in columns.get(oid, ())}
        never_null = frozenset(by_number.values()) - maybe_null.get(oid, frozenset())
        key = tuple(by_number[number] for number in keys.get(oid, ()))
        children = tuple(str(names[child]) for child in inheritance.inheriting(oid) if child in names)
        size = _size(relation, [member for member in members[oid] if member not in partitioned], sizes)
        tables.append(
            PostgresqlTable(
                listed=CatalogTable(
                    relation.name,
                    "partition" if oid in inheritance.partitions else _KINDS[relation.kind],
                    key=() if children or not _can_merge(key, described) else key,
                    timestamps={
                        column.name: column.name not in never_null
                        for column in described
                        if not column.is_array and column.type.bigquery in TIMESTAMP_TYPES
                    },
                    rows=size.rows,
                    size=size.size,
                    left_out=reasons[oid] or _read_with(oid, inheritance, reasons, known, names),
                ),
                oid=oid,
                columns=tuple(described),
                numbers=tuple(by_number),
                comments={column.name: column.comment for column in columns.get(oid, ())},
                never_null=never_null,
                key=key,
                children=children,
                indexed=frozenset(by_number[number] for number in indexed.get(oid, ()) if number in by_number),
                computes_rows=relation.kind in ("v", "f"),
                may_select=relation.may_select,
                hides_rows=relation.hides_rows,
            )
        )
    return tuple(tables)


def _columns(cursor: Any, oids: Sequence[int]) -> tuple[dict[int, list[_Column]], Mapping[int, DescribedType]]:
    """Return the columns by table, with the base types of domains, and their types."""
    cursor.execute(_DOMAINS_SQL)
    domains = {oid: (base, modifier) for oid, base, modifier in cursor.fetchall()}
    cursor.execute(_COLUMNS_SQL, {"oids": oids})
    found: dict[int, list[_Column]] = {}
    for table, number, name, type_oid, modifier, comment in cursor.fetchall():
        # As the server describes a column to its clients; a column of a domain has no modifier of its own.
        while type_oid in domains:
            type_oid, modifier = domains[type_oid]
        found.setdefault(table, []).append(_Column(number, name, type_oid, modifier, comment or ""))
    return found, described_types(cursor, {column.type_oid for columns in found.values() for column in columns})


def _maybe_null(cursor: Any, members: Mapping[int, Sequence[int]]) -> dict[int, set[str]]:
    """Return the columns by table that some row may have NULL in."""
    pairs = [(root, member) for root, of_root in members.items() for member in of_root]
    cursor.execute(_MAYBE_NULL_SQL, {"roots": [root for root, _ in pairs], "members": [member for _, member in pairs]})
    found: dict[int, set[str]] = {}
    for root, column in cursor.fetchall():
        found.setdefault(root, set()).add(column)
    return found


def _indexes(cursor: Any, oids: Sequence[int]) -> tuple[dict[int, list[int]], dict[int, set[int]]]:
    """Return the numbers of the columns of primary keys, and of columns that indexes sort by, by table."""
    cursor.execute(_INDEXES_SQL, {"oids": oids})
    keys: dict[int, list[int]] = {}
    indexed: dict[int, set[int]] = {}
    for table, is_primary, count, numbers in cursor.fetchall():
        if is_primary:
            keys[table] = numbers[:count]
        indexed.setdefault(table, set()).add(numbers[0])
    return keys, indexed


def _size(relation: _Relation, members: Sequence[int], sizes: Mapping[int, TableSize]) -> TableSize:
    if relation.kind == "v":
        return TableSize(None, None)
    return total([sizes.get(member) for member in members])


def _can_merge(key: Collection[str], columns: Sequence[SourceColumn]) -> bool:
    """Whether BigQuery can compare all columns of the key."""
    fields = [column.field() for column in columns if column.name in key]
    return all(field.type in KEY_TYPES and field.mode != REPEATED for field in fields)


def _read_with(
    oid: int,
    inheritance: Inheritance,
    reasons: Mapping[int, str],
    columns: Mapping[int, Collection[str]],
    names: Mapping[int, TableName],
) -> str:
    """Return that a wildcard chooses a table that this one's rows are read with; empty if there is none.

    Args:
        reasons: why a wildcard does not choose a table, for each that may be chosen.
    """
    own = set(columns.get(oid, ()))
    choosing = [
        ancestor
        for ancestor in inheritance.ancestors(oid)
        if reasons.get(ancestor) == "" and own <= set(columns.get(ancestor, ()))
    ]
    if not choosing:
        return ""
    kind = "a partition" if oid in inheritance.partitions else "an inheritance child"
    return f"it is {kind}, whose rows are read with {names[choosing[-1]]}"
