"""Tables are created as Auto-Schema says, and a table that is there is matched column by column."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.integration.syncing import Syncing

AUTO = {"enable_auto_schema": "true", "source_table_for_schema": "public.items"}


@pytest.fixture(autouse=True)
def items(syncing: Syncing) -> None:
    syncing.execute(
        """
        CREATE TABLE items (
            id bigint PRIMARY KEY,
            status text NOT NULL,
            price numeric(10,2),
            tags text[],
            document jsonb,
            day date,
            created_at timestamp,
            updated_at timestamptz NOT NULL
        );
        COMMENT ON COLUMN items.status IS 'as in the shop: "open" or ''closed''';
        INSERT INTO items VALUES
            (1, 'open', 1.50, '{a}', '{}', '2024-01-01', '2024-01-01', '2024-01-01Z'),
            (2, 'closed', NULL, NULL, NULL, NULL, NULL, '2024-02-01Z');
        """
    )


def test_the_created_table(syncing: Syncing) -> None:
    run = syncing.run(**AUTO, clustering_fields="status,id").succeeded()
    assert run.rows_loaded == 2
    table = syncing.table()
    assert [(field.name, field.field_type, field.mode) for field in table.schema] == [
        ("id", "INTEGER", "REQUIRED"),
        ("status", "STRING", "REQUIRED"),
        ("price", "NUMERIC", "NULLABLE"),
        ("tags", "STRING", "REPEATED"),
        ("document", "JSON", "NULLABLE"),
        ("day", "DATE", "NULLABLE"),
        ("created_at", "DATETIME", "NULLABLE"),
        ("updated_at", "TIMESTAMP", "REQUIRED"),
    ]
    assert table.schema[1].description == "as in the shop: \"open\" or 'closed'"
    assert (table.time_partitioning.field, table.time_partitioning.type_) == ("updated_at", "DAY")
    assert table.clustering_fields == ["status", "id"]
    assert table.table_constraints is None or table.table_constraints.primary_key is None
    assert [note for note in run.notes if "primary key (id) is not declared" in note]


def test_without_auto_schema_the_table_is_plain(syncing: Syncing) -> None:
    syncing.run().succeeded()
    table = syncing.table()
    assert (table.time_partitioning, table.clustering_fields) == (None, None)
    assert {field.mode for field in table.schema} == {"NULLABLE", "REPEATED"}


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param({"write_disposition": "WRITE_TRUNCATE"}, id="truncate"),
        pytest.param({"primary_key": "id"}, id="merge"),
    ],
)
def test_the_primary_key_is_declared_where_no_two_rows_can_have_one(
    syncing: Syncing, parameters: dict[str, str]
) -> None:
    syncing.run(**AUTO, **parameters).succeeded()
    constraints = syncing.table().table_constraints
    assert constraints.primary_key.columns == ["id"]


def test_a_table_that_is_merged_into_is_clustered_by_its_key(syncing: Syncing) -> None:
    syncing.run(**AUTO, primary_key="id").succeeded()
    assert syncing.table().clustering_fields == ["id"]


def test_the_layout_survives_replacing_the_table(syncing: Syncing) -> None:
    syncing.query("CREATE TABLE items (other STRING)")
    syncing.run(**AUTO, clustering_fields="status", delete_existing_table="true").succeeded()
    table = syncing.table()
    assert (table.time_partitioning.field, table.clustering_fields) == ("updated_at", ["status"])
    assert (table.schema[0].mode, table.schema[1].description[:5]) == ("REQUIRED", "as in")
    assert syncing.column("SELECT id FROM items ORDER BY id") == [1, 2]


def test_without_updated_at_the_table_is_not_partitioned_and_it_is_said(syncing: Syncing) -> None:
    run = syncing.run(**AUTO, postgresql_query="SELECT id, status FROM items").succeeded()
    assert syncing.table().time_partitioning is None
    assert "the table is not partitioned: it has no column updated_at" in run.notes


def test_an_updated_at_that_cannot_partition_is_said(syncing: Syncing) -> None:
    run = syncing.run(**AUTO, postgresql_query="SELECT id, 'x' AS updated_at FROM items").succeeded()
    assert syncing.table().time_partitioning is None
    assert "the table is not partitioned: updated_at is STRING, which cannot partition" in run.notes


def test_a_partition_column_that_is_named_has_to_exist_for_an_existing_table_too(syncing: Syncing) -> None:
    syncing.query("CREATE TABLE items (id INT64)")
    syncing.run(**AUTO, partition_field="made_at").refused("partition_field: the destination has no column made_at")


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        pytest.param(
            {"partition_field": "made_at"},
            ["partition_field: the destination has no column made_at", "id, status, price"],
            id="missing partition column",
        ),
        pytest.param(
            {"partition_field": "status"},
            ["partition_field: status is STRING: use a DATE, DATETIME or TIMESTAMP column"],
            id="partition column of another type",
        ),
        pytest.param(
            {"partition_field": "day", "partition_granularity": "HOUR"},
            ["partition_granularity: a DATE column such as day can be partitioned by DAY, MONTH, YEAR, not by HOUR"],
            id="hours of a date",
        ),
        pytest.param(
            {"clustering_fields": "id,nothing"},
            ["clustering_fields: the destination has no column nothing"],
            id="missing clustering column",
        ),
        pytest.param(
            {"clustering_fields": "document,tags", "partition_field": "price"},
            [
                "clustering_fields: document is JSON",
                "clustering_fields: tags is ARRAY<STRING>",
                "partition_field: price is NUMERIC",
            ],
            id="all problems at once",
        ),
        pytest.param({"clustering_fields": "id,status,price,day,created_at"}, ["at most 4"], id="five"),
        pytest.param({"source_table_for_schema": "public.nothing"}, ["source_table_for_schema", "nothing"], id="table"),
    ],
)
def test_a_layout_that_bigquery_would_not_take_is_refused(
    syncing: Syncing, parameters: dict[str, str], words: list[str]
) -> None:
    syncing.run(**(AUTO | parameters)).refused(*words)
    assert syncing.tables() == []


@pytest.mark.parametrize(
    ("field", "granularity", "statement"),
    [
        ("updated_at", "HOUR", "TIMESTAMP_TRUNC(`updated_at`, HOUR)"),
        ("created_at", "MONTH", "DATETIME_TRUNC(`created_at`, MONTH)"),
        ("day", "YEAR", "DATE_TRUNC(`day`, YEAR)"),
        ("day", "DAY", "`day`"),
    ],
)
def test_the_granularity_of_partitions(syncing: Syncing, field: str, granularity: str, statement: str) -> None:
    parameters = {**AUTO, "partition_field": field, "partition_granularity": granularity}
    printed = syncing.run(**parameters, dry_run="true").printed
    assert f"PARTITION BY {statement}\n" in printed
    syncing.run(**parameters).succeeded()
    partitioning = syncing.table().time_partitioning
    assert (partitioning.field, partitioning.type_) == (field, granularity)


def test_renamed_columns_partition_and_cluster_by_either_name(syncing: Syncing) -> None:
    mapping = '{"field_mappings": {"updated_at": "changed", "status": "state"}}'
    for table, fields in (("items", ("updated_at", "status")), ("again", ("changed", "state"))):
        syncing.run(
            **AUTO,
            transformation_config=mapping,
            partition_field=fields[0],
            clustering_fields=fields[1],
            destination_bigquery_table=table,
        ).succeeded()
        made = syncing.table(table)
        assert (made.time_partitioning.field, made.clustering_fields) == ("changed", ["state"])


def test_more_partitions_than_a_table_takes_are_refused_with_the_next_granularity(syncing: Syncing) -> None:
    moment = "timestamptz '1990-01-01Z' + n * interval '1 day'"
    query = f"SELECT n AS id, {moment} AS updated_at FROM generate_series(1, 10001) n"
    run = syncing.run(enable_auto_schema="true", postgresql_query=query)
    run.refused("more than 10,000 partitions of updated_at by DAY", "partition_granularity=MONTH")
    assert (syncing.tables(), syncing.left_over()) == ([], [])
    syncing.run(enable_auto_schema="true", postgresql_query=query, partition_granularity="MONTH").succeeded()


@pytest.mark.parametrize("disposition", ["WRITE_APPEND", "WRITE_TRUNCATE"])
def test_more_partitions_than_one_job_changes_are_published_in_one_change(syncing: Syncing, disposition: str) -> None:
    moment = "timestamptz '1990-01-01Z' + n * interval '1 day'"
    query = f"SELECT n AS id, {moment} AS updated_at FROM generate_series(1, 4001) n"
    parameters = {"enable_auto_schema": "true", "postgresql_query": query, "write_disposition": disposition}
    assert syncing.run(**parameters).succeeded().rows_loaded == 4001
    assert syncing.query("SELECT COUNT(*), COUNT(DISTINCT id) FROM items") == [(4001, 4001)]
    assert syncing.left_over() == []


def test_not_null_is_kept_by_the_read(syncing: Syncing) -> None:
    # An outer join makes rows that the source table could not hold.
    query = "SELECT i.* FROM generate_series(1, 3) n LEFT JOIN items i ON i.id = n"
    syncing.run(**AUTO, postgresql_query=query).refused(
        "column 'id' has NULL, which is not allowed", "(in 1 of 3 rows)"
    )


# A table that is there.

EXISTING = "CREATE TABLE items (id INT64, status STRING, {})"
QUERY = "SELECT id, status FROM items"


def test_all_differences_are_named_at_once(syncing: Syncing) -> None:
    syncing.query(
        "CREATE TABLE items (id INT64, status BOOL, price INT64, tags STRING, document STRING, day TIMESTAMP, "
        "updated_at DATETIME, gone STRING NOT NULL)"
    )
    message = syncing.run().refused(
        f"the destination table {syncing.table_id()} does not match the source:",
        "column status is STRING in the source and BOOL in the destination table: to convert the column, set "
        'transformation_config={"type_overrides": {"status": "BOOL"}}',
        "column tags is ARRAY<STRING> in the source and STRING in the destination table: ",
        "column day is DATE in the source and TIMESTAMP in the destination table: ",
        "column created_at (DATETIME) is not in the destination table: run ALTER TABLE "
        f"`{syncing.table_id()}` ADD COLUMN IF NOT EXISTS `created_at` DATETIME, or set schema_evolution=add",
        "column updated_at is TIMESTAMP in the source and DATETIME in the destination table: to convert the column, "
        'set transformation_config={"type_overrides": {"updated_at": "DATETIME"}}',
        "column gone is REQUIRED in the destination table, and no longer selected: run ALTER TABLE "
        f"`{syncing.table_id()}` ALTER COLUMN `gone` DROP NOT NULL",
    )
    # The number and the text fit: NUMERIC values are checked one by one, and JSON is text.
    assert "column price is" not in message
    assert "column document is" not in message


@pytest.mark.parametrize(
    ("declared", "there", "value", "expected"),
    [
        ("int", "NUMERIC", "7", Decimal(7)),
        ("int", "STRING", "7", "7"),
        ("numeric(10,2)", "INT64", "7.00", 7),
        ("numeric", "NUMERIC", "7.5", Decimal("7.5")),
        ("boolean", "STRING", "true", "true"),
        ("jsonb", "STRING", '{"a": 1}', '{"a": 1}'),
        ("text", "JSON", '{"a": 1}', {"a": 1}),
        ("int[]", "JSON", "{1,2}", [1, 2]),
        ("timestamptz", "STRING", "2024-01-01Z", "2024-01-01 00:00:00+00"),
    ],
)
def test_a_column_is_read_as_the_type_it_has_there(
    syncing: Syncing, declared: str, there: str, value: str, expected: object
) -> None:
    syncing.query(f"CREATE TABLE items (v {there})")
    run = syncing.run(postgresql_query=f"SELECT '{value}'::{declared} AS v").succeeded()
    (note,) = run.notes
    assert note.startswith(f"v is read as {there}, its type in the destination")
    assert syncing.column("SELECT v FROM items") == [expected]


def test_a_value_that_does_not_fit_the_type_there_is_refused(syncing: Syncing) -> None:
    syncing.query("CREATE TABLE items (v INT64)")
    syncing.run(postgresql_query="SELECT 7.5 AS v").refused("column 'v' (numeric to INT64)", "(in 1 of 1 rows)")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        pytest.param("NUMERIC(10, 2)", "1.129", id="too many digits behind the point"),
        pytest.param("NUMERIC(10, 2)", "123456789.5", id="too many digits before the point"),
        pytest.param("BIGNUMERIC(4)", "1.5", id="no digits behind the point"),
    ],
)
def test_a_number_that_bigquery_would_round_is_refused(syncing: Syncing, column: str, value: str) -> None:
    syncing.query(f"CREATE TABLE items (n {column})")
    refused = syncing.run(postgresql_query=f"SELECT {value} AS n").refused(
        "column 'n' (numeric", "has an invalid value"
    )
    assert "ALTER COLUMN … SET DATA TYPE" in refused
    assert value not in refused
    assert syncing.query("SELECT * FROM items") == []


@pytest.mark.parametrize(
    "value", [pytest.param("12345678.10000000000", id="zeros at the end"), pytest.param("NULL::numeric", id="NULL")]
)
def test_a_number_that_the_column_holds_is_loaded(syncing: Syncing, value: str) -> None:
    syncing.query("CREATE TABLE items (n NUMERIC(10, 2))")
    syncing.run(postgresql_query=f"SELECT {value} AS n").succeeded()
    assert syncing.column("SELECT n FROM items") == [None if "NULL" in value else Decimal("12345678.1")]


def test_columns_are_matched_without_regard_to_case_and_order(syncing: Syncing) -> None:
    syncing.query("CREATE TABLE items (STATUS STRING, Id INT64)")
    syncing.run(postgresql_query=QUERY).succeeded()
    assert syncing.query("SELECT id, status FROM items ORDER BY id") == [(1, "open"), (2, "closed")]


@pytest.mark.parametrize("query", [QUERY, f"{QUERY} WHERE id = 1"])
def test_a_column_that_is_there_only_stays_null(syncing: Syncing, query: str) -> None:
    syncing.query(EXISTING.format("mine STRING"))
    run = syncing.run(postgresql_query=query).succeeded()
    assert "mine is in the destination only: it is NULL in new rows" in run.notes
    assert set(syncing.column("SELECT mine FROM items")) == {None}


ADDITIONS = {
    "a new column": (
        EXISTING.format("z INT64").replace(", z INT64", ""),
        "SELECT id, status, price FROM items",
        "ADD COLUMN IF NOT EXISTS `price` NUMERIC",
    ),
    "a wider type": (
        "CREATE TABLE items (id INT64, price INT64)",
        "SELECT id, price FROM items",
        "ALTER COLUMN `price` SET DATA TYPE NUMERIC",
    ),
    "a required column that is gone": (
        EXISTING.format("gone STRING NOT NULL"),
        QUERY,
        "ALTER COLUMN `gone` DROP NOT NULL",
    ),
}


@pytest.mark.parametrize(("table", "query", "alteration"), ADDITIONS.values(), ids=list(ADDITIONS))
@pytest.mark.parametrize("parameters", [{}, {"primary_key": "id"}], ids=["append", "merge"])
def test_schema_evolution_add_alters_the_table(
    syncing: Syncing, parameters: dict[str, str], table: str, query: str, alteration: str
) -> None:
    syncing.query(table)
    statement = f"ALTER TABLE `{syncing.table_id()}` {alteration}"
    run = syncing.run(postgresql_query=query, schema_evolution="add", **parameters).succeeded()
    assert f"plan: the table will be changed: {statement}" in run.log
    assert syncing.column("SELECT id FROM items ORDER BY id") == [1, 2]
    if "price" in query:
        assert syncing.column("SELECT price FROM items ORDER BY id") == [Decimal("1.5"), None]
    again = syncing.run(postgresql_query=query, schema_evolution="add", **parameters).succeeded()
    assert not [line for line in again.log if "will be changed" in line]


def test_a_new_column_is_null_in_the_rows_that_were_there(syncing: Syncing) -> None:
    syncing.run(postgresql_query=QUERY).succeeded()
    syncing.run(
        postgresql_query="SELECT id, status, tags, document FROM items", schema_evolution="add", primary_key="id"
    ).succeeded()
    assert syncing.query("SELECT id, tags, document FROM items ORDER BY id") == [(1, ["a"], {}), (2, [], None)]


@pytest.mark.parametrize(("table", "query", "alteration"), list(ADDITIONS.values())[::2], ids=list(ADDITIONS)[::2])
def test_schema_evolution_fail_names_the_statement(syncing: Syncing, table: str, query: str, alteration: str) -> None:
    syncing.query(table)
    statement = f"ALTER TABLE `{syncing.table_id()}` {alteration}"
    syncing.run(postgresql_query=query).refused(f"run {statement}, or set schema_evolution=add")
    # And the statement is what helps.
    syncing.query(statement)
    syncing.run(postgresql_query=query).succeeded()


def test_schema_evolution_ignore_leaves_new_columns_out(syncing: Syncing) -> None:
    syncing.query("CREATE TABLE items (id INT64)")
    constant = '{"constant_fields": {"origin": "shop"}}'
    run = syncing.run(postgresql_query=QUERY, schema_evolution="ignore", transformation_config=constant).succeeded()
    assert "status is not in the destination: not loaded (schema_evolution=ignore)" in run.notes
    assert [note for note in run.notes if note.startswith("origin is not in the destination")]
    assert [field.name for field in syncing.table().schema] == ["id"]
    assert syncing.column("SELECT id FROM items ORDER BY id") == [1, 2]


def test_a_run_that_fails_to_read_alters_nothing(syncing: Syncing) -> None:
    syncing.query("CREATE TABLE items (id INT64)")
    run = syncing.run(postgresql_query="SELECT id, 'NaN'::numeric AS v FROM items", schema_evolution="add")
    assert run.exit_code == 2
    assert [field.name for field in syncing.table().schema] == ["id"]


def test_a_layout_that_differs_is_noted_and_stays(syncing: Syncing) -> None:
    syncing.query("CREATE TABLE items (id INT64, status STRING, updated_at TIMESTAMP)")
    query = "SELECT id, status, updated_at FROM items"
    run = syncing.run(**AUTO, postgresql_query=query, clustering_fields="id").succeeded()
    assert run.notes == [
        f"{name}: the existing table is neither partitioned nor clustered and stays so; rebuild it with "
        f"delete_existing_table=true"
        for name in ("partition_field", "clustering_fields")
    ]
    assert syncing.table().clustering_fields is None
