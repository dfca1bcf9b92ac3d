"""Scripts and transactions of the sandbox's BigQuery: what the product publishes with."""

import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from google.api_core.exceptions import BadRequest
from google.cloud import bigquery

Query = Callable[[str], list[tuple[Any, ...]]]

REFILL = (
    "BEGIN TRANSACTION; TRUNCATE TABLE DATASET.t; INSERT INTO DATASET.t (id) SELECT id FROM DATASET.s; "
    "SELECT @@row_count; COMMIT TRANSACTION;"
)


@pytest.fixture(autouse=True)
def tables(query: Query) -> None:
    query("CREATE TABLE DATASET.t (id INT64 NOT NULL, day DATE, name STRING) PARTITION BY day")
    query("INSERT INTO DATASET.t (id, day, name) VALUES (1, DATE '2024-01-01', 'a'), (2, NULL, 'b')")
    query("CREATE TABLE DATASET.s AS SELECT 3 AS id, DATE '2024-01-03' AS day UNION ALL SELECT 1, DATE '2024-01-02'")


def _ids(query: Query) -> list[int]:
    return [row[0] for row in query("SELECT id FROM DATASET.t ORDER BY id")]


def test_a_script_answers_with_its_last_result_and_has_child_jobs(
    bigquery_client: bigquery.Client, dataset: str
) -> None:
    job_id = uuid.uuid4().hex
    config = bigquery.QueryJobConfig(labels={"sync_run": "r1"})
    job = bigquery_client.query(REFILL.replace("DATASET", dataset), job_id=job_id, job_config=config, job_retry=None)
    assert [row.values() for row in job.result()] == [(2,)]
    assert (job.statement_type, job.num_child_jobs) == ("SCRIPT", 5)
    children = {child.statement_type: child for child in bigquery_client.list_jobs(parent_job=job_id)}
    assert {"BEGIN_TRANSACTION", "TRUNCATE_TABLE", "INSERT", "SELECT", "COMMIT_TRANSACTION"} == set(children)
    assert children["TRUNCATE_TABLE"].dml_stats.deleted_row_count == 2
    assert children["INSERT"].dml_stats.inserted_row_count == 2
    assert children["INSERT"].labels == {"sync_run": "r1"}
    assert children["INSERT"].script_statistics.evaluation_kind == "STATEMENT"


