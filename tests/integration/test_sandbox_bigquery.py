"""The BigQuery emulator, with our patches, does what the product relies on."""

import datetime
import json
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.io.filesystems import FileSystems
from google.api_core.exceptions import BadRequest, Conflict, NotFound
from google.cloud import bigquery
from google.cloud.bigquery import SchemaField
from google.cloud.bigquery.table import PrimaryKey, TableConstraints
from google.cloud.bigquery_storage_v1 import BigQueryReadClient, types
from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

from sandbox import Endpoints

UTC = datetime.UTC
Query = Callable[[str], list[tuple[Any, ...]]]
Load = Callable[..., bigquery.LoadJob]


@pytest.fixture
def load(bigquery_client: bigquery.Client, dataset: str, gcs_folder: str, tmp_path: Path) -> Load:
    """Load tables, each as a Parquet file in Cloud Storage, as the product does: with an explicit schema."""

    def run(
        name: str, *tables: pa.Table, schema: list[SchemaField], write: str = "WRITE_APPEND", job_id: str | None = None
    ) -> bigquery.LoadJob:
        uris = [f"{gcs_folder}/{uuid.uuid4().hex}.parquet" for _ in tables]
        for uri, table in zip(uris, tables, strict=True):
            with FileSystems.create(uri) as file:
                pq.write_table(table, file)
        config = bigquery.LoadJobConfig(
            source_format="PARQUET", schema=schema, write_disposition=write, create_disposition="CREATE_NEVER"
        )
        config.parquet_options = bigquery.ParquetOptions()
        config.parquet_options.enable_list_inference = True
        job = bigquery_client.load_table_from_uri(uris, f"{dataset}.{name}", job_id=job_id, job_config=config)
        job.result()
        return job

    return run


def _moment(year: int, *rest: int, tzinfo: datetime.tzinfo | None = None) -> datetime.datetime:
    return datetime.datetime(year, *rest, tzinfo=tzinfo)


TYPES = [
    pytest.param("INT64", pa.int64(), [-(2**63), 0, 2**63 - 1], id="int64"),
    pytest.param("FLOAT64", pa.float64(), [1.5, float("inf"), -0.25], id="float64"),
    pytest.param("BOOL", pa.bool_(), [True, False], id="bool"),
    pytest.param("STRING", pa.string(), ["", 'é\n"quoted", and more', "\U0001f600"], id="string"),
    pytest.param("BYTES", pa.binary(), [b"", b"\x00\xff", b"text"], id="bytes"),
    pytest.param("DATE", pa.date32(), [datetime.date(1, 1, 1), datetime.date(9999, 12, 31)], id="date"),
    pytest.param("TIME", pa.time64("us"), [datetime.time(0), datetime.time(23, 59, 59, 999999)], id="time"),
    pytest.param(
        "DATETIME", pa.timestamp("us"), [_moment(1, 1, 1), _moment(9999, 12, 31, 23, 59, 59, 999999)], id="datetime"
    ),
    pytest.param(
        "TIMESTAMP",
        pa.timestamp("us", "UTC"),
        [_moment(1, 1, 1, tzinfo=UTC), _moment(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)],
        id="timestamp",
    ),
    pytest.param(
        "NUMERIC",
        pa.decimal128(38, 9),
        [Decimal("99999999999999999999999999999.999999999"), Decimal("-0.000000001")],
        id="numeric",
    ),
    pytest.param(
        "BIGNUMERIC",
        pa.decimal256(76, 38),
        [Decimal("-12345678901234567890.000000000000000001"), Decimal("1.234567890123456789")],
        id="bignumeric",
    ),
]


@pytest.mark.parametrize(("bigquery_type", "arrow_type", "values"), TYPES)
def test_load_keeps_values(
    bigquery_client: bigquery.Client,
    dataset: str,
    load: Load,
    query: Query,
    bigquery_type: str,
    arrow_type: pa.DataType,
    values: list[Any],
) -> None:
    schema = [
        SchemaField("position", "INT64"),
        SchemaField("scalar", bigquery_type),
        SchemaField("list", bigquery_type, "REPEATED"),
    ]
    bigquery_client.create_table(bigquery.Table(f"{bigquery_client.project}.{dataset}.t", schema))
    rows = [*values, None]
    lists = [values, [], *[None] * (len(rows) - 2)]
    columns = {
        "position": pa.array(range(len(rows)), pa.int64()),
        "scalar": pa.array(rows, arrow_type),
        "list": pa.array(lists, pa.list_(arrow_type)),
    }
    load("t", pa.table(columns), schema=schema)
    expected = [(scalar, repeated or []) for scalar, repeated in zip(rows, lists, strict=True)]
    assert query("SELECT scalar, list FROM DATASET.t ORDER BY position") == expected


