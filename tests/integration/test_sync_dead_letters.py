"""A row is loaded, or it is a dead letter, or the run fails: nothing is skipped."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest

from sync_pipeline.publishing.publish import SyncReport, publish
from tests.integration.syncing import Syncing

LETTERS = "SELECT run_id, destination_table, column_name, reason, source_row FROM letters ORDER BY source_row"


@pytest.fixture(autouse=True)
def items(syncing: Syncing) -> None:
    syncing.execute("CREATE TABLE items (id int, amount numeric, day date, name text, updated_at timestamptz)")
    syncing.execute(
        "INSERT INTO items VALUES (1, 1.5, '2024-01-01', 'good', '2024-01-01Z'), "
        "(2, 'NaN', '2024-01-02', 'with \"quotes\", é', '2024-01-02Z'), "
        "(3, NULL, 'infinity', NULL, '2024-01-03Z'), "
        "(4, 'Infinity', '0044-03-15 BC', 'both', '2024-01-04Z'), "
        "(5, 2, '2024-01-05', 'good too', '2024-01-05Z')"
    )


@pytest.fixture
def letters(syncing: Syncing) -> dict[str, str]:
    return {"dead_letter_table": syncing.table_id("letters")}


def test_rows_that_do_not_fit_are_kept_and_the_others_load(syncing: Syncing, letters: dict[str, str]) -> None:
    run = syncing.run(**letters).succeeded()
    assert (run.rows_read, run.rows_loaded, run.report["dead_letters"]) == (5, 2, "3")
    assert syncing.query("SELECT id, amount, name FROM items ORDER BY id") == [(1, 1.5, "good"), (5, 2, "good too")]
    two, three, four = syncing.query(LETTERS)
    assert {letter[:2] for letter in (two, three, four)} == {(run.report["run_id"], syncing.table_id())}
    assert [letter[2] for letter in (two, three, four)] == ["amount", "day", "amount, day"]
    assert two[3].startswith("column 'amount' (numeric to BIGNUMERIC) has an invalid value: ")
    assert three[3].startswith("column 'day' (date to DATE) has an invalid value: ")
    assert [line.split(" ")[1] for line in four[3].splitlines()] == ["'amount'", "'day'"]
    assert [json.loads(letter[4]) for letter in (two, three, four)] == [
        {
            "id": "2",
            "amount": "NaN",
            "day": "2024-01-02",
            "name": 'with "quotes", é',
            "updated_at": "2024-01-02 00:00:00+00",
        },
        {"id": "3", "amount": None, "day": "infinity", "name": None, "updated_at": "2024-01-03 00:00:00+00"},
        {
            "id": "4",
            "amount": "Infinity",
            "day": "0044-03-15 BC",
            "name": "both",
            "updated_at": "2024-01-04 00:00:00+00",
        },
    ]
    assert syncing.left_over() == []


def test_the_values_are_in_no_log(syncing: Syncing, letters: dict[str, str]) -> None:
    said = syncing.run(**letters).succeeded().everything + syncing.run().everything
    for value in ("quotes", "0044", "good"):
        assert value not in said


def test_the_table_is_created_by_the_first_letter_and_added_to_later(syncing: Syncing, letters: dict[str, str]) -> None:
    syncing.run(postgresql_query="SELECT * FROM items WHERE id = 1", **letters).succeeded()
    assert syncing.tables() == ["items"]
    syncing.run(postgresql_query="SELECT * FROM items WHERE id = 2", **letters).succeeded()
    table = syncing.table("letters")
    assert [(field.name, field.field_type, field.mode) for field in table.schema] == [
        ("run_id", "STRING", "REQUIRED"),
        ("failed_at", "TIMESTAMP", "REQUIRED"),
        ("destination_table", "STRING", "REQUIRED"),
        ("column_name", "STRING", "REQUIRED"),
        ("reason", "STRING", "REQUIRED"),
        ("source_row", "STRING", "REQUIRED"),
    ]
    assert table.time_partitioning.field == "failed_at"
    syncing.run(postgresql_query="SELECT * FROM items WHERE id = 3", **letters).succeeded()
    assert syncing.column("SELECT column_name FROM letters ORDER BY failed_at") == ["amount", "day"]


def test_a_table_with_other_columns_is_refused(syncing: Syncing, letters: dict[str, str]) -> None:
    syncing.query("CREATE TABLE letters (run_id STRING, failed_at STRING, note STRING)")
    run = syncing.run(**letters)
    run.refused("dead_letter_table", "failed_at TIMESTAMP, destination_table STRING, column_name STRING")
    assert syncing.tables() == ["letters"]


def test_a_missing_dataset_is_named(syncing: Syncing) -> None:
    run = syncing.run(dead_letter_table=f"{syncing.endpoints.project}.nowhere.letters")
    assert run.exit_code != 0
    assert "nowhere" in run.errors[0]
    assert "dead_letter_table" in run.errors[0]


def test_the_destination_itself_is_refused(syncing: Syncing) -> None:
    syncing.run(dead_letter_table=syncing.table_id()).refused("dead_letter_table is the destination table itself")


def test_without_the_table_the_run_fails_and_counts_what_does_not_fit(syncing: Syncing) -> None:
    run = syncing.run()
    run.refused(
        "column 'amount' (numeric to BIGNUMERIC) has an invalid value",
        "column 'day' (date to DATE) has an invalid value",
    )
    assert [line[line.rindex("(in ") :] for line in run.errors] == ["(in 2 of 5 rows)", "(in 2 of 5 rows)"]
    assert syncing.tables() == []
    assert syncing.left_over() == []


@pytest.mark.parametrize("query", ["SELECT * FROM items", "SELECT *, '{}'::jsonb AS j FROM items"])
def test_all_rows_may_be_dead_letters(syncing: Syncing, letters: dict[str, str], query: str) -> None:
    run = syncing.run(postgresql_query=f"{query} WHERE id BETWEEN 2 AND 4", **letters).succeeded()
    assert (run.rows_read, run.rows_loaded, run.report["dead_letters"]) == (3, 0, "3")
    assert syncing.query("SELECT * FROM items") == []
    assert len(syncing.query(LETTERS)) == 3
    assert syncing.left_over() == []


def test_hashed_columns_are_hashed_there_too(syncing: Syncing, letters: dict[str, str]) -> None:
    syncing.run(transformation_config='{"hash_fields": ["name"]}', **letters).succeeded()
    rows = [json.loads(letter[4]) for letter in syncing.query(LETTERS)]
    digest = hashlib.sha256('with "quotes", é'.encode()).hexdigest()
    assert [row["name"] for row in rows] == [digest, None, hashlib.sha256(b"both").hexdigest()]
    assert [row["id"] for row in rows] == ["2", "3", "4"]
    assert syncing.column("SELECT name FROM items WHERE id = 1") == [hashlib.sha256(b"good").hexdigest()]


def test_columns_that_are_left_out_are_not_there_either(syncing: Syncing, letters: dict[str, str]) -> None:
    syncing.run(transformation_config='{"exclude_fields": ["name"]}', **letters).succeeded()
    assert all("name" not in json.loads(letter[4]) for letter in syncing.query(LETTERS))


def test_hashed_columns_are_hashed_with_the_key(syncing: Syncing, letters: dict[str, str]) -> None:
    key = "planted-key-of-the-hashes"
    letters |= {"transformation_config": '{"hash_fields": ["name"]}', "hash_key": key}
    run = syncing.run(**letters).succeeded()
    rows = [json.loads(letter[4]) for letter in syncing.query(LETTERS)]
    assert rows[2]["name"] == hmac.digest(key.encode(), b"both", "sha256").hex()
    expected = hmac.digest(key.encode(), b"good", "sha256").hex()
    assert syncing.column("SELECT name FROM items WHERE id = 1") == [expected]
    assert key not in run.everything


def test_a_null_where_none_may_be_is_a_dead_letter(syncing: Syncing, letters: dict[str, str]) -> None:
    syncing.query("CREATE TABLE items (id INT64, name STRING NOT NULL)")
    run = syncing.run(postgresql_query="SELECT id, name FROM items", **letters).succeeded()
    assert (run.rows_loaded, run.report["dead_letters"]) == (4, "1")
    assert [(letter[2], "has NULL, which is not allowed" in letter[3]) for letter in syncing.query(LETTERS)] == [
        ("name", True)
    ]


def test_they_are_reported_once_by_smart_sync(syncing: Syncing, letters: dict[str, str]) -> None:
    assert syncing.smart(**letters).succeeded().report["dead_letters"] == "3"
    assert syncing.smart(**letters).succeeded().report["dead_letters"] == "0"
    assert len(syncing.query(LETTERS)) == 3


def test_a_repeated_publish_adds_no_letter_twice(
    syncing: Syncing, letters: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice(*arguments: Any) -> SyncReport:
        publish(*arguments)
        return publish(*arguments)

    monkeypatch.setattr("sync_pipeline.publishing.publish.publish", twice)
    assert syncing.run(**letters).succeeded().report["dead_letters"] == "3"
    assert len(syncing.query(LETTERS)) == 3
    assert syncing.query("SELECT COUNT(*) FROM items") == [(2,)]


def test_a_dead_letter_behind_the_last_row_comes_again_until_it_is_corrected(
    syncing: Syncing, letters: dict[str, str]
) -> None:
    syncing.execute("DELETE FROM items WHERE id = 5")
    for _ in range(2):
        syncing.smart(**letters).succeeded()
    # The destination has not come further than the last row that was loaded.
    assert len(syncing.query(LETTERS)) == 6
    syncing.execute("UPDATE items SET amount = 1, day = '2024-01-01'")
    assert syncing.smart(**letters).succeeded().rows_loaded == 3
    assert syncing.column("SELECT id FROM items ORDER BY id") == [1, 2, 3, 4]


def test_many_of_many_rows(syncing: Syncing, letters: dict[str, str]) -> None:
    query = "SELECT n, CASE WHEN n % 1000 = 0 THEN 'NaN'::numeric ELSE n END AS v FROM generate_series(1, 20000) n"
    run = syncing.run(postgresql_query=query, **letters).succeeded()
    assert (run.rows_loaded, run.report["dead_letters"]) == (19_980, "20")
    assert syncing.query("SELECT COUNT(DISTINCT n) FROM items") == [(19_980,)]
    assert syncing.query("SELECT COUNT(*), COUNT(DISTINCT source_row) FROM letters") == [(20, 20)]


def test_json_that_bigquery_would_refuse_is_a_dead_letter_and_not_shown(syncing: Syncing) -> None:
    syncing.execute("CREATE TABLE documents (id int, j json, b jsonb)")
    syncing.execute(
        r"""INSERT INTO documents VALUES (1, '{"a": 1}', '{"a": 1}'), (2, '{"secret-1": "\ud800"}', NULL), """
        r"""(3, NULL, '{"secret-2": 1e400}'), (4, '"\ud83d\ude00"', '[1e300]')"""
    )
    query = {"postgresql_query": "SELECT * FROM documents"}
    message = syncing.run(**query).refused("column 'j' (json to JSON)", "column 'b' (jsonb to JSON)")
    assert "secret" not in message
    run = syncing.run(**query, dead_letter_table=syncing.table_id("letters")).succeeded()
    assert syncing.column("SELECT id FROM items ORDER BY id") == [1, 4]
    assert run.report["dead_letters"] == "2"
    assert "secret-1" not in run.everything
    assert "secret-2" not in run.everything
