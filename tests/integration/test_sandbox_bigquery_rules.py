"""The sandbox's BigQuery refuses what BigQuery documents as refused, in the service's words."""

import uuid
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from apache_beam.io.filesystems import FileSystems
from google.api_core.exceptions import BadRequest, Forbidden, GoogleAPICallError, NotFound, TooManyRequests
from google.cloud import bigquery
from google.cloud.bigquery import SchemaField
from google.cloud.bigquery.table import PrimaryKey, TableConstraints

from sandbox import Endpoints
from sandbox.bigquery_rules import RULES, rules_off

Query = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture(autouse=True)
def skip_where_the_rule_is_off(request: pytest.FixtureRequest) -> None:
    rule = request.node.get_closest_marker("rule")
    if rule is not None and rule.args[0] in rules_off():
        pytest.skip(f"the rule {rule.args[0]} is off")


class _Loading:
    """Loads one Parquet file that holds a table."""

    def __init__(self, client: bigquery.Client, dataset: str, folder: str) -> None:
        self.client, self.dataset, self.folder = client, dataset, folder

    def __call__(self, name: str, rows: pa.Table, schema: list[SchemaField], **options: Any) -> bigquery.LoadJob:
        uri = f"{options.pop('folder', self.folder)}/{uuid.uuid4().hex}.parquet"
        with FileSystems.create(uri) as file:
            pq.write_table(rows, file)
        config = bigquery.LoadJobConfig(source_format="PARQUET", schema=schema, **options)
        job = self.client.load_table_from_uri(uri, f"{self.dataset}.{name}", job_config=config)
        job.result()
        return job


@pytest.fixture
def load(bigquery_client: bigquery.Client, dataset: str, gcs_folder: str) -> _Loading:
    return _Loading(bigquery_client, dataset, gcs_folder)


def test_a_rule_that_is_off_exists() -> None:
    assert rules_off() <= RULES.keys()


LAYOUT = "CREATE OR REPLACE TABLE DATASET.t (id INT64, day DATE)"


@pytest.mark.rule("replaced_layout")
@pytest.mark.parametrize(
    ("layout", "kind"),
    [
        pytest.param("CLUSTER BY id", "partitioning", id="not partitioned"),
        pytest.param("PARTITION BY DATE_TRUNC(day, MONTH) CLUSTER BY id", "partitioning", id="by month"),
        pytest.param("PARTITION BY day", "clustering", id="not clustered"),
        pytest.param("PARTITION BY day CLUSTER BY day, id", "clustering", id="clustered by more"),
    ],
)
def test_a_table_is_not_replaced_by_one_of_another_layout(query: Query, layout: str, kind: str) -> None:
    query(f"{LAYOUT} PARTITION BY day CLUSTER BY id AS SELECT 1, DATE '2024-01-01'")
    query(f"{LAYOUT} PARTITION BY day CLUSTER BY id AS SELECT 2, DATE '2024-01-01'")
    with pytest.raises(BadRequest, match=f"Cannot replace a table with a different {kind} spec. Instead, DROP"):
        query(f"{LAYOUT} {layout} AS SELECT 3, DATE '2024-01-01'")
    assert query("SELECT id FROM DATASET.t") == [(2,)]


DAYS = "SELECT DATE_ADD(DATE '2000-01-01', INTERVAL n DAY) AS day, n AS id FROM UNNEST(GENERATE_ARRAY(1, {})) AS n"
TOO_MANY = "Too many partitions produced by query, allowed 4000, query produces at least {} partitions"


