"""What the sandbox's BigQuery says of statements and tables: bytes, time zones, JSON, and what tables inherit."""

import datetime
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from google.api_core.exceptions import BadRequest, Conflict, InternalServerError, NotFound
from google.cloud import bigquery
from google.cloud.bigquery import SchemaField

Query = Callable[[str], list[tuple[Any, ...]]]

# Twenty rows of 22 bytes (INT64, DATE, STRING of four letters) in each of ten partitions.
PARTITIONED = (
    "CREATE TABLE DATASET.t PARTITION BY day AS SELECT n AS id, "
    "DATE_ADD(DATE '2024-01-01', INTERVAL MOD(n, 10) DAY) AS day, 'abcd' AS name "
    "FROM UNNEST(GENERATE_ARRAY(0, 199)) AS n"
)
MERGE = (
    "MERGE DATASET.t AS t USING (SELECT 1 AS id, DATE '2024-01-02' AS day) AS s ON t.id = s.id {} WHEN MATCHED THEN "
    "UPDATE SET name = 'new' WHEN NOT MATCHED THEN INSERT (id, day) VALUES (s.id, s.day)"
)
OF_TWO_DAYS = "AND (t.day IN ('2024-01-02', '2024-01-03') OR t.day IS NULL)"
A_PARTITION = 20 * 22


@pytest.mark.parametrize(
    ("statement", "estimated", "processed"),
    [
        pytest.param("SELECT * FROM DATASET.t", 200 * 22, 200 * 22, id="all columns"),
        pytest.param("SELECT MAX(u.id) FROM DATASET.t AS u", 200 * 8, 200 * 8, id="one column"),
        pytest.param("SELECT COUNT(*) FROM DATASET.t", 0, 0, id="no column"),
        pytest.param("SELECT id FROM DATASET.t WHERE day = '2024-01-02'", 20 * 16, 20 * 16, id="one partition"),
        pytest.param(MERGE.format(""), 200 * 8 + 200 * 22, 200 * 8 + A_PARTITION, id="merge"),
        pytest.param(MERGE.format(OF_TWO_DAYS), 40 * 16 + 40 * 22, 40 * 16 + A_PARTITION, id="merge of partitions"),
        pytest.param(
            "DELETE FROM DATASET.t WHERE day = '2024-01-05' AND id = 4", 20 * 16 + A_PARTITION, 20 * 16 + A_PARTITION
        ),
        pytest.param("INSERT INTO DATASET.t (id, day) SELECT id, day FROM DATASET.t", 200 * 16, 200 * 16, id="insert"),
        pytest.param("TRUNCATE TABLE DATASET.t", 0, 0, id="truncate"),
    ],
)
def test_a_statement_processes_the_bytes_of_its_columns_and_partitions(
    bigquery_client: bigquery.Client, dataset: str, query: Query, statement: str, estimated: int, processed: int
) -> None:
    query(PARTITIONED)
    sql = statement.replace("DATASET", dataset)
    estimate = bigquery_client.query(sql, job_config=bigquery.QueryJobConfig(dry_run=True), job_retry=None)
    assert estimate.total_bytes_processed == estimated
    job = bigquery_client.query(sql, job_retry=None)
    job.result()
    assert (job.total_bytes_processed, job.total_bytes_billed) == (processed, 10 << 20 if processed else 0)


def test_a_script_processes_the_bytes_of_its_statements_and_expressions(
    bigquery_client: bigquery.Client, dataset: str, query: Query
) -> None:
    query(PARTITIONED)
    job = bigquery_client.query(
        f"DECLARE days ARRAY<DATE>; SET days = ARRAY(SELECT DISTINCT day FROM {dataset}.t WHERE id < 3); "
        f"SELECT name FROM {dataset}.t WHERE day IN UNNEST(days)"
    )
    job.result()
    assert job.total_bytes_processed == 200 * 16 + 60 * 14


