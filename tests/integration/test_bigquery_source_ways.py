"""Which way the rows go, what the plan says of it, what does not fit, and what is refused."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import replace
from typing import Any

import pytest
from google.cloud import bigquery

from sync_pipeline.errors import SourceQueryError
from sync_pipeline.sources.bigquery import storage_read
from sync_pipeline.sources.bigquery.client import connected_read_client, open_read_client
from sync_pipeline.sources.bigquery.storage_read import (
    BigqueryRead,
    open_streams,
    stored_result,
    stream_batches,
)
from tests.integration.bigquery_syncing import BigquerySyncing
from tests.integration.syncing import Run


@pytest.fixture
def syncing(bigquery_syncing: BigquerySyncing) -> BigquerySyncing:
    bigquery_syncing.at_source("CREATE TABLE items (id INT64, name STRING, raw BYTES, updated_at TIMESTAMP)")
    bigquery_syncing.at_source(
        "INSERT INTO items VALUES (1, '10', b'\\x00\\xff', TIMESTAMP '2024-01-01 00:00:00+00'), "
        "(NULL, 'ten', b'\\x01', TIMESTAMP '2024-01-02 00:00:00+00'), (3, NULL, NULL, NULL)"
    )
    return bigquery_syncing


@pytest.fixture
def elsewhere(bigquery_syncing: BigquerySyncing) -> BigquerySyncing:
    """A source in a location that the destination is not in."""
    client, source = bigquery_syncing.client, bigquery_syncing.source
    client.delete_dataset(source)
    dataset = bigquery.Dataset(f"{bigquery_syncing.endpoints.project}.{source}")
    dataset.location = "EU"
    client.create_dataset(dataset)
    bigquery_syncing.at_source("CREATE TABLE items AS SELECT 1 AS id, 'a' AS name")
    return bigquery_syncing


def letters_table(syncing: BigquerySyncing) -> dict[str, str]:
    return {"dead_letter_table": syncing.table_id("letters")}


def as_number(column: str, **more: Any) -> dict[str, str]:
    return {"transformation_config": json.dumps({"type_overrides": {column: "INT64"}, **more})}


def way(run: Run) -> str:
    return next(line for line in run.log if "workers" in line).removeprefix("plan: ")


def test_the_query_is_chosen_and_nothing_passes_the_workers(syncing: BigquerySyncing) -> None:
    by_query = syncing.counters()
    assert by_query == {"rows_loaded": 3}
    by_workers = syncing.by("storage_api").counters(destination_bigquery_table="other")
    assert by_workers["rows_read"] == by_workers["rows_staged"] == by_workers["rows_loaded"] == 3
    assert by_workers["bytes_read"] > 0
    assert syncing.query("SELECT * FROM items ORDER BY id") == syncing.query("SELECT * FROM other ORDER BY id")


def test_the_plan_tells_the_way_and_the_costs(syncing: BigquerySyncing) -> None:
    printed = syncing.run(dry_run="true", maximum_bytes_billed="5000").printed
    assert (
        "Reading\n"
        "    query pushdown in BigQuery\n"
        "    one query moves the rows, workers read none: source and destination are both in US\n"
        "    reading the source: 48 bytes, as BigQuery's dry run estimates; maximum_bytes_billed is 5,000\n"
    ) in printed
    assert "append: one query job, from the source into the table" in printed
    printed = syncing.by("storage_api").run(dry_run="true", num_partitions="4").printed
    assert (
        "Reading\n"
        "    Storage Read API, at most 4 streams, at most 1,000 rows per batch between steps\n"
        "    the workers read the rows: source_bigquery_read=storage_api\n"
        "    reading the source: 48 bytes, as BigQuery's dry run estimates; no maximum_bytes_billed is set\n"
    ) in printed


def test_a_dry_run_writes_nothing(syncing: BigquerySyncing) -> None:
    jobs = syncing.jobs()
    for demanded in ("query", "storage_api"):
        syncing.by(demanded).run(dry_run="true", source_bigquery_query="SELECT * FROM items")
    assert syncing.tables() == []
    assert syncing.jobs() == jobs


def test_another_location_is_read_by_the_workers(elsewhere: BigquerySyncing) -> None:
    run = elsewhere.run().succeeded()
    assert way(run) == (
        "the workers read the rows: the source is in EU and the destination in US, but a query has one location"
    )
    assert elsewhere.query("SELECT * FROM items") == [(1, "a")]


def test_the_query_cannot_be_demanded_across_locations(elsewhere: BigquerySyncing) -> None:
    elsewhere.by("query").run().refused(
        "source_bigquery_read is 'query', but the source is in EU and the destination in US, but a query has one "
        "location: use auto or storage_api"
    )


def test_rows_that_do_not_fit_go_to_the_dead_letter_table(syncing: BigquerySyncing) -> None:
    run = syncing.run(**as_number("name"), **letters_table(syncing)).succeeded()
    assert way(run) == (
        "the workers read the rows: rows may be invalid (name), and one statement cannot also write dead_letter_table"
    )
    assert (run.rows_loaded, run.report["dead_letters"]) == (2, "1")
    assert syncing.query("SELECT id, name FROM items ORDER BY id") == [(1, 10), (3, None)]
    ((column, reason, row),) = syncing.query("SELECT column_name, reason, source_row FROM letters")
    assert column == "name"
    assert reason == (
        "column 'name' (STRING to INT64) has an invalid value: INT64 holds whole numbers from -2^63 to 2^63-1. Keep "
        "the type of the source, or exclude such rows with a query"
    )
    assert json.loads(row) == {"id": None, "name": "ten", "raw": "01", "updated_at": "2024-01-02 00:00:00+00"}


def test_a_key_that_is_null_is_a_dead_letter(syncing: BigquerySyncing) -> None:
    run = syncing.run(primary_key="id", **as_number("name", hash_fields=["raw"]), **letters_table(syncing)).succeeded()
    assert run.report["dead_letters"] == "1"
    ((column, reasons, row),) = syncing.query("SELECT column_name, reason, source_row FROM letters")
    assert column == "id, name"
    assert reasons.splitlines()[0].startswith("column 'id' has NULL, which is not allowed")
    assert json.loads(row)["raw"] == hashlib.sha256(b"\x01").hexdigest()


def test_the_query_cannot_be_demanded_with_dead_letters(syncing: BigquerySyncing) -> None:
    syncing.by("query").run(**as_number("name"), **letters_table(syncing)).refused(
        "source_bigquery_read is 'query', but rows may be invalid (name), and one statement cannot also write "
        "dead_letter_table: use auto or storage_api"
    )


def test_the_query_is_chosen_where_every_row_fits(syncing: BigquerySyncing) -> None:
    run = syncing.by("query").run(**letters_table(syncing)).succeeded()
    assert run.rows_loaded == 3
    assert "letters" not in syncing.tables()


@pytest.mark.parametrize("ways", [("query", "storage_api"), ("storage_api", "query"), ("query", "query")], ids=" ".join)
def test_of_two_runs_from_one_timestamp_one_publishes(syncing: BigquerySyncing, ways: tuple[str, str]) -> None:
    first, second = (syncing.by(way).plan() for way in ways)
    assert first.publish_id == second.publish_id
    files = syncing.stage(second)
    assert syncing.publish(first).rows_loaded == 2
    report = syncing.publish(second, files)
    assert report.rows_loaded == 0
    assert "already loaded this interval" in report.outcome
    assert len(syncing.query("SELECT * FROM items")) == 2
    assert syncing.left_over() == []


def test_a_repeated_publication_finds_its_job(syncing: BigquerySyncing) -> None:
    plan = syncing.plan()
    assert [syncing.publish(plan).rows_loaded for _ in range(2)] == [2, 2]
    assert len(syncing.query("SELECT * FROM items")) == 2


def test_a_repeated_opening_finds_the_result_of_its_query(syncing: BigquerySyncing) -> None:
    plan = syncing.by("storage_api").decide(source_bigquery_query="SELECT GENERATE_UUID() AS x")
    (read,) = plan.read.splits
    assert isinstance(read, BigqueryRead)
    assert stored_result(read) == stored_result(read)
    client = open_read_client()
    sessions = [open_streams(client, read, plan.read_schema) for _ in range(2)]
    rows = [[batch for stream in streams for batch, _ in stream_batches(client, stream)] for streams in sessions]
    assert rows[0] == rows[1]
    assert sum(batch.num_rows for batch in rows[0]) == 1


@pytest.mark.parametrize(
    ("rows", "size", "expected"),
    [
        pytest.param(3000, 10**9, 1, id="small"),
        pytest.param(3000, 24_000, 3, id="as preferred"),
        # The sandbox opens four streams, which are split to the size at which it splits no more.
        pytest.param(20_000, 24_000, 16, id="split"),
        pytest.param(7000, 1000, 4, id="split no further"),
    ],
)
def test_a_large_table_is_read_in_many_streams(
    bigquery_syncing: BigquerySyncing, monkeypatch: pytest.MonkeyPatch, rows: int, size: int, expected: int
) -> None:
    syncing = bigquery_syncing
    syncing.at_source(
        f"CREATE TABLE items AS SELECT n AS id, n AS a, n AS b FROM UNNEST(GENERATE_ARRAY(1, {rows})) AS n"
    )
    monkeypatch.setattr(storage_read, "BYTES_PER_STREAM", size)
    plan = syncing.by("storage_api").decide()
    (read,) = plan.read.splits
    assert isinstance(read, BigqueryRead)
    assert plan.read.parallel_reads == read.preferred_streams == min(-(-rows * 24 // size), 100)
    with connected_read_client() as client:
        streams = open_streams(client, read, plan.read_schema)
        parts = [[batch.column("id") for batch, _ in stream_batches(client, stream)] for stream in streams]
    assert len(streams) == expected
    assert sorted(each for part in parts for column in part for each in column.to_pylist()) == [*range(1, rows + 1)]
    assert all(parts)


def test_many_streams_are_staged_by_a_run(elsewhere: BigquerySyncing, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere.at_source("CREATE TABLE many AS SELECT n AS id FROM UNNEST(GENERATE_ARRAY(1, 9000)) AS n")
    monkeypatch.setattr(storage_read, "BYTES_PER_STREAM", 9000)
    run = elsewhere.run(source_bigquery_table="many").succeeded()
    assert run.rows_loaded == 9000
    assert "the source is read in 8 stream(s)" in run.log
    assert elsewhere.query("SELECT COUNT(*), COUNT(DISTINCT id), SUM(id) FROM items") == [(9000, 9000, 40_504_500)]


def test_a_stream_that_fails_ends_the_others(syncing: BigquerySyncing) -> None:
    syncing.at_source("CREATE TABLE many AS SELECT n AS id FROM UNNEST(GENERATE_ARRAY(1, 100000)) AS n")
    plan = syncing.by("storage_api").decide(source_bigquery_table="many")
    with connected_read_client() as client:
        (stream,) = open_streams(client, plan.read.splits[0], plan.read_schema)  # type: ignore[arg-type]
        both = replace(stream, names=(*stream.names, f"{stream.names[0]}0"))
        with pytest.raises(SourceQueryError, match=r"cannot read the stream .*/streams/00: .*Not found"):
            list(stream_batches(client, both))


def test_a_stream_that_is_left_early_ends(syncing: BigquerySyncing) -> None:
    syncing.at_source("CREATE TABLE many AS SELECT n AS id FROM UNNEST(GENERATE_ARRAY(1, 100000)) AS n")
    plan = syncing.by("storage_api").decide(source_bigquery_table="many")
    threads = threading.active_count()
    with connected_read_client() as client:
        (stream,) = open_streams(client, plan.read.splits[0], plan.read_schema)  # type: ignore[arg-type]
        batches = stream_batches(client, stream)
        assert next(batches)[0].num_rows == 10_000
        batches.close()
    assert threading.active_count() <= threads


def test_a_table_that_is_missing(syncing: BigquerySyncing) -> None:
    name = f"{syncing.endpoints.project}.{syncing.source}"
    syncing.run(source_bigquery_table="item").refused(
        f"source_bigquery_table: the table {name}.item does not exist; did you mean items?"
    )
    syncing.run(source_bigquery_dataset=syncing.source + "x").refused(
        f"source_bigquery_dataset: the dataset {name}x does not exist; did you mean {syncing.source}?"
    )


@pytest.mark.parametrize(
    ("query", "words"),
    [
        pytest.param("SELECT nobody FROM items", "cannot understand source_bigquery_query", id="unknown column"),
        pytest.param("SELEC 1", "cannot understand source_bigquery_query", id="syntax"),
        pytest.param("SELECT 1; SELECT 2", "has more than one statement", id="two statements"),
        pytest.param("-- nothing", "has no statement", id="no statement"),
        pytest.param("CREATE TABLE x (a INT64)", "source_bigquery_query is a statement of type", id="DDL"),
        pytest.param("DELETE FROM items WHERE TRUE", "source_bigquery_query is a statement of type", id="DML"),
        pytest.param("SELECT 1 AS a, 2 AS A", "a: name each differently with AS", id="two columns of one name"),
    ],
)
def test_queries_that_are_refused(syncing: BigquerySyncing, query: str, words: str) -> None:
    syncing.run(source_bigquery_query=query).refused(words)
    assert len(syncing.at_source("SELECT * FROM items")) == 3


def test_nested_columns_must_be_equal(syncing: BigquerySyncing) -> None:
    syncing.at_source("CREATE TABLE people AS SELECT STRUCT(1 AS a, 'x' AS b) AS person")
    syncing.query("CREATE TABLE items (person STRUCT<a INT64>)")
    syncing.run(source_bigquery_table="people").refused(
        "column person is STRUCT<`a` INT64, `b` STRING> in the source and STRUCT<`a` INT64> in the destination table"
    )


def test_policy_tags_are_not_lost(syncing: BigquerySyncing) -> None:
    tag = bigquery.PolicyTagList(["projects/p/locations/us/taxonomies/1/policyTags/2"])
    fields = [bigquery.SchemaField("id", "INT64"), bigquery.SchemaField("mail", "STRING", policy_tags=tag)]
    syncing.client.create_table(bigquery.Table(f"{syncing.endpoints.project}.{syncing.source}.mails", schema=fields))
    syncing.query("CREATE TABLE items (id INT64)")
    parameters = {"source_bigquery_table": "mails"}
    syncing.run(**parameters, schema_evolution="add").refused("no statement adds a column with its policy tags")
    syncing.run(**parameters, delete_existing_table="true").refused("mail have policy tags")
    syncing.run(**parameters, destination_bigquery_table="fresh").succeeded()
    assert syncing.table("fresh").schema[1].policy_tags == tag