@pytest.mark.rule("partitions")
def test_a_job_modifies_at_most_4000_partitions(query: Query, load: _Loading, bigquery_client: bigquery.Client) -> None:
    query("CREATE TABLE DATASET.t (day DATE, id INT64) PARTITION BY day")
    query("CREATE TABLE DATASET.rows AS " + DAYS.format(4001))
    with pytest.raises(BadRequest, match=TOO_MANY.format(4001)):
        query("INSERT INTO DATASET.t (day, id) SELECT day, id FROM DATASET.rows")
    assert query("SELECT COUNT(*) FROM DATASET.t") == [(0,)]
    query("INSERT INTO DATASET.t (day, id) SELECT day, id FROM DATASET.rows WHERE id <= 4000")
    merge = "MERGE INTO DATASET.t AS t USING DATASET.rows AS s ON t.id = s.id WHEN MATCHED THEN UPDATE SET day = "
    with pytest.raises(BadRequest, match=TOO_MANY.format(4001)):
        query(f"{merge} DATE_ADD(s.day, INTERVAL 1 DAY)")
    with pytest.raises(BadRequest, match=TOO_MANY.format(4001)):
        query("CREATE TABLE DATASET.u PARTITION BY day AS SELECT * FROM DATASET.rows")
    rows = pa.table({"day": pa.array(range(4001), pa.int32()).cast(pa.date32())})
    with pytest.raises(BadRequest, match=TOO_MANY.format(4001)):
        load("t", rows, [SchemaField("day", "DATE")])
    load("t", rows.slice(0, 4000), [SchemaField("day", "DATE")])


@pytest.mark.rule("partitions")
def test_a_table_has_at_most_10000_partitions(query: Query) -> None:
    query("CREATE TABLE DATASET.t (hour DATETIME) PARTITION BY DATETIME_TRUNC(hour, HOUR)")
    hours = "SELECT DATETIME_ADD(DATETIME '2000-01-01', INTERVAL n HOUR) FROM UNNEST(GENERATE_ARRAY({}, {})) AS n"
    for first in (1, 4001):
        query(f"INSERT INTO DATASET.t (hour) {hours.format(first, first + 3999)}")
    with pytest.raises(GoogleAPICallError, match="Number of partitions"):
        query(f"INSERT INTO DATASET.t (hour) {hours.format(8001, 10001)}")
    query(f"INSERT INTO DATASET.t (hour) {hours.format(8001, 10000)}")


NO_FILTER = r"Cannot query over table '.*\.t' without a filter over column\(s\) 'day' that can be used for partition"


@pytest.mark.rule("partition_filter")
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT COUNT(*) FROM DATASET.t",
        "SELECT COUNT(*) FROM DATASET.t WHERE id = 1",
        "SELECT COUNT(*) FROM DATASET.t WHERE id = 1 OR day = '2024-01-01'",
        "SELECT COUNT(*) FROM DATASET.t WHERE day IN (SELECT day FROM DATASET.s)",
        "SELECT COUNT(*) FROM DATASET.t AS t JOIN DATASET.s AS s ON t.day = s.day",
        "SELECT COUNT(*) FROM DATASET.t AS t JOIN DATASET.s AS s USING (id) WHERE s.day = '2024-01-01'",
        "INSERT INTO DATASET.s (id, day) SELECT id, day FROM DATASET.t",
        "UPDATE DATASET.t SET id = 2 WHERE id = 1",
        "DELETE FROM DATASET.t WHERE TRUE",
        "MERGE INTO DATASET.t AS t USING DATASET.s AS s ON t.id = s.id AND t.day = s.day WHEN MATCHED THEN DELETE",
        "CREATE TABLE DATASET.u AS SELECT * FROM DATASET.t",
    ],
)
def test_a_required_partition_filter_is_required(query: Query, statement: str) -> None:
    _require_filter(query)
    with pytest.raises(BadRequest, match=NO_FILTER):
        query(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT COUNT(*) FROM DATASET.t WHERE day = '2024-01-01'",
        "SELECT COUNT(*) FROM DATASET.t WHERE (day IS NULL OR day IS NOT NULL) AND id = 1",
        "SELECT COUNT(*) FROM (SELECT * FROM DATASET.t) AS u WHERE u.day > '2024-01-01'",
        "WITH u AS (SELECT * FROM DATASET.t) SELECT COUNT(*) FROM u WHERE day BETWEEN '2024-01-01' AND CURRENT_DATE()",
        "DECLARE days ARRAY<DATE> DEFAULT ['2024-01-01']; SELECT COUNT(*) FROM DATASET.t WHERE day IN UNNEST(days)",
        "MERGE INTO DATASET.t AS t USING DATASET.s AS s ON t.id = s.id AND (t.day > '2024-01-01' OR t.day IS NULL) "  # noqa: ISC004
        "WHEN MATCHED THEN UPDATE SET id = 5 WHEN NOT MATCHED THEN INSERT (id, day) VALUES (id, day)",
        "DELETE FROM DATASET.t WHERE day > '2024-01-01'",
        "INSERT INTO DATASET.t (id, day) SELECT id, day FROM DATASET.s",
        "TRUNCATE TABLE DATASET.t",
    ],
)
def test_a_partition_filter_of_known_values_is_enough(query: Query, statement: str) -> None:
    _require_filter(query)
    query(statement)


