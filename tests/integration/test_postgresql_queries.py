"""Any query a user can write is read as PostgreSQL reads it, or refused with the reason."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import apache_beam as beam
import psycopg2
import pytest
from apache_beam.metrics import MetricsFilter
from apache_beam.testing.test_pipeline import TestPipeline as Pipeline
from apache_beam.testing.util import assert_that, equal_to
from psycopg2.extensions import connection as Connection

from sandbox import Endpoints
from sync_pipeline.errors import RecordError, SchemaError, SourceQueryError, SyncError
from sync_pipeline.schema import NULLABLE, REPEATED, REQUIRED, Field
from sync_pipeline.smart_sync.interval import StartOrigin, SyncInterval
from sync_pipeline.sources.postgresql import clock
from sync_pipeline.sources.postgresql.connection import connected
from sync_pipeline.sources.source import BATCHES, ReadSplit, TableRead
from tests.integration.postgresql_reading import Reader, execute, fresh_database, rows_of
from tests.source_questions import clock_of, described, read_planned

SHOP = '''
    CREATE TABLE customers (
        id int PRIMARY KEY,
        name text NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now()
    );
    COMMENT ON COLUMN customers.name IS 'as on the invoice; "quoted" é';
    CREATE TABLE orders (
        customer_id int NOT NULL REFERENCES customers,
        number int NOT NULL,
        tags text[] NOT NULL DEFAULT '{}',
        document jsonb NOT NULL DEFAULT '{}',
        stamp timestamp,
        gone int,
        PRIMARY KEY (number, customer_id)
    );
    ALTER TABLE orders DROP COLUMN gone;
    INSERT INTO customers
        VALUES (1, 'Ann', '2024-01-01 00:00Z'), (2, 'Bob', '2024-01-02 00:00Z'), (3, 'Cy', '2024-01-03 00:00Z');
    INSERT INTO orders (customer_id, number, stamp) VALUES (1, 10, '2024-01-01 00:00'), (2, 20, '2024-01-02 00:00');
    CREATE VIEW names AS SELECT id, name FROM customers;
    CREATE MATERIALIZED VIEW snapshot AS SELECT id, name FROM customers;
    CREATE SCHEMA "My Schema";
    CREATE TABLE "My Schema"."Order Items" ("Item ""No""" bigint PRIMARY KEY, "%s" text NOT NULL);
    CREATE TABLE events (id int NOT NULL, day date NOT NULL, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
    CREATE TABLE events_2024 PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
    INSERT INTO events VALUES (1, '2024-05-01');
    CREATE TABLE parent (id int PRIMARY KEY, v text);
    CREATE TABLE child (extra int) INHERITS (parent);
    INSERT INTO parent VALUES (1, 'p');
    INSERT INTO child VALUES (2, 'c', 3);
    CREATE SEQUENCE numbers;
    ANALYZE;
'''


@pytest.fixture(scope="module")
def server(endpoints: Endpoints) -> Iterator[tuple[Reader, Connection]]:
    with fresh_database(endpoints) as (reader, connection):
        execute(connection, SHOP)
        yield reader, connection


@pytest.fixture
def shop(server: tuple[Reader, Connection]) -> Reader:
    return server[0]


@pytest.fixture
def connection(server: tuple[Reader, Connection]) -> Connection:
    return server[1]


QUERIES = [
    pytest.param("WITH a AS (SELECT 1 AS x UNION ALL SELECT 2) SELECT x FROM a ORDER BY x", [(1,), (2,)], id="cte"),
    pytest.param(
        "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 3) TABLE r",
        [(1,), (2,), (3,)],
        id="recursive cte",
    ),
    pytest.param("SELECT '{a,b}' AS a, '{}'::text[] AS b, '{start}' AS c", [("{a,b}", [], "{start}")], id="braces"),
    pytest.param(
        "SELECT '{# ' AS a, ' #}' AS b, '{{ x }} {% y %}' AS c", [("{# ", " #}", "{{ x }} {% y %}")], id="jinja"
    ),
    pytest.param("SELECT '%' AS a, '%s %(x)s %%' AS b, 7 % 4 AS c", [("%", "%s %(x)s %%", 3)], id="percent"),
    pytest.param("SELECT 'abc' LIKE '%b%' AS a", [(True,)], id="like"),
    pytest.param("SELECT 'it''s; --' AS a", [("it's; --",)], id="quotes"),
    pytest.param("SELECT $$;'--$$ AS a, $x$ $$; $x$ AS b;", [(";'--", " $$; ")], id="dollar quotes"),
    pytest.param(r"SELECT E'it\'s; \\ \u00e9\n' AS a;", [("it's; \\ é\n",)], id="escape string"),
    pytest.param(r"SELECT e'\\' AS a, '\' AS b;", [("\\", "\\")], id="backslash before a quote"),
    pytest.param(r"SELECT U&'\0061;' AS a;", [("a;",)], id="unicode escapes"),
    pytest.param("SELECT B'101' AS a, X'1F' AS b, 'a'\n'b' AS c;", [("101", "00011111", "ab")], id="odd literals"),
    pytest.param("SELECT 1_000 AS a, 0x1F AS b, 1.5e3 AS c;", [(1000, 31, 1500)], id="numbers"),
    pytest.param('SELECT 1 AS "a;b", 2 AS "c""d --";', [(1, 2)], id="quoted names"),
    pytest.param("SELECT 1 AS a ;; ; ", [(1,)], id="semicolons"),
    pytest.param("SELECT 1 AS a -- the end", [(1,)], id="line comment"),
    pytest.param("SELECT 1 AS a; -- the end;", [(1,)], id="comment behind the semicolon"),
    pytest.param("SELECT 1 AS a /* ; */;/* ' */\n--\n", [(1,)], id="block comments"),
    pytest.param("SELECT 1 AS a /* a /* nested ; */ ; */ ;", [(1,)], id="nested comment"),
    pytest.param("/* ; */ SELECT /* ' */ 1 -- ;\n AS a", [(1,)], id="comments inside"),
    pytest.param("-- ;\nSELECT '--' AS a, 2 AS b", [("--", 2)], id="comment first, then a text that looks like one"),
    pytest.param("SELECT '🎉;' AS \"🎉\"; -- 🎉", [("🎉;",)], id="emoji"),
    pytest.param("\r\n\tSELECT 1 AS a\r\n", [(1,)], id="blanks around"),
    pytest.param("SELECT g FROM generate_series(1, 5) AS g ORDER BY g DESC LIMIT 2 OFFSET 1", [(4,), (3,)], id="limit"),
    pytest.param("SELECT 1 AS a UNION ALL SELECT 2 ORDER BY a DESC", [(2,), (1,)], id="union"),
    pytest.param("(SELECT 1 AS a) UNION ALL (SELECT 2) ORDER BY a", [(1,), (2,)], id="union in brackets"),
    pytest.param("SELECT 1 AS a EXCEPT SELECT 2", [(1,)], id="except"),
    pytest.param("VALUES (1, 'a'), (2, NULL)", [(1, "a"), (2, None)], id="values"),
    pytest.param("TABLE pg_am ORDER BY oid LIMIT 0", [], id="table"),
    pytest.param(
        "SELECT g, sum(g) OVER (ORDER BY g) AS s, lag(g) OVER w AS l FROM generate_series(1, 2) g WINDOW w AS (ORDER "
        "BY g)",
        [(1, 1, None), (2, 3, 1)],
        id="window functions",
    ),
    pytest.param(
        'SELECT * FROM jsonb_to_recordset(\'[{"a": 1}, {"b": "x"}]\') AS t(a int, b text)',
        [(1, None), (None, "x")],
        id="table function",
    ),
    pytest.param("SELECT generate_series(1, 2) AS a, 'x' AS b", [(1, "x"), (2, "x")], id="set-returning column"),
    pytest.param(
        "SELECT * FROM (VALUES (1)) AS q(a), LATERAL (SELECT a + 1 AS b) AS r", [(1, 2)], id="our alias, lateral"
    ),
    pytest.param("SELECT q.a FROM (SELECT 1 AS a) AS q", [(1,)], id="our alias inside"),
    pytest.param(
        "SELECT g % 2 AS k, count(*) FROM generate_series(1, 3) g GROUP BY 1 ORDER BY 1", [(0, 1), (1, 2)], id="group"
    ),
    pytest.param("SELECT '{\"a\": 1}'::jsonb ? 'a' AS x, '[1]'::jsonb @> '1' AS y", [(True, True)], id="? and @>"),
    pytest.param("SELECT 1 AS a WHERE false", [], id="no rows"),
    pytest.param("SELECT NULL AS a", [(None,)], id="NULL alone"),
    pytest.param("SELECT 1", [(1,)], id="a column without a name"),
]


@pytest.mark.parametrize(("query", "expected"), QUERIES)
def test_query(shop: Reader, query: str, expected: list[tuple[Any, ...]]) -> None:
    assert shop.rows(query) == expected


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("Id", id="capital"),
        pytest.param("order", id="keyword"),
        pytest.param("a b.c", id="blank and point"),
        pytest.param('a"b', id="quote"),
        pytest.param("%s{0}{column}", id="what others would format"),
        pytest.param("?column?", id="PostgreSQL's own"),
        pytest.param("Größe 😀", id="unicode"),
        pytest.param("x" * 63, id="longest"),
        pytest.param("a\nb", id="newline"),
        pytest.param("'; --", id="injection"),
    ],
)
def test_column_name(shop: Reader, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    query = f"SELECT 1.5::real AS {quoted}, ARRAY[1] AS other"
    assert shop.schema(query).names == (name, "other")
    assert shop.rows(query) == [(1.5, [1])]


def test_names_that_differ_in_case_are_two_columns(shop: Reader) -> None:
    assert shop.rows('SELECT 1 AS a, 2 AS "A"') == [(1, 2)]


def test_only_the_chosen_columns_are_read(shop: Reader) -> None:
    config = '{"include_fields": ["c", "a"], "type_overrides": {"c": "STRING"}}'
    query = "SELECT 1 AS a, 1 / (g - 1) AS never, g AS c FROM generate_series(1, 1) AS g"
    assert shop.rows(query, transformation_config=config) == [(1, "1")]


@pytest.mark.parametrize(
    ("query", "error", "message"),
    [
        pytest.param(
            "SELECT 1 AS a, 2 AS b, 3 AS a, 4 AS b",
            SchemaError,
            "the query returns more than one column called a, b: name each differently with AS",
            id="names twice",
        ),
        pytest.param("SELECT", SchemaError, "the query returns no columns: select at least one", id="no columns"),
        pytest.param(
            "SELECT FROM generate_series(1, 2)",
            SchemaError,
            "the query returns no columns: select at least one",
            id="rows without columns",
        ),
        pytest.param(
            "SELECT 1; SELECT 2",
            SourceQueryError,
            "postgresql_query has more than one statement: give one SELECT",
            id="two statements",
        ),
        pytest.param(
            "SELECT 1 /* ; */; -- ;\n DELETE FROM customers;",
            SourceQueryError,
            "postgresql_query has more than one statement: give one SELECT",
            id="two statements with comments",
        ),
        pytest.param(
            " ;; -- nothing\n /* at all */ ",
            SourceQueryError,
            "postgresql_query has no statement: give one SELECT",
            id="no statement",
        ),
        pytest.param(
            "DELETE FROM customers",
            SourceQueryError,
            "postgresql_query begins with DELETE: give one SELECT",
            id="delete",
        ),
        pytest.param(
            "WITH gone AS (DELETE FROM customers RETURNING id) SELECT * FROM gone",
            SourceQueryError,
            "PostgreSQL: WITH clause containing a data-modifying statement must be at the top level (SQLSTATE 0A000) "
            "at line 1, column 6 of the query: rewrite the query as one SELECT",
            id="delete in a cte",
        ),
        pytest.param(
            "SELECT nextval('numbers') AS n",
            SourceQueryError,
            "PostgreSQL: cannot execute nextval() in a read-only transaction (SQLSTATE 25006): the query must only "
            "read",
            id="nextval",
        ),
        pytest.param(
            "SELECT id FROM customers FOR UPDATE",
            SourceQueryError,
            "PostgreSQL: cannot execute SELECT FOR UPDATE in a read-only transaction (SQLSTATE 25006): the query "
            "must only read",
            id="for update",
        ),
        pytest.param(
            "SELECT set_config('transaction_read_only', 'off', true), nextval('numbers')",
            SourceQueryError,
            "PostgreSQL: transaction read-write mode must be set before any query (SQLSTATE 25001): the query "
            "must only read",
            id="read-only cannot be left",
        ),
        pytest.param(
            "SELECT 1 INTO copy",
            SourceQueryError,
            "PostgreSQL: SELECT ... INTO is not allowed here (SQLSTATE 42601) at line 1, column 15 of the query: "
            "correct the query",
            id="select into",
        ),
        pytest.param(
            "SHOW timezone",
            SourceQueryError,
            "postgresql_query begins with SHOW: give one SELECT",
            id="no SELECT",
        ),
        pytest.param(
            "SELECT id FROM customers WHERE",
            SourceQueryError,
            "PostgreSQL: syntax error at the end of the query (SQLSTATE 42601): correct the query",
            id="no end",
        ),
        pytest.param(
            "-- the table\n'customers'",
            SourceQueryError,
            "postgresql_query has no statement: give one SELECT",
            id="a text",
        ),
        pytest.param(
            "SELECT 1 AS a; /* never ends",
            SourceQueryError,
            "postgresql_query: the comment that begins at line 1, column 16 does not end",
            id="a comment that never ends",
        ),
        pytest.param(
            "SELECT B'2'; COMMIT; DELETE FROM customers",
            SourceQueryError,
            "postgresql_query has more than one statement: give one SELECT",
            id="statements behind bits",
        ),
        pytest.param(
            "SELECT B'2' AS bits",
            SourceQueryError,
            "PostgreSQL: InvalidTextRepresentation (SQLSTATE 22P02) at line 1, column 8 of the query: correct the "
            "query",
            id="bits that are none",
        ),
    ],
)
def test_refused(shop: Reader, connection: Connection, query: str, error: type[SyncError], message: str) -> None:
    with pytest.raises(error) as caught:
        shop.rows(query)
    assert (type(caught.value), str(caught.value)) == (error, message)
    assert execute(connection, "SELECT count(*) FROM customers") == [(3,)]
    assert execute(connection, "SELECT is_called FROM numbers") == [(False,)]


def test_the_session_itself_only_reads(shop: Reader) -> None:
    with connected(shop.source("SELECT 1").connection, 0) as session, pytest.raises(psycopg2.Error) as caught:
        # What a second statement could do, were there one.
        execute(session, "COMMIT; CREATE TABLE written ()")
    assert caught.value.pgcode == "25006"


JANUARY_1 = datetime(2024, 1, 1, tzinfo=UTC)
JANUARY_2 = JANUARY_1 + timedelta(days=1)
INTERVAL = SyncInterval(JANUARY_1, JANUARY_2, StartOrigin.DESTINATION)
SMART_SYNC = {"enable_smart_sync": "true", "smart_sync_timestamp_column": "updated_at", "enable_auto_schema": "false"}


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("SELECT id, updated_at FROM customers", id="predicate added"),
        pytest.param("SELECT id, updated_at FROM customers ORDER BY id; -- all", id="predicate added behind a comment"),
        pytest.param(
            "SELECT id, updated_at FROM customers WHERE updated_at > '{start_timestamp}' AND updated_at <= "
            "'{end_timestamp}'",
            id="both placeholders",
        ),
        pytest.param(
            "SELECT id, updated_at FROM customers WHERE updated_at > timestamptz '{start_timestamp}' AND '{a,b}' <> "
            "'{}' AND updated_at <= '{end_timestamp}'::timestamptz AND 'x' LIKE '%'",
            id="placeholders among braces and percents",
        ),
        pytest.param(
            "WITH c AS (SELECT * FROM customers) SELECT c.id, c.updated_at FROM c LEFT JOIN orders AS q ON q.number "
            "= c.id",
            id="predicate around a cte that uses our alias",
        ),
    ],
)
def test_base_query_reads_the_interval(shop: Reader, query: str) -> None:
    parameters = dict(SMART_SYNC)
    if "{start_timestamp}" in query:
        query, parameters["postgresql_base_query"] = "SELECT 'not this one' AS a", query
    # The start was loaded before; the end is included.
    assert shop.rows(query, interval=INTERVAL, **parameters) == [(2, JANUARY_2)]
    everything = SyncInterval(JANUARY_1 - timedelta(microseconds=1), JANUARY_2, StartOrigin.DESTINATION)
    assert [row[0] for row in shop.rows(query, interval=everything, **parameters)] == [1, 2]


def test_a_timestamp_without_zone_is_compared_as_utc(shop: Reader, connection: Connection) -> None:
    execute(connection, f"ALTER DATABASE {connection.info.dbname} SET timezone = 'America/New_York'")
    parameters = {**SMART_SYNC, "smart_sync_timestamp_column": "stamp"}
    query = "SELECT number, stamp FROM orders"
    assert shop.rows(query, interval=INTERVAL, **parameters) == [
        (20, datetime(2024, 1, 2))  # noqa: DTZ001
    ]
    execute(connection, f"ALTER DATABASE {connection.info.dbname} RESET timezone")


def test_an_odd_timestamp_column(shop: Reader) -> None:
    parameters = {**SMART_SYNC, "smart_sync_timestamp_column": "Updated"}
    query = 'SELECT id, updated_at AS "Updated" FROM customers'
    assert [row[0] for row in shop.rows(query, interval=INTERVAL, **parameters)] == [2]


def test_the_query_that_is_shown(shop: Reader) -> None:
    source = shop.source("SELECT id, updated_at FROM customers;", **SMART_SYNC)
    plan = read_planned(source, INTERVAL)
    assert plan.query == (
        "SELECT * FROM (\nSELECT id, updated_at FROM customers\n) AS q\n"
        'WHERE q."updated_at" > \'2024-01-01 00:00:00.000000+00\' AND q."updated_at" <= \'2024-01-02 '
        "00:00:00.000000+00'"
    )
    assert read_planned(shop.source("SELECT 1;")).query == "SELECT 1"


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        pytest.param("SELECT * FROM customers", 3, id="table"),
        pytest.param("SELECT * FROM generate_series(1, 12345) AS g", 12345, id="function"),
        pytest.param("SELECT * FROM customers LIMIT 2", 2, id="limit"),
        pytest.param("VALUES (1), (2), (3), (4)", 4, id="values"),
    ],
)
def test_estimated_rows(shop: Reader, query: str, rows: int) -> None:
    assert read_planned(shop.source(query)).estimated_rows == rows


def test_the_server_s_clock(shop: Reader, connection: Connection) -> None:
    [(before,)] = execute(connection, "SELECT clock_timestamp()")
    now = clock_of(shop.source("SELECT 1")).now
    [(after,)] = execute(connection, "SELECT clock_timestamp()")
    assert before <= now <= after
    assert now.utcoffset() == timedelta(0)


@pytest.mark.parametrize("lag", [timedelta(minutes=5), None], ids=["a lag", "nothing replayed"])
def test_the_end_stays_before_what_a_standby_has_replayed(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, lag: timedelta | None
) -> None:
    [(now,)] = execute(connection, "SELECT clock_timestamp()")
    replayed = f"timestamptz '{now - lag}'" if lag else "NULL::timestamptz"
    monkeypatch.setattr(clock, "_STANDBY_SQL", f"SELECT true, {replayed}")
    settle = timedelta(seconds=2)
    execute(connection, "BEGIN")
    try:
        read = clock.observe_clock(connection).clock(settle, max_hold=timedelta(0))
    finally:
        execute(connection, "ROLLBACK")
    assert read.upper_bound == (now - lag if lag else read.now) - settle
    assert any("the server is a standby" in risk for risk in read.risks)


def table_described(reader: Reader, query: str, table: str) -> tuple[list[Field], tuple[str, ...], bool]:
    description = described(reader.source(query, enable_auto_schema="true", source_table_for_schema=table))
    return list(description.schema), description.primary_key, description.single_table


CUSTOMERS = [
    Field("id", "INT64", REQUIRED, "", "integer"),
    Field("name", "STRING", REQUIRED, 'as on the invoice; "quoted" é', "text"),
    Field("updated_at", "TIMESTAMP", REQUIRED, "", "timestamp with time zone"),
]


@pytest.mark.parametrize("table", ["customers", "public.customers", "PUBLIC.Customers", '"public"."customers"'])
def test_source_table(shop: Reader, table: str) -> None:
    assert table_described(shop, "SELECT * FROM customers", table) == (CUSTOMERS, ("id",), True)


def test_without_a_source_table_nothing_is_required(shop: Reader) -> None:
    description = described(shop.source("SELECT * FROM customers"))
    assert {(field.mode, field.description) for field in description.schema} == {(NULLABLE, "")}
    assert (description.primary_key, description.single_table) == ((), False)


def test_a_primary_key_is_in_its_own_order(shop: Reader) -> None:
    fields, key, single = table_described(shop, "SELECT * FROM orders", "orders")
    assert (key, single) == (("number", "customer_id"), True)
    assert [(field.name, field.type_name, field.mode) for field in fields] == [
        ("customer_id", "INT64", REQUIRED),
        ("number", "INT64", REQUIRED),
        ("tags", "ARRAY<STRING>", REPEATED),
        ("document", "JSON", REQUIRED),
        ("stamp", "DATETIME", NULLABLE),
    ]


def test_a_renamed_key_is_found_by_what_it_is(shop: Reader) -> None:
    query = "SELECT customer_id AS number, number AS n, document FROM orders"
    assert table_described(shop, query, "orders")[1] == ("n", "number")


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("SELECT name FROM customers", id="left out"),
        pytest.param("SELECT id + 0 AS id, name FROM customers", id="computed"),
        pytest.param("SELECT id, name FROM customers UNION ALL SELECT 1, 'x'", id="union"),
    ],
)
def test_a_key_that_is_not_returned_unchanged_is_none(shop: Reader, query: str) -> None:
    assert table_described(shop, query, "customers")[1] == ()


def test_a_computed_column_is_nullable_and_no_single_table(shop: Reader) -> None:
    fields, key, single = table_described(shop, "SELECT id, upper(name) AS name FROM customers", "customers")
    assert [(field.name, field.mode, field.description) for field in fields] == [
        ("id", REQUIRED, ""),
        ("name", NULLABLE, ""),
    ]
    assert (key, single) == (("id",), False)


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("SELECT id, name FROM (SELECT * FROM customers) AS s", id="subquery"),
        pytest.param("WITH c AS (SELECT * FROM customers) SELECT id, name FROM c", id="cte"),
        pytest.param("SELECT id, name FROM customers WHERE id > 1 ORDER BY name LIMIT 1", id="condition, order, limit"),
        pytest.param("SELECT DISTINCT id, name FROM customers", id="distinct"),
    ],
)
def test_what_a_column_is_is_seen_through(shop: Reader, query: str) -> None:
    assert table_described(shop, query, "customers") == (CUSTOMERS[:2], ("id",), True)


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("SELECT c.id, c.name FROM customers AS c JOIN orders ON customer_id = c.id", id="join"),
        pytest.param("SELECT c.id, c.name FROM customers AS c, customers AS other", id="the table twice"),
        pytest.param("SELECT c.id, c.name FROM customers AS c, generate_series(1, 2)", id="join with a function"),
        pytest.param(
            "SELECT id, name FROM (SELECT id, name, generate_series(1, 2) FROM customers) AS s",
            id="set-returning column",
        ),
    ],
)
def test_a_query_that_may_repeat_rows_has_no_key(shop: Reader, query: str) -> None:
    assert table_described(shop, query, "customers") == (CUSTOMERS[:2], ("id",), False)


@pytest.mark.parametrize("table", ["names", "snapshot"])
def test_a_view_requires_nothing(shop: Reader, table: str) -> None:
    fields, key, _ = table_described(shop, f"SELECT * FROM {table}", table)
    assert [(field.name, field.mode) for field in fields] == [("id", NULLABLE), ("name", NULLABLE)]
    assert key == ()
    assert shop.rows(f"SELECT * FROM {table} ORDER BY id") == [(1, "Ann"), (2, "Bob"), (3, "Cy")]


def test_a_partitioned_table(shop: Reader) -> None:
    fields, key, single = table_described(shop, "SELECT * FROM events", "events")
    assert [(field.name, field.mode) for field in fields] == [("id", REQUIRED), ("day", REQUIRED)]
    assert (key, single) == (("id", "day"), True)
    assert len(shop.rows("SELECT * FROM events")) == 1


def test_inherited_rows_are_read(shop: Reader) -> None:
    assert shop.rows("SELECT * FROM parent ORDER BY id") == [(1, "p"), (2, "c")]
    assert shop.rows("SELECT * FROM ONLY parent") == [(1, "p")]


@pytest.mark.parametrize(
    ("query", "is_key"), [("SELECT * FROM parent", False), ("SELECT * FROM ONLY parent", True)], ids=["all", "only"]
)
def test_rows_of_child_tables_may_repeat_a_key(shop: Reader, query: str, is_key: bool) -> None:
    assert table_described(shop, query, "parent")[1:] == (("id",), is_key)
    risks = described(shop.source(query, primary_key="id")).risks
    assert any(risk.startswith("the query also reads the child tables of parent (public.child)") for risk in risks) == (
        not is_key
    )


def test_policies_that_may_hide_rows_are_a_risk(shop: Reader, connection: Connection) -> None:
    execute(connection, "CREATE TABLE guarded (id int); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY")
    # The sandbox's user is the tables' owner and a superuser, whom no policy concerns.
    assert not any("row-level security" in risk for risk in described(shop.source("SELECT * FROM guarded")).risks)
    role = f"watched_{shop.database}"
    execute(connection, f"CREATE ROLE {role} LOGIN PASSWORD 'x'; GRANT SELECT ON guarded, customers TO {role}")
    try:
        login = {"postgresql_username": role, "postgresql_password": "x"}
        risks = described(shop.source("SELECT g.id FROM guarded g JOIN customers USING (id)", **login)).risks
        assert [risk.split(":")[0] for risk in risks if "row-level" in risk] == [
            "row-level security of guarded applies to the user"
        ]
    finally:
        execute(connection, f"DROP OWNED BY {role}; DROP ROLE {role}; DROP TABLE guarded")


def test_partitions_share_the_key_of_their_table(shop: Reader) -> None:
    risks = described(shop.source("SELECT * FROM events", primary_key="id,day")).risks
    assert not any("child tables" in risk for risk in risks)


@pytest.mark.parametrize(
    "altered",
    [
        pytest.param("CREATE TABLE lax_child () INHERITS (lax)", id="a child table without it"),
        pytest.param("ALTER TABLE lax ADD CONSTRAINT checked NOT NULL day NOT VALID", id="not checked yet"),
    ],
)
def test_a_not_null_that_does_not_hold_for_all_rows_is_none(shop: Reader, connection: Connection, altered: str) -> None:
    declared = "day date" if "VALID" in altered else "day date NOT NULL NO INHERIT"
    execute(connection, f"CREATE TABLE lax (id int NOT NULL, {declared})")
    try:
        execute(connection, altered)
        fields, _, _ = table_described(shop, "SELECT * FROM lax", "lax")
        assert [(field.name, field.mode) for field in fields] == [("id", REQUIRED), ("day", NULLABLE)]
    finally:
        execute(connection, "DROP TABLE lax CASCADE")


def test_a_quoted_table(shop: Reader) -> None:
    fields, key, single = table_described(shop, 'TABLE "My Schema"."Order Items"', '"My Schema"."Order Items"')
    assert [(field.name, field.mode) for field in fields] == [('Item "No"', REQUIRED), ("%s", REQUIRED)]
    assert (key, single) == (('Item "No"',), True)


@pytest.mark.parametrize(
    ("table", "shown"),
    [
        pytest.param("missing", '"missing"', id="missing"),
        pytest.param("nowhere.customers", '"nowhere"."customers"', id="missing schema"),
        pytest.param('"Customers"', '"Customers"', id="capitals"),
        pytest.param('"public.customers"', '"public.customers"', id="quoted as one"),
    ],
)
def test_a_missing_source_table(shop: Reader, table: str, shown: str) -> None:
    with pytest.raises(SchemaError) as caught:
        table_described(shop, "SELECT * FROM customers", table)
    assert str(caught.value) == (
        f"source_table_for_schema: {shown} is not a table the user can see in database {shop.database}: give it as "
        "schema.table, and quote names with capitals"
    )


def test_a_null_from_a_left_join_in_a_not_null_column(shop: Reader) -> None:
    query = "SELECT o.number, c.name FROM customers AS c LEFT JOIN orders AS o ON o.customer_id = c.id ORDER BY c.id"
    parameters = {"enable_auto_schema": "true", "source_table_for_schema": "orders"}
    assert shop.schema(query, **parameters).field("number").mode == REQUIRED
    with pytest.raises(RecordError) as caught:
        shop.rows(query, **parameters)
    assert str(caught.value) == (
        "column 'number' has NULL, which is not allowed: it is in primary_key, NOT NULL in source_table_for_schema, or "
        "REQUIRED in the destination. Correct the rows or the query (an outer join produces such rows), omit "
        "source_table_for_schema, or in an existing table run ALTER TABLE … ALTER COLUMN `number` DROP NOT NULL "
        "(in 1 of 3 rows)"
    )
    # What the message proposes works.
    assert shop.rows(query) == [(10, "Ann"), (20, "Bob"), (None, "Cy")]


def test_partitions_are_read_in_a_pipeline(shop: Reader) -> None:
    source = shop.source("SELECT id, name FROM customers")
    schema = described(source).schema
    splits = [
        (0, ReadSplit(index, 2, f"SELECT id, name FROM customers WHERE id {condition} ORDER BY id"))
        for index, condition in enumerate(("<= 2", "> 2"), start=1)
    ]
    pipeline = Pipeline()
    outputs = pipeline | beam.Create(splits) | source.transform({0: TableRead(source.reader(schema), 1)})
    rows = outputs[BATCHES] | beam.Map(lambda element: (element[1].num_rows, rows_of(element[1])))
    assert_that(rows, equal_to([(1, [(1, "Ann")]), (1, [(2, "Bob")]), (1, [(3, "Cy")])]))
    result = pipeline.run()
    result.wait_until_finish()
    [counter] = result.metrics().query(MetricsFilter().with_name("rows_read"))["counters"]
    assert counter.committed == 3
    assert not [thread for thread in threading.enumerate() if thread.name == "copy"]