@pytest.mark.parametrize(
    ("guard", "message"),
    [
        pytest.param("SELECT IF(COUNT(*) != 5, ERROR('changed'), 0) FROM DATASET.s", "changed at", id="select"),
        pytest.param("INSERT INTO DATASET.t (id) SELECT IF(id > 1, ERROR('changed'), id) FROM DATASET.s", "changed at"),
        pytest.param("ASSERT (SELECT COUNT(*) FROM DATASET.s) = 5 AS 'changed'", "changed", id="assert"),
        pytest.param("IF @@row_count != 5 THEN RAISE USING MESSAGE = 'changed'; END IF", "changed", id="raise"),
    ],
)
def test_an_error_rolls_the_transaction_back(query: Query, guard: str, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        query(f"BEGIN TRANSACTION; TRUNCATE TABLE DATASET.t; {guard}; COMMIT TRANSACTION")
    assert _ids(query) == [1, 2]


def test_an_exception_handler_can_roll_back_and_raise_again(query: Query) -> None:
    with pytest.raises(BadRequest, match=r"Query error: boo at \[1:62\]"):
        query(
            "BEGIN BEGIN TRANSACTION; TRUNCATE TABLE DATASET.t; SELECT ERROR('boo'); COMMIT TRANSACTION; "
            "EXCEPTION WHEN ERROR THEN ROLLBACK TRANSACTION; RAISE; END"
        )
    assert _ids(query) == [1, 2]


def test_a_script_that_failed_has_the_child_jobs_that_ran(bigquery_client: bigquery.Client, dataset: str) -> None:
    job_id = uuid.uuid4().hex
    with pytest.raises(BadRequest):
        bigquery_client.query("SELECT 1; SELECT ERROR('boo')", job_id=job_id, job_retry=None).result()
    assert [child.statement_type for child in bigquery_client.list_jobs(parent_job=job_id)] == ["SELECT"]


def test_a_reader_sees_the_table_before_or_after_a_transaction(query: Query) -> None:
    seen, done = set(), threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(tuple(_ids(query)))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(3):
            query(REFILL)
    finally:
        done.set()
        reader.join()
    assert seen <= {(1, 2), (1, 3)}


def test_merge_works_inside_a_transaction(query: Query) -> None:
    query(
        "BEGIN TRANSACTION; MERGE INTO DATASET.t AS t USING DATASET.s AS s ON t.id = s.id "
        "WHEN MATCHED THEN UPDATE SET name = 'new' WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id); COMMIT TRANSACTION"
    )
    assert query("SELECT id, name FROM DATASET.t ORDER BY id") == [(1, "new"), (2, "b"), (3, None)]


def test_merge_takes_its_partitions_from_a_variable(query: Query) -> None:
    query(
        "DECLARE partitions ARRAY<DATE>; "
        "SET partitions = ARRAY(SELECT DISTINCT t.day FROM DATASET.t AS t JOIN DATASET.s AS s ON t.id = s.id "
        "WHERE t.day IS NOT NULL UNION DISTINCT SELECT day FROM DATASET.s); "
        "MERGE INTO DATASET.t AS t USING DATASET.s AS s ON t.id = s.id AND (t.day IN UNNEST(partitions) OR "
        "t.day IS NULL) WHEN MATCHED THEN UPDATE SET day = s.day, name = 'new' "
        "WHEN NOT MATCHED THEN INSERT (id, day) VALUES (s.id, s.day)"
    )
    assert [(row[0], str(row[1])) for row in query("SELECT id, day FROM DATASET.t ORDER BY id")] == [
        (1, "2024-01-02"),
        (2, "None"),
        (3, "2024-01-03"),
    ]


def test_ddl_inside_a_transaction_is_refused_but_for_temporary_tables(query: Query) -> None:
    with pytest.raises(BadRequest, match="DDL statements are not supported in a transaction"):
        query("BEGIN TRANSACTION; CREATE TABLE DATASET.u (id INT64); COMMIT TRANSACTION")
    query(
        "BEGIN TRANSACTION; CREATE TEMP TABLE u AS SELECT 9 AS id; INSERT INTO DATASET.t (id) SELECT id FROM u; "
        "COMMIT TRANSACTION"
    )
    assert _ids(query) == [1, 2, 9]


def test_a_table_takes_the_place_of_another(bigquery_client: bigquery.Client, dataset: str, query: Query) -> None:
    query("DROP TABLE DATASET.t; ALTER TABLE DATASET.s RENAME TO t")
    assert _ids(query) == [1, 3]
    config = bigquery.QueryJobConfig(default_dataset=f"{bigquery_client.project}.{dataset}_other")
    for old, new in (("t", "u"), ("u", "t")):
        bigquery_client.query(f"ALTER TABLE {dataset}.{old} RENAME TO {new}", job_config=config).result()
    query("ALTER TABLE DATASET.t ADD COLUMN a INT64, ADD COLUMN IF NOT EXISTS b STRING OPTIONS(description='two')")
    columns = {field.name: field.description for field in bigquery_client.get_table(f"{dataset}.t").schema}
    assert columns == {"id": None, "day": None, "a": None, "b": "two"}


def test_statements_are_executed_from_text(query: Query) -> None:
    script = "DECLARE n INT64; EXECUTE IMMEDIATE 'SELECT COUNT(*) FROM DATASET.t WHERE id > @a' INTO n USING 1 AS a; "
    assert query(f"{script} EXECUTE IMMEDIATE 'DROP TABLE DATASET.s'; SELECT n") == [(1,)]