def _require_filter(query: Query) -> None:
    query("CREATE TABLE DATASET.t (id INT64, day DATE) PARTITION BY day OPTIONS(require_partition_filter = TRUE)")
    query("CREATE TABLE DATASET.s AS SELECT 1 AS id, DATE '2024-01-01' AS day")
    query("INSERT INTO DATASET.t (id, day) VALUES (1, DATE '2024-01-01')")


@pytest.mark.rule("key_types")
@pytest.mark.parametrize("kind", ["BYTES", "FLOAT64", "JSON", "TIME"])
def test_a_primary_key_has_columns_of_the_allowed_types(
    bigquery_client: bigquery.Client, dataset: str, query: Query, kind: str
) -> None:
    table = bigquery.Table(f"{bigquery_client.project}.{dataset}.t", [SchemaField("id", kind)])
    table.table_constraints = TableConstraints(PrimaryKey(columns=["id"]), foreign_keys=None)
    with pytest.raises(BadRequest, match=f"Column id of type {kind} cannot be used as a primary key column"):
        bigquery_client.create_table(table)
    for statement in ("CREATE TABLE", "CREATE OR REPLACE TABLE"):
        with pytest.raises(BadRequest, match=f"Column id of type {kind}"):
            query(f"{statement} DATASET.t (id {kind}, PRIMARY KEY (id) NOT ENFORCED)")
    query("CREATE TABLE DATASET.t (id NUMERIC(20), other STRING, PRIMARY KEY (id, other) NOT ENFORCED)")


@pytest.mark.rule("required_columns")
@pytest.mark.parametrize("disposition", ["WRITE_TRUNCATE", "WRITE_TRUNCATE_DATA", "WRITE_APPEND"])
def test_the_result_of_a_query_does_not_fit_required_columns(
    bigquery_client: bigquery.Client, dataset: str, query: Query, disposition: str
) -> None:
    query("CREATE TABLE DATASET.t (id INT64 NOT NULL)")
    config = bigquery.QueryJobConfig(destination=f"{bigquery_client.project}.{dataset}.t")
    config.write_disposition = disposition
    with pytest.raises(BadRequest, match="Field id has changed mode from REQUIRED to NULLABLE"):
        bigquery_client.query("SELECT 1 AS id", job_config=config, job_retry=None).result()


