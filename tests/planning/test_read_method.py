from __future__ import annotations

from dataclasses import replace

import pytest

from sync_pipeline.errors import ConfigError
from sync_pipeline.planning.read_method import choose_read_method
from sync_pipeline.schema import Field, Schema
from sync_pipeline.sources.source import Selection

SOURCE = Schema((Field("id", "INT64"), Field("name", "STRING")))
SELECTION = Selection("SELECT 1", SOURCE, "EU", "my-project")
NUMBERS = Schema((Field("id", "INT64"), Field("name", "INT64")))


def choose(
    selection: Selection | None,
    read: Schema = SOURCE,
    *,
    location: str = "EU",
    dead_letters: bool = False,
    hash_key: bool = False,
):
    way = choose_read_method(selection, read, location, keeps_dead_letters=dead_letters, has_hash_key=hash_key)
    return way.selection is not None, way.reason


@pytest.mark.parametrize(
    ("options", "is_short", "reason"),
    [
        pytest.param(
            {},
            True,
            "one query moves the rows, workers read none: source and destination are both in EU",
            id="one location",
        ),
        pytest.param(
            {"location": "eu"},
            True,
            "one query moves the rows, workers read none: source and destination are both in eu",
            id="spelling",
        ),
        pytest.param(
            {"read": NUMBERS},
            True,
            "one query moves the rows, workers read none: source and destination are both in EU",
            id="casts that may fail",
        ),
        pytest.param(
            {"dead_letters": True},
            True,
            "one query moves the rows, workers read none: source and destination are both in EU",
            id="dead letters that cannot be",
        ),
        pytest.param(
            {"hash_key": True},
            False,
            "the workers read the rows: hash_fields are hashed with hash_key, and a query would expose the key",
            id="hashes with a key",
        ),
        pytest.param(
            {"location": "US"},
            False,
            "the workers read the rows: the source is in EU and the destination in US, but a query has one location",
            id="two locations",
        ),
        pytest.param(
            {"read": NUMBERS, "dead_letters": True},
            False,
            "the workers read the rows: rows may be invalid (name), and one statement cannot also write "
            "dead_letter_table",
            id="casts and dead letters",
        ),
        pytest.param(
            {"read": SOURCE.with_required(["id"]), "dead_letters": True},
            False,
            "the workers read the rows: rows may be invalid (id), and one statement cannot also write "
            "dead_letter_table",
            id="keys and dead letters",
        ),
    ],
)
def test_auto(options: dict[str, object], is_short: bool, reason: str) -> None:
    assert choose(SELECTION, **options) == (is_short, reason)  # type: ignore[arg-type]


def test_a_query_that_reads_no_table_runs_anywhere() -> None:
    is_short, reason = choose(replace(SELECTION, location=None), location="asia-east1")
    assert (is_short, reason) == (True, "one query moves the rows, workers read none: the query reads no table")


def test_a_query_that_would_read_too_much_is_refused_before_it_runs() -> None:
    selection = replace(SELECTION, maximum_bytes_billed=10**9, estimated_bytes=10**9 + 1)
    with pytest.raises(ConfigError) as raised:
        choose(selection)
    assert str(raised.value) == (
        "maximum_bytes_billed is 1,000,000,000, but the query would read 1,000,000,001 bytes of the source by "
        "BigQuery's estimate: read less, or raise the limit"
    )
    assert choose(replace(selection, estimated_bytes=10**9))[0]
    assert choose(replace(selection, estimated_bytes=None))[0]
    # The workers read without a query.
    assert not choose(selection, location="US")[0]


def test_a_source_elsewhere_has_one_way() -> None:
    assert choose(None) == (False, "")


def test_the_query_can_be_declined() -> None:
    assert choose(replace(SELECTION, declined="method=workers")) == (False, "the workers read the rows: method=workers")


def test_the_query_cannot_be_demanded_where_it_cannot_do_it() -> None:
    demanded = replace(SELECTION, required="method is 'query', but {blocker}: use auto")
    assert choose(demanded)[0]
    with pytest.raises(ConfigError, match=r"^method is 'query', but the source is in EU and .* location: use auto$"):
        choose(demanded, location="US")
