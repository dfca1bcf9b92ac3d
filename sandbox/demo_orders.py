"""The demo's source: a table of orders in PostgreSQL, its changes, and its comparison with the copy in BigQuery."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from google.cloud import bigquery
from psycopg2.extensions import connection as Connection

SCHEMA = "demo_shop"
TABLE = f"{SCHEMA}.orders"

_CREATE = """
DROP SCHEMA IF EXISTS demo_shop CASCADE;
CREATE SCHEMA demo_shop;
CREATE TABLE demo_shop.orders (
    id bigint PRIMARY KEY,
    order_uuid uuid NOT NULL,
    customer text NOT NULL,
    note text,
    status text NOT NULL,
    amount numeric(12, 2) NOT NULL,
    weight_kg double precision,
    is_gift boolean NOT NULL,
    delivery_date date,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    details jsonb NOT NULL,
    tags text[] NOT NULL
);
COMMENT ON COLUMN demo_shop.orders.id IS 'Number of the order';
COMMENT ON COLUMN demo_shop.orders.order_uuid IS 'Its name in other systems';
COMMENT ON COLUMN demo_shop.orders.customer IS 'Full name, as it was written';
COMMENT ON COLUMN demo_shop.orders.note IS 'Free text for the driver';
COMMENT ON COLUMN demo_shop.orders.amount IS 'Total in euros, taxes included';
COMMENT ON COLUMN demo_shop.orders.updated_at IS 'Last change of the row';
COMMENT ON COLUMN demo_shop.orders.details IS 'Whatever else the shop knows';
"""

# One order for each n. Among them are what breaks careless exports: NULL beside the empty text, commas, quotes, line
# breaks, names in several scripts, nested JSON and empty arrays.
_ORDERS = """
SELECT n::bigint AS id,
       md5('order ' || n)::uuid AS order_uuid,
       (ARRAY['Ana', 'Łukasz', 'Siobhán', 'Jean-Luc', 'Zoë', '美咲', 'Omar', 'Ingrid'])[1 + mod(n, 8)] || ' ' ||
           (ARRAY['O''Brien', 'Nowak', 'García López', 'van den Berg', 'Müller', '佐藤', 'Haddad'])[1 + mod(n, 7)]
           AS customer,
       CASE mod(n, 5)
           WHEN 0 THEN NULL
           WHEN 1 THEN ''
           WHEN 2 THEN 'Ring twice, say "hello", then wait'
           WHEN 3 THEN E'Leave it\\nbehind the gate'
           ELSE 'A gift: no invoice, please (order ' || n || ')'
       END AS note,
       (ARRAY['new', 'paid', 'shipped', 'returned'])[1 + mod(n, 4)] AS status,
       (mod(n::bigint * 7919, 1000000) / 100.0)::numeric(12, 2) AS amount,
       mod(n, 9973) / 7.0::double precision AS weight_kg,
       mod(n, 3) = 0 AS is_gift,
       CASE WHEN mod(n, 11) > 0 THEN date '2026-01-01' + mod(n, 365)::int END AS delivery_date,
       moment - mod(n, 50) * interval '1 hour' AS created_at,
       moment AS updated_at,
       jsonb_build_object('channel', (ARRAY['web', 'phone', 'shop'])[1 + mod(n, 3)], 'visits', mod(n, 17),
                          'address', jsonb_build_object('city', 'Gdańsk', 'floor', mod(n, 9))) AS details,
       CASE WHEN mod(n, 4) = 0 THEN ARRAY[]::text[] ELSE ARRAY['fragile', 'week ' || mod(n, 52)] END AS tags