@pytest.fixture
def keyed_table(bigquery_client: bigquery.Client, dataset: str) -> bigquery.Table:
    """A table with everything that a sync must not lose: modes, descriptions, key, partitioning, clustering, labels."""
    schema = [
        SchemaField("id", "INT64", "REQUIRED", description="the key"),
        SchemaField("changed", "TIMESTAMP"),
        SchemaField("note", "STRING"),
    ]
    table = bigquery.Table(f"{bigquery_client.project}.{dataset}.keyed", schema)
    table.description, table.labels = "a table", {"team": "data"}
    table.time_partitioning = bigquery.TimePartitioning(type_="MONTH", field="changed")
    table.clustering_fields = ["id"]
    table.expires = _moment(2999, 1, 1, tzinfo=UTC)
    table.table_constraints = TableConstraints(primary_key=PrimaryKey(columns=["id"]), foreign_keys=None)
    return bigquery_client.create_table(table)


def _rows(*ids: int | None) -> pa.Table:
    nothing = pa.nulls(len(ids), pa.timestamp("us", "UTC"))
    return pa.table({"id": pa.array(ids, pa.int64()), "changed": nothing, "note": pa.nulls(len(ids), pa.string())})


ID = [SchemaField("id", "INT64")]
KEYED = [*ID, SchemaField("changed", "TIMESTAMP"), SchemaField("note", "STRING")]


@pytest.mark.parametrize("write", ["WRITE_APPEND", "WRITE_TRUNCATE_DATA"])
def test_load_keeps_the_table(
    bigquery_client: bigquery.Client, keyed_table: bigquery.Table, load: Load, query: Query, write: str
) -> None:
    load("keyed", _rows(1, 2), schema=KEYED)
    load("keyed", _rows(3), schema=KEYED, write=write)
    expected = [(1,), (2,), (3,)] if write == "WRITE_APPEND" else [(3,)]
    assert query("SELECT id FROM DATASET.keyed ORDER BY id") == expected
    after = bigquery_client.get_table(keyed_table)
    for name in ("schema", "description", "labels", "time_partitioning", "clustering_fields", "expires"):
        assert getattr(after, name) == getattr(keyed_table, name), name
    assert after.table_constraints.primary_key.columns == ["id"]


@pytest.mark.parametrize("write", ["WRITE_APPEND", "WRITE_TRUNCATE_DATA"])
def test_a_refused_load_changes_nothing(keyed_table: bigquery.Table, load: Load, query: Query, write: str) -> None:
    load("keyed", _rows(1), schema=ID)
    with pytest.raises(BadRequest, match="NOT NULL constraint failed"):
        load("keyed", _rows(2), _rows(None), schema=KEYED, write=write)
    assert query("SELECT id FROM DATASET.keyed") == [(1,)]


def test_truncating_takes_the_new_schema(
    bigquery_client: bigquery.Client, keyed_table: bigquery.Table, load: Load
) -> None:
    schema = [SchemaField("id", "INT64", "REQUIRED", description="renewed")]
    load("keyed", _rows(1), schema=schema, write="WRITE_TRUNCATE")
    (field,) = bigquery_client.get_table(keyed_table).schema
    assert (field.mode, field.description) == ("REQUIRED", "renewed")


def test_a_new_column_needs_permission(keyed_table: bigquery.Table, load: Load) -> None:
    with pytest.raises(BadRequest, match="Cannot add fields"):
        load("keyed", pa.table({"id": [1], "more": [1]}), schema=[*ID, SchemaField("more", "INT64")])


def test_loading_counts_rows_and_reports_a_missing_table(
    keyed_table: bigquery.Table, load: Load, bigquery_client: bigquery.Client
) -> None:
    assert load("keyed", _rows(1, 2), _rows(3), schema=ID).output_rows == 3
    with pytest.raises(NotFound):
        load("missing", _rows(1), schema=ID)


def test_a_job_id_is_spent_once(keyed_table: bigquery.Table, load: Load, query: Query) -> None:
    job_id = f"job-{uuid.uuid4().hex}"
    load("keyed", _rows(1), schema=ID, job_id=job_id)
    with pytest.raises(Conflict):
        load("keyed", _rows(1), schema=ID, job_id=job_id)
    assert query("SELECT COUNT(*) FROM DATASET.keyed") == [(1,)]


def test_of_simultaneous_jobs_with_one_id_one_wins(bigquery_client: bigquery.Client) -> None:
    job_id = f"job-{uuid.uuid4().hex}"

    def submit(_: int) -> bool:
        try:
            bigquery_client.query("SELECT 1", job_id=job_id, retry=None, job_retry=None)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(submit, range(8))) == 1