@pytest.mark.parametrize(
    ("condition", "blocks"),
    [
        pytest.param("id BETWEEN 150 AND 210", 2, id="a range"),
        pytest.param("id IN (1, 2, 450)", 2, id="values"),
        pytest.param("id BETWEEN 150 AND 210 AND day > '2020-01-01'", 2, id="and another condition"),
        pytest.param("id + 0 = 1", 5, id="an expression"),
        pytest.param("id = part", 5, id="another column"),
        pytest.param("part = 1", 5, id="the second column alone"),
    ],
)
def test_a_filter_on_the_first_clustering_column_prunes_blocks(
    bigquery_client: bigquery.Client, dataset: str, query: Query, condition: str, blocks: int
) -> None:
    """https://cloud.google.com/bigquery/docs/querying-clustered-tables#best_practices; a dry run knows of none."""
    query(
        "CREATE TABLE DATASET.t (id INT64, part INT64, day DATE) CLUSTER BY id, part AS "
        "SELECT n AS id, MOD(n, 7) AS part, DATE '2024-01-01' AS day FROM UNNEST(GENERATE_ARRAY(0, 499)) AS n"
    )
    sql = f"SELECT id, part, day FROM {dataset}.t WHERE {condition}"
    estimate = bigquery_client.query(sql, job_config=bigquery.QueryJobConfig(dry_run=True), job_retry=None)
    job = bigquery_client.query(sql, job_retry=None)
    job.result()
    assert (estimate.total_bytes_processed, job.total_bytes_processed) == (500 * 24, blocks * 100 * 24)


def test_a_merge_into_a_table_without_partitions_processes_all_of_it(
    bigquery_client: bigquery.Client, dataset: str, query: Query
) -> None:
    query(PARTITIONED.replace("PARTITION BY day", ""))
    job = bigquery_client.query(MERGE.format("").replace("DATASET", dataset))
    job.result()
    assert job.total_bytes_processed == 200 * 8 + 200 * 22


def test_a_query_that_costs_too_much_does_not_run(bigquery_client: bigquery.Client, dataset: str, query: Query) -> None:
    query(PARTITIONED)
    config = bigquery.QueryJobConfig(maximum_bytes_billed=1000)
    with pytest.raises(InternalServerError, match="exceeded limit for bytes billed: 1000"):
        bigquery_client.query(f"SELECT id FROM {dataset}.t", job_config=config, job_retry=None).result()


def test_a_table_says_how_large_it_is(bigquery_client: bigquery.Client, dataset: str, query: Query) -> None:
    query(
        "CREATE TABLE DATASET.t AS SELECT 1 AS i, TRUE AS b, 'ä' AS s, b'abc' AS x, NUMERIC '1' AS n, "
        "BIGNUMERIC '1' AS w, [1, 2] AS l, STRUCT('a' AS s, 1.5 AS f) AS r, CAST(NULL AS INT64) AS z, JSON '[1]' AS j"
    )
    table = bigquery_client.get_table(f"{dataset}.t")
    assert (table.num_rows, table.num_bytes) == (1, 8 + 1 + 4 + 5 + 16 + 32 + 16 + 11 + 0 + 3)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("1e400", "number overflow"),
        ('{"a": [-1e309]}', "number overflow"),
        ("1" + "0" * 309, "number overflow"),
        (r'"\ud800"', "surrogate"),
        (r'{"\udc00": 1}', "surrogate"),
    ],
)
def test_parse_json_refuses_what_no_json_value_can_hold(query: Query, document: str, message: str) -> None:
    with pytest.raises(BadRequest, match=f"Invalid input to PARSE_JSON: .*{message}"):
        query(f"SELECT PARSE_JSON(r'{document}', wide_number_mode=>'round')")


@pytest.mark.parametrize("document", [r'"\ud83d\ude00"', r'"\\ud800"', '"1e400"', "1e308", "[1e-400]"])
def test_parse_json_takes_what_only_looks_like_it(query: Query, document: str) -> None:
    query(f"SELECT PARSE_JSON(r'{document}', wide_number_mode=>'round')")


def test_a_project_has_a_time_zone(bigquery_client: bigquery.Client) -> None:
    with_zone = bigquery.Client(project="project-in-new-york")
    option = "ALTER PROJECT `project-in-new-york` SET OPTIONS (`region-us.default_time_zone` = {})"
    sql = (
        "SELECT DATETIME_DIFF(CURRENT_DATETIME('UTC'), CURRENT_DATETIME(), HOUR) > 3, "
        "STRING(CAST(TIMESTAMP '2024-01-01 00:00:00+00' AS DATETIME)), CAST(DATETIME '2024-01-01' AS TIMESTAMP)"
    )
    there = (True, "2023-12-31 19:00:00", datetime.datetime(2024, 1, 1, 5, tzinfo=datetime.UTC))
    here = (False, "2024-01-01 00:00:00", datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC))
    with_zone.query(option.format("'America/New_York'")).result()
    try:
        assert [row.values() for row in with_zone.query(sql).result()] == [there]
        assert [row.values() for row in bigquery_client.query(sql).result()] == [here]
    finally:
        with_zone.query(option.format("NULL")).result()
    assert [row.values() for row in with_zone.query(sql).result()] == [here]
    with_zone.close()