FROM generate_series({first}, {last}) AS n, LATERAL (SELECT {moment}) AS clock(moment)
"""

# The orders of the last three months, evenly; each a little later than the one before.
_THREE_MONTHS = "now() - interval '91 days' + n * (interval '90 days' / {rows}) + n * interval '1 microsecond'"


def orders_sql(first: int, last: int, moment: str) -> str:
    """Return a query for the orders `first` to `last`, each last changed at the moment that an SQL expression gives."""
    return _ORDERS.format(first=first, last=last, moment=moment).strip()


def past_orders_sql(rows: int) -> str:
    """Return a query for `rows` orders of the last three months."""
    return orders_sql(1, rows, _THREE_MONTHS.format(rows=rows))


def create_orders(connection: Connection, rows: int) -> None:
    """Make the table of orders, with comments, key and index, and fill it with `rows` orders."""
    with connection.cursor() as cursor:
        cursor.execute(_CREATE)
        cursor.execute("INSERT INTO demo_shop.orders " + past_orders_sql(rows))
        cursor.execute("CREATE INDEX ON demo_shop.orders (updated_at)")
        # The server would do it by itself a minute later; without it, its estimate of the rows is a guess.
        cursor.execute("ANALYZE demo_shop.orders")


def change_orders(connection: Connection, inserts: int, updates: int, deletes: int = 0) -> None:
    """Insert new orders, change existing ones and delete others, as a shop does between two runs."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT max(id) FROM demo_shop.orders")
        last = cursor.fetchone()[0]
        cursor.execute("INSERT INTO demo_shop.orders " + orders_sql(last + 1, last + inserts, "clock_timestamp()"))
        cursor.execute(
            """
            UPDATE demo_shop.orders
            SET status = 'shipped', note = 'Left at 9:30, "by bike"', updated_at = clock_timestamp()
            WHERE mod(id, %(step)s) = 0 AND id <= %(step)s * %(updates)s
            """,
            {"step": last // updates, "updates": updates},
        )
        cursor.execute(
            """
            DELETE FROM demo_shop.orders WHERE id IN (
                SELECT id FROM demo_shop.orders WHERE mod(id, %(step)s) > 0 AND id <= %(last)s ORDER BY id
                LIMIT %(rows)s)
            """,
            {"step": last // updates, "last": last, "rows": deletes},
        )


@dataclass(frozen=True)
class Comparison:
    """A column's fingerprint over all orders, at the source and in BigQuery."""

    column: str
    source: str
    destination: str

    @property
    def is_equal(self) -> bool:
        """Whether all values of the column are the same on both sides."""
        return self.source == self.destination


# How each column, and each key of the JSON, is written as text in PostgreSQL and in BigQuery. Where the two write the
# same value differently (12.50 and 12.5), it is compared as a whole number.
_AS_TEXT: Mapping[str, tuple[str, str]] = {
    "id": ("id::text", "CAST(id AS STRING)"),
    "order_uuid": ("order_uuid::text", "order_uuid"),
    "customer": ("customer", "customer"),
    "note": ("note", "note"),
    "status": ("status", "status"),
    "amount": ("(amount * 100)::bigint::text", "CAST(CAST(amount * 100 AS INT64) AS STRING)"),
    "weight_kg": (
        "round(weight_kg * 1000000)::bigint::text",
        "CAST(CAST(ROUND(weight_kg * 1000000) AS INT64) AS STRING)",
    ),
    "is_gift": ("is_gift::text", "CAST(is_gift AS STRING)"),
    "delivery_date": ("delivery_date::text", "CAST(delivery_date AS STRING)"),
    "created_at": (
        "(extract(epoch FROM created_at) * 1000000)::bigint::text",
        "CAST(UNIX_MICROS(created_at) AS STRING)",
    ),
    "updated_at": (
        "(extract(epoch FROM updated_at) * 1000000)::bigint::text",
        "CAST(UNIX_MICROS(updated_at) AS STRING)",
    ),
    "details.channel": ("details->>'channel'", "JSON_VALUE(details, '$.channel')"),
    "details.visits": ("details->>'visits'", "JSON_VALUE(details, '$.visits')"),
    "details.address.city": ("details#>>'{address,city}'", "JSON_VALUE(details, '$.address.city')"),
    "details.address.floor": ("details#>>'{address,floor}'", "JSON_VALUE(details, '$.address.floor')"),
    "tags": ("array_to_string(tags, '|')", "ARRAY_TO_STRING(tags, '|')"),
}

# Each value is hashed, and then all hashes in the order of the ids: one different value makes another fingerprint.
_POSTGRESQL_FINGERPRINT = "md5(string_agg(md5(coalesce({text}, 'NULL')), '' ORDER BY id))"
_BIGQUERY_FINGERPRINT = "TO_HEX(MD5(STRING_AGG(TO_HEX(MD5(COALESCE({text}, 'NULL'))), '' ORDER BY id)))"

# The destination keeps each version of an order that was loaded; the newest is the one the source has.
_NEWEST = (
    "(SELECT * FROM `{table_id}` WHERE TRUE QUALIFY ROW_NUMBER() OVER (PARTITION BY id ORDER BY updated_at DESC) = 1)"
)


def compare_orders(connection: Connection, client: bigquery.Client, table_id: str) -> list[Comparison]:
    """Compare all values of all orders: the source's with the newest version of each in BigQuery."""
    source = ", ".join(_POSTGRESQL_FINGERPRINT.format(text=text) for text, _ in _AS_TEXT.values())
    destination = ", ".join(_BIGQUERY_FINGERPRINT.format(text=text) for _, text in _AS_TEXT.values())
    newest = _NEWEST.format(table_id=table_id)
    with ThreadPoolExecutor() as threads, connection.cursor() as cursor:
        # Both servers work at the same time.
        asked = threads.submit(client.query_and_wait, " ".join(["SELECT", destination, "FROM", newest]))
        cursor.execute(" ".join(["SELECT", source, "FROM", TABLE]))
        there = cursor.fetchone()
        here = next(iter(asked.result()))
    return [Comparison(*row) for row in zip(_AS_TEXT, there, here.values(), strict=True)]


def count_orders(connection: Connection) -> int:
    """Return how many orders the source has."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM demo_shop.orders")
        return int(cursor.fetchone()[0])