def test_of_simultaneous_creations_of_one_table_one_wins(bigquery_client: bigquery.Client, dataset: str) -> None:
    table = bigquery.Table(f"{bigquery_client.project}.{dataset}.contested", schema=ID)

    def create(_: int) -> bool:
        try:
            bigquery_client.create_table(table, retry=None)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(create, range(8))) == 1


def test_parse_json_in_every_statement(query: Query) -> None:
    document = {"number": 0.1, "list": [1, None]}
    parsed = "PARSE_JSON(text, wide_number_mode=>'round')"
    items = "UNNEST(texts) AS item WITH OFFSET AS i ORDER BY i"
    parsed_list = f"ARRAY(SELECT PARSE_JSON(item, wide_number_mode=>'round') FROM {items})"
    text = json.dumps(document)
    query(f"CREATE TABLE DATASET.s AS SELECT 1 AS id, '{text}' AS text, ['{text}', '2'] AS texts")
    query(
        "CREATE OR REPLACE TABLE DATASET.t (id INT64 NOT NULL, json JSON, list ARRAY<JSON>) CLUSTER BY id AS "
        f"SELECT id, {parsed}, {parsed_list} FROM DATASET.s"
    )
    query(f"INSERT INTO DATASET.t (id, json, list) SELECT 2, {parsed}, {parsed_list} FROM DATASET.s")
    query(
        f"MERGE DATASET.t AS t USING (SELECT 3 AS id, {parsed} AS json, {parsed_list} AS list FROM DATASET.s) AS s "
        "ON t.id = s.id WHEN NOT MATCHED THEN INSERT (id, json, list) VALUES (s.id, s.json, s.list)"
    )
    query(
        "MERGE DATASET.t AS t USING DATASET.s AS s ON t.id = s.id WHEN MATCHED THEN "
        "UPDATE SET json = PARSE_JSON(s.text, wide_number_mode=>'round')"
    )
    expected = [(position, document, [document, 2]) for position in (1, 2, 3)]
    assert query("SELECT id, json, list FROM DATASET.t ORDER BY id") == expected


@pytest.mark.parametrize("number", [0, 3, -3, 9007199254740993, -(2**63), 2**64 - 1])
def test_parse_json_keeps_whole_numbers(query: Query, number: int) -> None:
    parsed = f"PARSE_JSON('{number}', wide_number_mode=>'round')"
    assert query(f"SELECT TO_JSON_STRING({parsed}), TO_JSON_STRING(JSON_ARRAY({parsed}))") == [
        (f"{number}", f"[{number}]")
    ]


def test_merge_takes_any_alias(query: Query) -> None:
    query("CREATE TABLE DATASET.t AS SELECT 1 AS id, 'a' AS name")
    query(
        "MERGE INTO DATASET.t AS `old-row` USING (SELECT 1 AS id, 'b' AS name UNION ALL SELECT 2, 'c') AS `new-row` "
        "ON `old-row`.id = `new-row`.id WHEN MATCHED THEN UPDATE SET name = `new-row`.name "
        "WHEN NOT MATCHED THEN INSERT (id, name) VALUES (`new-row`.id, `new-row`.name)"
    )
    assert query("SELECT id, name FROM DATASET.t ORDER BY id") == [(1, "b"), (2, "c")]


REPLACE = (
    "CREATE OR REPLACE TABLE DATASET.t (id INT64 NOT NULL OPTIONS(description='the key'), day DATE) "
    "PARTITION BY day CLUSTER BY id OPTIONS(description='a table', labels=[('team', 'data')]) AS "
)


def test_replacing_keeps_what_the_statement_says(bigquery_client: bigquery.Client, dataset: str, query: Query) -> None:
    query(f"{REPLACE} SELECT 1, DATE '2024-02-29'")
    table = bigquery_client.get_table(f"{dataset}.t")
    assert (table.schema[0].mode, table.schema[0].description) == ("REQUIRED", "the key")
    assert (table.time_partitioning.type_, table.time_partitioning.field) == ("DAY", "day")
    assert (table.clustering_fields, table.description, table.labels) == (["id"], "a table", {"team": "data"})


def test_a_failed_replacement_changes_nothing(bigquery_client: bigquery.Client, dataset: str, query: Query) -> None:
    query(f"{REPLACE} SELECT 1, DATE '2024-02-29'")
    before = bigquery_client.get_table(f"{dataset}.t").schema
    with pytest.raises(BadRequest, match="NOT NULL constraint failed"):
        query(
            "CREATE OR REPLACE TABLE DATASET.t (id INT64 NOT NULL, day DATE, other INT64 NOT NULL) PARTITION BY day "
            "CLUSTER BY id AS SELECT 1, DATE '2024-02-29', CAST(NULL AS INT64)"
        )
    assert query("SELECT id FROM DATASET.t") == [(1,)]
    assert bigquery_client.get_table(f"{dataset}.t").schema == before


