"""The main cases again, with workers in processes of their own: all that travels between them does so by pickle."""

from __future__ import annotations

import pytest

from tests.integration.syncing import Run, Syncing, finished

OPTIONS = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")


@pytest.fixture(autouse=True)
def items(syncing: Syncing) -> None:
    syncing.execute("CREATE TABLE items (id int PRIMARY KEY, document jsonb, amount numeric, updated_at timestamptz)")
    syncing.execute(
        "INSERT INTO items SELECT n, jsonb_build_object('n', n), n / 4.0, "
        "timestamptz '2024-01-01Z' + n * interval '1 s' FROM generate_series(1, 5000) n"
    )


def run(syncing: Syncing, **parameters: str) -> Run:
    return finished(syncing.begin_process(*OPTIONS, **parameters))


def test_append_and_dead_letters(syncing: Syncing) -> None:
    syncing.execute("UPDATE items SET amount = 'NaN' WHERE id % 1000 = 0")
    parameters = {"postgresql_query": "SELECT id, amount FROM items", "dead_letter_table": syncing.table_id("letters")}
    result = run(syncing, **parameters).succeeded()
    assert (result.rows_read, result.rows_loaded, result.report["dead_letters"]) == (5000, 4995, "5")
    assert syncing.query("SELECT COUNT(DISTINCT id), MAX(amount) FROM items") == [(4995, 4999 / 4)]
    assert syncing.query("SELECT COUNT(*) FROM letters") == [(5,)]
    assert syncing.left_over() == []
    # Each line once, as it is with workers in one process.
    assert len([line for line in result.log if line.startswith("sync report:")]) == 1


def test_smart_merge_with_json(syncing: Syncing) -> None:
    parameters = {"enable_smart_sync": "true", "primary_key": "id"}
    syncing.run(**parameters).succeeded()
    syncing.execute("UPDATE items SET document = '[]', updated_at = '2024-06-01Z' WHERE id <= 10")
    assert run(syncing, **parameters).succeeded().rows_loaded == 10
    assert syncing.query(
        "SELECT COUNT(*), COUNT(DISTINCT id), COUNTIF(TO_JSON_STRING(document) = '[]') FROM items"
    ) == [(5000, 5000, 10)]
    assert syncing.left_over() == []


def test_a_value_that_does_not_fit(syncing: Syncing) -> None:
    syncing.execute("UPDATE items SET amount = 'NaN' WHERE id % 1000 = 0")
    result = run(syncing)
    result.refused("column 'amount' (numeric to BIGNUMERIC) has an invalid value", "(in 5 of 5,000 rows)")
    assert len(result.errors) == 1
    # Beam's workers print their traceback themselves; what matters is said last.
    assert result.log[-1].startswith("error: column 'amount'")
    assert syncing.endpoints.postgresql_password not in result.everything
    assert (syncing.tables(), syncing.left_over()) == ([], [])
