"""The demo's part about many tables: a whole database is synced by one command, changed, and synced again."""

import hashlib
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from psycopg2 import sql

from sandbox import demo_run, demo_screen
from sandbox.demo_orders import Comparison
from sandbox.demo_run import Report
from sandbox.demo_steps import SETTLE_SECONDS, Demo, expect, expect_equal, step

SCHEMA = "demo_company"

# The tables that are synced; the partitions and the view of the schema are not.
TABLES = (
    *("clicks", "countries", "customers", "employees", "events", "features", "order_lines", "orders"),
    *("Price List", "products", "refunds", "totals"),
)

_CREATE = """
DROP SCHEMA IF EXISTS demo_company CASCADE;
CREATE SCHEMA demo_company;
SET search_path = demo_company;
CREATE TABLE customers (id int PRIMARY KEY, name text, tags text[], updated_at timestamptz NOT NULL);
CREATE TABLE orders (region text, id int, total numeric(10, 2), updated_at timestamptz, PRIMARY KEY (region, id));
CREATE TABLE order_lines (
    order_id int, line int, price numeric(8, 2), updated_at timestamp, PRIMARY KEY (order_id, line));
CREATE TABLE products (sku uuid PRIMARY KEY, attributes jsonb, weight double precision);
CREATE TABLE countries (code text PRIMARY KEY, name text);
CREATE TABLE clicks (at timestamptz, page text);
CREATE TABLE features (id int, is_on boolean, since date);
CREATE TABLE refunds (id int PRIMARY KEY, reason text, updated_at timestamptz NOT NULL);
CREATE TABLE employees (id int PRIMARY KEY, name text);
CREATE TABLE managers (PRIMARY KEY (id)) INHERITS (employees);
CREATE TABLE "Price List" ("Product No." int PRIMARY KEY, "größe" text, "Preis (€)" numeric(8, 2));
CREATE TABLE events (day date NOT NULL, what text) PARTITION BY RANGE (day);
CREATE TABLE events_2025 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE events_2026 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE VIEW open_orders AS SELECT id FROM orders;
INSERT INTO customers
    SELECT n, 'Customer ' || n, CASE mod(n, 3) WHEN 0 THEN ARRAY['vip', ''] ELSE '{}' END, now() - n * interval '1 hour'
    FROM generate_series(1, 2000) AS n;
INSERT INTO orders SELECT (ARRAY['eu', 'us'])[1 + mod(n, 2)], n, n * 0.99, now() - n * interval '1 minute'
    FROM generate_series(1, 3000) AS n;
INSERT INTO order_lines SELECT n, line, n + 0.5, localtimestamp - interval '1 day'
    FROM generate_series(1, 1000) AS n, generate_series(1, 3) AS line;
INSERT INTO products
    SELECT md5(n::text)::uuid, jsonb_build_object('colour', 'red', 'sizes', jsonb_build_array(n, NULL)), n / 7.0
    FROM generate_series(1, 500) AS n;
INSERT INTO countries VALUES ('DE', 'Deutschland'), ('PL', 'Polska'), ('JP', '日本');
INSERT INTO clicks SELECT now() - n * interval '1 second', '/page/' || mod(n, 9) FROM generate_series(1, 1000) AS n;
INSERT INTO features VALUES (1, true, '2026-01-01'), (1, true, '2026-01-01'), (2, NULL, NULL);
INSERT INTO employees VALUES (1, 'Ann');
INSERT INTO managers VALUES (2, 'Bea');
INSERT INTO "Price List" SELECT n, 'XL', n * 1.5 FROM generate_series(1, 100) AS n;
INSERT INTO events SELECT date '2025-06-01' + n, 'event ' || n FROM generate_series(1, 400) AS n;
CREATE MATERIALIZED VIEW totals AS SELECT region, sum(total) AS total FROM orders GROUP BY region;
ANALYZE;
RESET search_path;
"""

_CHANGE = """
SET search_path = demo_company;
UPDATE customers SET name = name || ' Ltd', updated_at = now() WHERE id <= 20;
INSERT INTO orders SELECT 'eu', n, n, now() FROM generate_series(3001, 3010) AS n;
DELETE FROM clicks WHERE page = '/page/1';
INSERT INTO countries VALUES ('FR', 'France');
CREATE TABLE suppliers (id int PRIMARY KEY, name text);
INSERT INTO suppliers VALUES (1, 'Nowak i syn');
RESET search_path;
"""