def test_tables_inherit_from_their_dataset_and_lose_all_when_replaced(
    bigquery_client: bigquery.Client, dataset: str, query: Query
) -> None:
    key, other_key = (f"projects/p/locations/us/keyRings/r/cryptoKeys/{name}" for name in ("a", "b"))
    resource = bigquery_client.get_dataset(dataset)
    resource.default_table_expiration_ms, resource.default_partition_expiration_ms = 3_600_000, 7_200_000
    resource.default_encryption_configuration = bigquery.EncryptionConfiguration(kms_key_name=key)
    names = ["default_table_expiration_ms", "default_partition_expiration_ms", "default_encryption_configuration"]
    bigquery_client.update_dataset(resource, names)
    query("CREATE TABLE DATASET.plain (day DATE)")
    query("CREATE TABLE DATASET.t (day DATE) PARTITION BY day")
    table = bigquery.Table(f"{bigquery_client.project}.{dataset}.own", [SchemaField("day", "DATE")])
    table.time_partitioning = bigquery.TimePartitioning(field="day", expiration_ms=1_000)
    table.encryption_configuration = bigquery.EncryptionConfiguration(kms_key_name=other_key)
    bigquery_client.create_table(table)

    def described(name: str) -> tuple[Any, ...]:
        found = bigquery_client.get_table(f"{dataset}.{name}")
        partitioning = found.time_partitioning
        expiration = partitioning and partitioning.expiration_ms
        return found.encryption_configuration.kms_key_name, expiration, found.expires is not None, found.labels

    assert described("plain") == (key, None, True, {})
    assert described("t") == (key, 7_200_000, False, {})
    assert described("own") == (other_key, 1_000, False, {})
    options = "labels = [('team', 'data')], require_partition_filter = TRUE, partition_expiration_days = 3"
    options += f", kms_key_name = '{other_key}'"
    query(f"CREATE OR REPLACE TABLE DATASET.t (day DATE) PARTITION BY day OPTIONS ({options})")
    assert described("t") == (other_key, 3 * 86_400_000, False, {"team": "data"})
    query("CREATE OR REPLACE TABLE DATASET.t PARTITION BY day AS SELECT DATE '2024-01-01' AS day")
    assert described("t") == (key, 7_200_000, False, {})
    assert not bigquery_client.get_table(f"{dataset}.t").require_partition_filter


def test_truncating_a_table_removes_its_constraints(
    bigquery_client: bigquery.Client, dataset: str, query: Query
) -> None:
    query("CREATE TABLE DATASET.t (id INT64, PRIMARY KEY (id) NOT ENFORCED)")
    config = bigquery.QueryJobConfig(destination=f"{bigquery_client.project}.{dataset}.t")
    config.write_disposition = "WRITE_TRUNCATE"
    job_id = uuid.uuid4().hex
    bigquery_client.query("SELECT 1 AS id", job_config=config, job_id=job_id, job_retry=None).result()
    constraints = bigquery_client.get_table(f"{dataset}.t").table_constraints
    assert constraints is None or constraints.primary_key is None


def test_the_names_of_tables_ignore_case_where_the_dataset_does(bigquery_client: bigquery.Client, dataset: str) -> None:
    resource = bigquery.Dataset(f"{bigquery_client.project}.{dataset}_any_case")
    resource.is_case_insensitive = True
    bigquery_client.create_dataset(resource)
    name = resource.dataset_id
    table = bigquery.Table(f"{bigquery_client.project}.{name}.Items", [SchemaField("id", "INT64")])
    bigquery_client.create_table(table)
    with pytest.raises(Conflict, match="Already Exists"):
        bigquery_client.create_table(bigquery.Table(f"{bigquery_client.project}.{name}.items", table.schema))
    bigquery_client.query(f"INSERT INTO {name}.ITEMS (id) VALUES (1)").result()
    assert bigquery_client.get_table(f"{name}.items").table_id == "Items"
    assert [row.values() for row in bigquery_client.query(f"SELECT id FROM {name}.iTEMS").result()] == [(1,)]
    bigquery_client.delete_dataset(resource, delete_contents=True)
    with pytest.raises(NotFound):
        bigquery_client.get_table(f"{dataset}.items")
