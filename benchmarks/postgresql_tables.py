"""The tables of the PostgreSQL benchmark."""

from dataclasses import dataclass

from psycopg2.extensions import connection as Connection

SCHEMA = "bench"

# Twelve columns of a typical application: keys, texts with commas and quotes, NULL, numbers, dates, JSON.
_ORDERS = """
    SELECT n::bigint AS id,
           md5('order ' || n)::uuid AS order_uuid,
           'customer ' || n % 10007 AS customer,
           (ARRAY['new', 'paid', 'shipped', 'returned'])[1 + n % 4] AS status,
           CASE WHEN n % 10 > 0 THEN 'Ring twice, say "hello", then wait: order ' || n END AS note,
           (mod(n::bigint * 7919, 1000000) / 100.0)::numeric(12, 2) AS amount,
           mod(n, 9973) / 7.0::double precision AS weight_kg,
           n % 3 = 0 AS is_gift,
           timestamptz '2025-01-01' + n * interval '1 second' AS created_at,
           timestamptz '2025-01-01' + n * interval '1.000001 second' AS updated_at,
           date '2025-01-01' + n % 365 AS delivery_date,
           jsonb_build_object('channel', 'web', 'visits', n % 17) AS details
    FROM generate_series(1, {rows}) AS n
"""

# Columns of eight types in turn, and rows that are mostly one text.
_KINDS = (
    "n + {i}",
    "'text ' || (n + {i}) % 1000",
    "(n * {i} / 100.0)::numeric(14, 2)",
    "n / ({i} + 1.0)::double precision",
    "(n + {i}) % 2 = 0",
    "timestamptz '2025-01-01' + (n + {i}) * interval '1 second'",
    "date '2025-01-01' + (n + {i}) % 365",
    "md5('x' || n + {i})",
)


@dataclass(frozen=True)
class Table:
    """One table: its name below `bench`, its rows, and the query that fills it."""

    name: str
    rows: int
    query: str

    @property
    def qualified_name(self) -> str:
        """The name with its schema."""
        return f"{SCHEMA}.{self.name}"

    @property
    def is_orders(self) -> bool:
        """Whether it is a table of `orders`."""
        return self.name.startswith("orders_")


def orders(rows: int) -> Table:
    """Return the table of 12 columns."""
    return Table(f"orders_{rows}", rows, _ORDERS.format(rows=rows))


def columns(count: int, rows: int) -> Table:
    """Return a table with `count` columns."""
    selected = ["n::bigint AS id", *(f"{_KINDS[i % len(_KINDS)].format(i=i)} AS c{i}" for i in range(1, count))]
    return Table(f"columns_{count}", rows, f"SELECT {', '.join(selected)} FROM generate_series(1, {rows}) AS n")


def wide(size: int, rows: int) -> Table:
    """Return a table whose rows have about `size` bytes of text that compresses poorly."""
    # 32 digits for each hash.
    text = f"(SELECT string_agg(md5(n || ' ' || part), '') FROM generate_series(1, {max(1, size // 32)}) AS part)"
    return Table(
        f"wide_{size}", rows, f"SELECT n::bigint AS id, {text} AS payload FROM generate_series(1, {rows}) AS n"
    )


def create(connection: Connection, table: Table) -> None:
    """Create the table with its primary key, and an index on `updated_at` if it has that column."""
    name = table.qualified_name
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        cursor.execute(f"CREATE TABLE {name} AS {table.query}")
        cursor.execute(f"ALTER TABLE {name} ADD PRIMARY KEY (id)")
        if "updated_at" in table.query:
            cursor.execute(f"CREATE INDEX ON {name} (updated_at)")
        cursor.execute(f"VACUUM ANALYZE {name}")