def play(demo: Demo) -> tuple[Report, Report]:
    """Sync the database, change it, and sync it again; return both totals. Raises DemoError."""
    with step(demo, f"A whole database in PostgreSQL: {len(TABLES)} tables of all kinds, a view, and partitions"):
        _remove_copies(demo)
        _execute(demo, _CREATE)
    parameters = all_tables(demo)
    demo_screen.title(demo.console, "Your whole database in one command")
    demo.console.print(demo_run.shown_command(parameters), soft_wrap=True)
    first = sync_all(demo, parameters, shows_plan=True)
    comparisons = compared(demo, TABLES)
    demo.console.print(demo_screen.comparison_table(comparisons, compared="Table"))
    with step(demo, "Meanwhile, at the source: rows changed, added and deleted, and a new table"):
        _execute(demo, _CHANGE)
        time.sleep(SETTLE_SECONDS)
    demo_screen.title(demo.console, "The same command again")
    second = sync_all(demo, parameters)
    equal = compared(demo, (*TABLES, "suppliers"))
    demo.console.print(f"All values of all {len(equal)} tables are equal; deleted rows are gone, a new table is there.")
    return first, second


def all_tables(demo: Demo) -> dict[str, str]:
    """Return the parameters of a sync of the whole schema."""
    return {
        **demo_run.source_parameters(demo.endpoints),
        "postgresql_table": f"{SCHEMA}.*",
        **demo_run.destination_parameters(demo.endpoints),
        "destination_bigquery_table": "{schema}_{table}",
    }


def sync_all(demo: Demo, parameters: Mapping[str, str], *, shows_plan: bool = False) -> Report:
    """Run the sync, show what it reports, and return its total."""
    outcome = demo.product.run(parameters, lambda line: _show_outline(demo, line, shows_plan=shows_plan))
    total = demo_run.find_total(outcome.output)
    expect(outcome.exit_code == 0 and total is not None, "a run that publishes all tables", outcome)
    assert total is not None
    return total


def compared(demo: Demo, names: Iterable[str]) -> list[Comparison]:
    """Compare every value of every table with its copy. Raises DemoError naming the tables that differ."""
    with step(demo, "Are all tables equal?"):
        comparisons = [
            Comparison(
                name,
                _fingerprint(_rows(demo, name)),
                _fingerprint(row.values() for row in demo.client.list_rows(demo.client.get_table(copy_of(demo, name)))),
            )
            for name in names
        ]
    expect_equal(comparisons)
    return comparisons


def copy_of(demo: Demo, name: str) -> str:
    """Return the id of a table's copy."""
    return f"{demo.table_id.rpartition('.')[0]}.{SCHEMA}_{name}"


def _remove_copies(demo: Demo) -> None:
    # On a server of your own there may be those of an earlier demo.
    for name in (*TABLES, "suppliers"):
        demo.client.delete_table(copy_of(demo, name), not_found_ok=True)


def _show_outline(demo: Demo, line: str, *, shows_plan: bool) -> None:
    """Show a line of a run's log, without its numbers."""
    if shows_plan and "INFO plan: " in line:
        demo_screen.show_line(demo.console, line.partition(", rows: ")[0])
    elif "sync report: " in line or "sync total: " in line or line.startswith("error:") or " ERROR " in line:
        demo_screen.show_line(demo.console, line.partition(": run_id=")[0])


def _execute(demo: Demo, statements: str) -> None:
    with demo.connection.cursor() as cursor:
        cursor.execute(statements)


def _rows(demo: Demo, name: str) -> list[tuple[Any, ...]]:
    with demo.connection.cursor() as cursor:
        cursor.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(SCHEMA, name)))
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def _fingerprint(rows: Iterable[Iterable[Any]]) -> str:
    texts = sorted(repr([_plain(value) for value in row]) for row in rows)
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """Return a value as both clients write it: 12.50 as 12.5, and times with a zone in UTC."""
    if isinstance(value, Decimal):
        return str(value.normalize())
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).isoformat()
    return sorted(value.items()) if isinstance(value, dict) else value