@pytest.mark.rule("policy_tags")
def test_policy_tags_need_a_right(bigquery_client: bigquery.Client, dataset: str, query: Query, load: _Loading) -> None:
    tags = bigquery.PolicyTagList(["projects/p/locations/us/taxonomies/1/policyTags/2"])
    tagged = [SchemaField("id", "INT64", policy_tags=tags)]
    table = bigquery.Table(f"{bigquery_client.project}.{dataset}.t", tagged)
    denied = "Permission bigquery.tables.setCategory denied on table"
    with pytest.raises(Forbidden, match=denied):
        bigquery_client.create_table(table)
    _allow_policy_tags(bigquery_client, dataset, True)
    bigquery_client.create_table(table)
    _allow_policy_tags(bigquery_client, dataset, False)
    with pytest.raises(Forbidden, match=denied):
        load("t", pa.table({"id": [1]}), tagged)
    load("t", pa.table({"id": [1]}), [SchemaField("id", "INT64")])
    query("ALTER TABLE DATASET.t ADD COLUMN other STRING")
    kept = bigquery_client.get_table(table.reference)
    assert [field.policy_tags for field in kept.schema] == [tags, None]
    bigquery_client.update_table(kept, ["schema"])
    kept.schema = [SchemaField("id", "INT64"), SchemaField("other", "STRING", policy_tags=tags)]
    with pytest.raises(Forbidden, match=denied):
        bigquery_client.update_table(kept, ["schema"])


def _allow_policy_tags(client: bigquery.Client, dataset: str, allowed: bool) -> None:
    resource = client.get_dataset(dataset)
    resource.labels = {"sandbox_may_set_policy_tags": "yes" if allowed else None}
    client.update_dataset(resource, ["labels"])


@pytest.mark.rule("row_access")
def test_row_access_policies_hide_rows_without_an_error(
    bigquery_client: bigquery.Client, dataset: str, query: Query, load: _Loading
) -> None:
    query("CREATE TABLE DATASET.t AS SELECT id FROM UNNEST([1, 2, 3]) AS id")
    query("CREATE TABLE DATASET.s AS SELECT 3 AS id")
    query("CREATE ROW ACCESS POLICY one ON DATASET.t GRANT TO ('allAuthenticatedUsers') FILTER USING (id = 1)")
    job = bigquery_client.query(f"SELECT id FROM {dataset}.t")
    assert [row.values() for row in job.result()] == [(1,)]
    job.reload()
    assert job._properties["statistics"]["rowLevelSecurityStatistics"] == {"rowLevelSecurityApplied": True}
    for statement in (
        "DELETE FROM DATASET.t WHERE id = 1",
        "UPDATE DATASET.t SET id = 5 WHERE id = 1",
        "INSERT INTO DATASET.t (id) VALUES (4)",
        "TRUNCATE TABLE DATASET.t",
        "MERGE INTO DATASET.t AS t USING DATASET.s AS s ON t.id = s.id WHEN MATCHED THEN DELETE",
    ):
        with pytest.raises(Forbidden, match="DML statements require access to all rows"):
            query(statement)
    load("t", pa.table({"id": [1]}), [SchemaField("id", "INT64")], write_disposition="WRITE_APPEND")
    assert query("SELECT id FROM DATASET.t") == [(1,), (1,)]
    query("CREATE ROW ACCESS POLICY two ON DATASET.t GRANT TO ('allAuthenticatedUsers') FILTER USING (TRUE)")
    query("INSERT INTO DATASET.t (id) VALUES (4)")
    assert len(query("SELECT id FROM DATASET.t")) == 5
    query("ALTER TABLE DATASET.t RENAME TO u")
    query("DROP ROW ACCESS POLICY two ON DATASET.u")
    assert query("SELECT DISTINCT id FROM DATASET.u") == [(1,)]
    query("DROP ALL ROW ACCESS POLICIES ON DATASET.u")
    assert len(query("SELECT id FROM DATASET.u")) == 5
    query("CREATE ROW ACCESS POLICY one ON DATASET.u GRANT TO ('allAuthenticatedUsers') FILTER USING (id = 1)")
    query("CREATE OR REPLACE TABLE DATASET.u AS SELECT 7 AS id")
    assert query("SELECT id FROM DATASET.u") == [(7,)]