def test_a_table_can_be_replaced_by_a_query_of_itself(query: Query) -> None:
    query(f"{REPLACE} SELECT 1, DATE '2024-02-29'")
    query(
        "CREATE OR REPLACE TABLE DATASET.t (id INT64 NOT NULL, day DATE, twice INT64) PARTITION BY day CLUSTER BY id "
        "AS SELECT id, day, 2 * id FROM DATASET.t"
    )
    assert query("SELECT id, twice FROM DATASET.t") == [(1, 2)]


def test_extracted_files_are_in_cloud_storage(
    bigquery_client: bigquery.Client, dataset: str, gcs_folder: str, query: Query
) -> None:
    query("CREATE TABLE DATASET.t AS SELECT 1 AS id")
    config = bigquery.ExtractJobConfig(destination_format="PARQUET")
    bigquery_client.extract_table(f"{dataset}.t", f"{gcs_folder}/part-*", job_config=config).result()
    (match,) = FileSystems.match([f"{gcs_folder}/*"])
    (file,) = match.metadata_list
    with FileSystems.open(file.path) as stream:
        assert pq.read_table(pa.BufferReader(stream.read())).to_pylist() == [{"id": 1}]


def test_an_expired_table_is_gone(bigquery_client: bigquery.Client, dataset: str, query: Query) -> None:
    query("CREATE TABLE DATASET.t AS SELECT 1 AS id")
    table = bigquery_client.get_table(f"{dataset}.t")
    table.expires = datetime.datetime.now(UTC) + datetime.timedelta(seconds=0.5)
    bigquery_client.update_table(table, ["expires"])
    time.sleep(0.6)
    with pytest.raises(NotFound):
        bigquery_client.get_table(f"{dataset}.t")


@pytest.mark.filterwarnings("ignore:Retrieving Arrow record batches directly:PendingDeprecationWarning")
def test_the_emulator_answers_the_storage_api(endpoints: Endpoints, dataset: str, query: Query) -> None:
    query("CREATE TABLE DATASET.t AS SELECT 1 AS id")
    with grpc.insecure_channel(endpoints.bigquery_storage_host) as channel:
        client = BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=channel))
        session = client.create_read_session(
            parent=f"projects/{endpoints.project}",
            read_session=types.ReadSession(
                table=f"projects/{endpoints.project}/datasets/{dataset}/tables/t", data_format="ARROW"
            ),
        )
        reader = client.read_rows(session.streams[0].name)
        assert reader.to_arrow(session).to_pylist() == [{"id": 1}]


@pytest.mark.filterwarnings("ignore:Retrieving Arrow record batches directly:PendingDeprecationWarning")
def test_the_storage_api_sends_nested_values_as_texts(endpoints: Endpoints, dataset: str, query: Query) -> None:
    query(
        "CREATE TABLE DATASET.t AS SELECT [JSON '{\"a\":1}'] AS documents, "
        "STRUCT(ST_GEOGPOINT(1, 2) AS place, [INTERVAL 3 DAY] AS pauses, STRUCT(JSON '[1]' AS document) AS inner_) AS v"
    )
    with grpc.insecure_channel(endpoints.bigquery_storage_host) as channel:
        client = BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=channel))
        table = f"projects/{endpoints.project}/datasets/{dataset}/tables/t"
        session = client.create_read_session(
            parent=f"projects/{endpoints.project}", read_session=types.ReadSession(table=table, data_format="ARROW")
        )
        (row,) = client.read_rows(session.streams[0].name).to_arrow(session).to_pylist()
    assert row["documents"] == ['{"a":1}']
    assert (row["v"]["place"], row["v"]["inner_"]) == ("POINT(1 2)", {"document": "[1]"})
    assert row["v"]["pauses"] == ["0-0 3 0:0:0"]


def test_a_table_is_where_its_dataset_is(bigquery_client: bigquery.Client, endpoints: Endpoints, dataset: str) -> None:
    elsewhere = bigquery.Dataset(f"{endpoints.project}.{dataset}_eu")
    elsewhere.location = "EU"
    bigquery_client.create_dataset(elsewhere)
    bigquery_client.create_table(bigquery.Table(f"{endpoints.project}.{dataset}_eu.t", [SchemaField("id", "INT64")]))
    bigquery_client.create_table(bigquery.Table(f"{endpoints.project}.{dataset}.t", [SchemaField("id", "INT64")]))
    assert bigquery_client.get_table(f"{dataset}_eu.t").location == "EU"
    assert bigquery_client.get_table(f"{dataset}.t").location == "US"
    bigquery_client.delete_dataset(elsewhere, delete_contents=True)
