"""The catalog's description of many tables, in a few statements.

Only a primary key identifies rows: the values of a unique index may change, an e-mail address say, and a merge by them
would keep the old row.
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
from sync_pipeline.sources.postgresql.column_types import SourceColumn
from sync_pipeline.sources.postgresql.connection import translated_errors
from sync_pipeline.sources.postgresql.inheritance import Inheritance, read_inheritance
from sync_pipeline.sources.postgresql.query_columns import (
    DescribedType,
    QueryColumns,
    described_types,
    digits_of,
    table_reference,
)
from sync_pipeline.sources.postgresql.relations import KINDS, Relation, read_relations
from sync_pipeline.sources.postgresql.table_sizes import TableSize, read_sizes, total

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


@dataclass(frozen=True)
class PostgresqlTable:
    """What the catalog has about one table.

    Attributes:
        listed: what choosing tables needs to know.
        numbers: pg_attribute.attnum of each of `columns`.
        never_null: columns that are NULL in no row that a read of the table returns.
        key: the primary key's columns, in order. Rows of `children` may repeat it.
        children: the names of inheritance children at any depth.
        relations: how many tables a read of it locks: it and all its partitions and children.
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
    relations: int
    indexed: frozenset[str]
    computes_rows: bool
    may_select: bool
    hides_rows: bool

    @property
    def reference(self) -> str:
        """The quoted name."""
        return reference_of(self.listed.name)

    @property
    def query_columns(self) -> QueryColumns:
        """The columns of a query of the whole table."""
        return QueryColumns(self.columns, [(self.oid, number) for number in self.numbers])


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
        relations = read_relations(cursor)
        chosen = [relation for relation in relations if wanted.may_choose(relation.name)]
        oids = [relation.oid for relation in chosen]
        inheritance = read_inheritance(cursor)
        members = {oid: inheritance.members(oid) for oid in oids}
        columns, types = _columns(cursor, oids)
        keys, indexed = _indexes(cursor, oids)
        found = _Found(
            relations={relation.oid: relation for relation in relations},
            reasons={relation.oid: relation.why_left_out(is_standby=is_standby) for relation in chosen},
            matched=frozenset(relation.oid for relation in chosen if wanted.matches(relation.name)),
            inheritance=inheritance,
            columns=columns,
            types=types,
            maybe_null=_maybe_null(cursor, members),
            keys=keys,
            indexed=indexed,
            sizes=read_sizes(cursor, {member for of_table in members.values() for member in of_table}),
        )
    return tuple(found.table(relation) for relation in chosen)


@dataclass(frozen=True)
class _Found:
    """What the statements returned, by oid.

    Attributes:
        relations: all tables of the database.
        reasons: why a wildcard does not choose a table, for each that may be chosen.
        matched: those of them that the user's names and wildcards include.
        keys: the numbers of the primary key's columns, in order.
        indexed: the numbers of columns that indexes sort by.
    """

    relations: Mapping[int, Relation]
    reasons: Mapping[int, str]
    matched: Collection[int]
    inheritance: Inheritance
    columns: Mapping[int, Sequence[_Column]]
    types: Mapping[int, DescribedType]
    maybe_null: Mapping[int, Collection[str]]
    keys: Mapping[int, Sequence[int]]
    indexed: Mapping[int, Collection[int]]
    sizes: Mapping[int, TableSize]

    def table(self, relation: Relation) -> PostgresqlTable:
        oid = relation.oid
        columns = tuple(self._source_column(column) for column in self.columns.get(oid, ()))
        names = {column.number: column.name for column in self.columns.get(oid, ())}
        never_null = frozenset(names.values()) - frozenset(self.maybe_null.get(oid, ()))
        key = tuple(names[number] for number in self.keys.get(oid, ()))
        heirs = [self.relations[heir] for heir in self.inheritance.inheriting(oid) if heir in self.relations]
        why_no_merge = _why_no_merge(key, columns, heirs)
        size = self._size(relation)
        listed = CatalogTable(
            relation.name,
            "partition" if oid in self.inheritance.partitions else KINDS[relation.kind],
            key=() if why_no_merge else key,
            why_no_key=why_no_merge,
            columns=tuple(column.name for column in columns),
            timestamps={
                column.name: column.name not in never_null
                for column in columns
                if not column.is_array and column.type.bigquery in TIMESTAMP_TYPES
            },
            rows=size.rows,
            size=size.size,
            left_out=self.reasons[oid] or self._read_with(oid),
            # Whoever may read a partitioned table may read its partitions through it.
            may_read=relation.may_select or bool(self._read_with(oid)),
        )
        return PostgresqlTable(
            listed,
            oid,
            columns,
            numbers=tuple(names),
            comments={column.name: column.comment for column in self.columns.get(oid, ())},
            never_null=never_null,
            key=key,
            children=tuple(str(heir.name) for heir in heirs),
            relations=len(self.inheritance.members(oid)),
            indexed=frozenset(names[number] for number in self.indexed.get(oid, ()) if number in names),
            computes_rows=relation.kind in ("v", "f"),
            may_select=relation.may_select,
            hides_rows=relation.hides_rows,
        )

    def _source_column(self, column: _Column) -> SourceColumn:
        return self.types[column.type_oid].column(column.name, *digits_of(column.type_oid, column.modifier))

    def _size(self, relation: Relation) -> TableSize:
        if relation.kind == "v":
            return TableSize(None, None)
        members = self.inheritance.members(relation.oid)
        stored = [oid for oid in members if oid not in self.relations or self.relations[oid].kind != "p"]
        return total([self.sizes.get(oid) for oid in stored])

    def _read_with(self, oid: int) -> str:
        """Return that a wildcard chooses a table whose rows include this one's; empty if there is none."""
        own = self._names(oid)
        choosing = [
            ancestor
            for ancestor in self.inheritance.ancestors(oid)
            if ancestor in self.matched and not self.reasons[ancestor] and own <= self._names(ancestor)
        ]
        if not choosing:
            return ""
        kind = "a partition" if oid in self.inheritance.partitions else "an inheritance child"
        return f"it is {kind}, whose rows are read with {self.relations[choosing[-1]].name}"

    def _names(self, oid: int) -> set[str]:
        return {column.name for column in self.columns.get(oid, ())}


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


def _why_no_merge(key: Collection[str], columns: Sequence[SourceColumn], heirs: Sequence[Relation]) -> str:
    """Return why rows cannot be merged by the primary key, as a sentence; empty if they can, or without a key."""
    if not key:
        return ""
    if heirs:
        return "its inheritance children may repeat the primary key"
    fields = [column.field() for column in columns if column.name in key]
    wrong = [
        f"{field.name} ({field.source_type})"
        for field in fields
        if field.type not in KEY_TYPES or field.mode == REPEATED
    ]
    return f"BigQuery cannot compare {', '.join(wrong)} of the primary key" if wrong else ""