@pytest.mark.rule("bucket_location")
@pytest.mark.parametrize(
    ("bucket_location", "dataset_location", "fits"),
    [("EU", "US", False), ("us-east1", "US", True), ("US", "us-east1", False), ("europe-west2", "EU", False)],
)
def test_files_are_loaded_from_a_bucket_where_the_dataset_is(
    bigquery_client: bigquery.Client,
    endpoints: Endpoints,
    load: _Loading,
    dataset: str,
    bucket_location: str,
    dataset_location: str,
    fits: bool,
) -> None:
    bucket = f"bucket-{uuid.uuid4().hex[:12]}"
    body = {"name": bucket, "location": bucket_location}
    requests.post(f"{endpoints.storage_host}/storage/v1/b", json=body, timeout=20).raise_for_status()
    there = bigquery.Dataset(f"{bigquery_client.project}.{dataset}_there")
    there.location = dataset_location
    bigquery_client.create_dataset(there)
    load.dataset = there.dataset_id
    try:
        if fits:
            load("t", pa.table({"id": [1]}), [SchemaField("id", "INT64")], folder=f"gs://{bucket}")
            return
        with pytest.raises(BadRequest, match="Cannot read and write in different locations: source: "):
            load("t", pa.table({"id": [1]}), [SchemaField("id", "INT64")], folder=f"gs://{bucket}")
    finally:
        bigquery_client.delete_dataset(there, delete_contents=True)


@pytest.mark.rule("metadata_rate")
def test_the_metadata_of_a_table_changes_five_times_in_ten_seconds(
    bigquery_client: bigquery.Client, dataset: str, query: Query
) -> None:
    query("CREATE TABLE DATASET.t (id INT64)")

    def alter(run: str, number: int) -> None:
        config = bigquery.QueryJobConfig(labels={"sync_run": run})
        statement = f"ALTER TABLE {dataset}.t ADD COLUMN {run}{number} INT64"
        bigquery_client.query(statement, job_config=config, job_retry=None).result()

    run = f"r{uuid.uuid4().hex}"
    for number in range(5):
        alter(run, number)
    with pytest.raises(TooManyRequests, match="Exceeded rate limits: too many table update operations for this table"):
        alter(run, 5)
    alter(f"other_{run}", 6)


@pytest.mark.rule("truncate_data_columns")
def test_a_load_that_keeps_the_schema_brings_all_columns(query: Query, load: _Loading) -> None:
    query("CREATE TABLE DATASET.t (id INT64, other STRING)")
    with pytest.raises(BadRequest, match="Field other is missing in new schema"):
        load("t", pa.table({"id": [1]}), [SchemaField("id", "INT64")], write_disposition="WRITE_TRUNCATE_DATA")


def test_a_job_id_is_unique_in_its_project_and_location(bigquery_client: bigquery.Client) -> None:
    job_id = uuid.uuid4().hex
    for location, number in (("US", 1), ("EU", 2), ("europe-west4", 3)):
        job = bigquery_client.query(f"SELECT {number}", job_id=job_id, location=location, job_retry=None)
        assert [row.values() for row in job.result()] == [(number,)]
        assert bigquery_client.get_job(job_id, location=location).location == location
    assert bigquery_client.get_job(job_id).location == "US"
    only_there = bigquery_client.query("SELECT 1", location="europe-west4")
    only_there.result()
    with pytest.raises(NotFound):
        bigquery_client.get_job(only_there.job_id)


@pytest.mark.rule("dataset_location")
def test_a_query_runs_where_its_tables_are(bigquery_client: bigquery.Client, dataset: str) -> None:
    there = bigquery.Dataset(f"{bigquery_client.project}.{dataset}_there")
    there.location = "EU"
    bigquery_client.create_dataset(there)
    query = f"SELECT * FROM {there.dataset_id}.t"
    bigquery_client.query(f"CREATE TABLE {there.dataset_id}.t AS SELECT 1 AS id").result()
    assert bigquery_client.query(query).result().total_rows == 1
    with pytest.raises(NotFound, match="was not found in location US"):
        bigquery_client.query(query, location="US", job_retry=None).result()
    bigquery_client.delete_dataset(there, delete_contents=True)
