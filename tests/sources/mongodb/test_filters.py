"""Filters in Extended JSON: what they become, and what is wrong with those that cannot be used."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import DatetimeMS, Decimal128, Int64, ObjectId

from sync_pipeline.errors import ConfigError
from sync_pipeline.smart_sync.interval import BEGINNING, StartOrigin, SyncInterval
from sync_pipeline.sources.mongodb.filters import both, interval_filter, milliseconds, parse_filter

ID = "65f0c0ffee65f0c0ffee65f0"
START = datetime(2024, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
INTERVAL = SyncInterval(START, START + timedelta(hours=1), StartOrigin.DESTINATION)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param('{"a": 1, "b": {"$in": [1.5, null]}}', {"a": 1, "b": {"$in": [1.5, None]}}, id="plain"),
        pytest.param(f'{{"_id": {{"$oid": "{ID}"}}}}', {"_id": ObjectId(ID)}, id="oid"),
        pytest.param('{"a": {"$numberLong": "5"}}', {"a": Int64(5)}, id="long"),
        pytest.param('{"a": {"$numberDecimal": "1.10"}}', {"a": Decimal128("1.10")}, id="decimal"),
        pytest.param(
            '{"a": {"$gt": {"$date": "2024-01-01T00:00:00Z"}}}',
            {"a": {"$gt": datetime(2024, 1, 1)}},  # noqa: DTZ001
            id="date",
        ),
        pytest.param(
            '{"a": {"$gt": {"$date": "{start_timestamp}"}, "$lte": {"$date": "{end_timestamp}"}}}',
            {"a": {"$gt": datetime(2024, 1, 1, 12, 0, 0, 123000), "$lte": datetime(2024, 1, 1, 13, 0, 0, 123000)}},  # noqa: DTZ001
            id="placeholders",
        ),
        pytest.param('{"a": "since {start_timestamp}"}', {"a": "since 2024-01-01T12:00:00.123Z"}, id="in a text"),
    ],
)
def test_parsed(text: str, expected: dict[str, Any]) -> None:
    assert parse_filter(text, "mongodb_query", INTERVAL) == expected


def test_everything_begins_before_the_first_date_that_bigquery_holds() -> None:
    everything = SyncInterval(BEGINNING, INTERVAL.end, StartOrigin.EVERYTHING)
    text = '{"a": {"$gt": {"$date": "{start_timestamp}"}}, "b": "since {start_timestamp}"}'
    parsed = parse_filter(text, "mongodb_query", everything)
    assert parsed == {"a": {"$gt": DatetimeMS(-62135596800001)}, "b": "since 0001-01-01T00:00:00.000Z"}
    assert interval_filter("a", everything)["a"]["$gte"] == datetime.min  # noqa: DTZ901


def test_nothing_is_the_empty_filter() -> None:
    assert parse_filter(None, "mongodb_query") == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param(
            '{"$where": "this.a == 1"}',
            "mongodb_query uses $where at line 1, column 2, which runs JavaScript on the server: use query operators "
            "instead, such as $expr",
            id="$where",
        ),
        pytest.param(
            '{\n  "$or": [{"a": 1},\n  {"$expr": {"$function": {"body": "f", "args": [], "lang": "js"}}}]\n}',
            "mongodb_query uses $function at line 3, column 14, which runs JavaScript on the server: use query "
            "operators instead, such as $expr",
            id="nested $function",
        ),
        pytest.param(
            '{"a": {"$oid": "65f0c0ffee65f0c0ffee65f0"},\n "b": {"$oid": "xyz"}}',
            'mongodb_query: {"$oid": "xyz"} at line 2, column 8 is not Extended JSON: \'xyz\' is not a valid ObjectId',
            id="ObjectId",
        ),
        pytest.param(
            '{"a": {"$date": "yesterday"}}',
            'mongodb_query: {"$date": "yesterday"} at line 1, column 8 is not Extended JSON: time data \'yesterday\'',
            id="date",
        ),
        pytest.param(
            '{"a": {"$numberDecimal": "x"}}',
            'mongodb_query: {"$numberDecimal": "x"} at line 1, column 8 is not Extended JSON: ',
            id="decimal",
        ),
    ],
)
def test_refused(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_filter(text, "mongodb_query")
    (only,) = caught.value.problems
    assert only.startswith(problem)


def test_interval() -> None:
    assert interval_filter("t", INTERVAL) == {
        "t": {
            "$gt": datetime(2024, 1, 1, 12, 0, 0, 123000),  # noqa: DTZ001
            "$lte": datetime(2024, 1, 1, 13, 0, 0, 123000),  # noqa: DTZ001
            "$not": {"$type": "array"},
        }
    }


def test_milliseconds_are_rounded_down_before_1970_too() -> None:
    moment = datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    assert milliseconds(moment) == datetime(1969, 12, 31, 23, 59, 59, 999000)  # noqa: DTZ001


def test_both() -> None:
    assert both({}, {"a": 1}) == {"a": 1}
    assert both({"a": 1}, {}) == {"a": 1}
    assert both({"a": 1}, {"a": 2}) == {"$and": [{"a": 1}, {"a": 2}]}
