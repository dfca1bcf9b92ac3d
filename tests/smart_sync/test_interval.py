from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from sync_pipeline.smart_sync.interval import BEGINNING, StartOrigin, SyncInterval, bound_text, resolve_interval
from sync_pipeline.smart_sync.placeholders import fill_placeholders, has_placeholders
from sync_pipeline.smart_sync.upper_bound import OpenTransaction, UpperBound, upper_bound
from tests.plans import moment

NOW = moment("2025-07-22 15:00:00")


def resolved(latest: datetime | None, end: datetime, **given: Any) -> SyncInterval:
    """Return the interval, without lookback, replacement or wall clock where they are not given."""
    return resolve_interval(
        latest, end, **{"lookback": timedelta(), "table_is_replaced": False, "wall_clock": None} | given
    )


@pytest.mark.parametrize(
    ("latest", "start"),
    [
        pytest.param("2025-07-22 13:00:00", "2025-07-22 13:00:00", id="normal operation"),
        pytest.param(None, "1900-01-01 00:00:00", id="first run"),
        pytest.param("2025-07-21 10:30:00", "2025-07-21 10:30:00", id="after an outage"),
    ],
)
def test_the_published_scenarios(latest: str | None, start: str) -> None:
    known = moment(latest) if latest else None
    interval = resolved(known, NOW, sync_all_on_empty_table=True, fallback_days=1)
    assert (interval.start, interval.end, interval.latest) == (moment(start), moment("2025-07-22 15:00:00"), known)
    assert interval.origin is (StartOrigin.DESTINATION if latest else StartOrigin.EVERYTHING)


@pytest.mark.parametrize(
    ("days", "start"),
    [pytest.param(1, "2025-07-21 15:00:00", id="one"), pytest.param(7, "2025-07-15 15:00:00", id="seven")],
)
def test_fallback_days(days: int, start: str) -> None:
    interval = resolved(None, NOW, sync_all_on_empty_table=False, fallback_days=days)
    assert interval == SyncInterval(moment(start), NOW, StartOrigin.FALLBACK, None)


def test_fallback_days_do_not_count_when_the_destination_has_rows() -> None:
    latest = moment("2025-01-01 00:00:00")
    interval = resolved(latest, NOW, sync_all_on_empty_table=False, fallback_days=1)
    assert interval == SyncInterval(latest, NOW, StartOrigin.DESTINATION, latest)


def test_lookback_moves_the_start_and_not_what_is_known() -> None:
    latest = moment("2025-07-22 13:00:00")
    interval = resolved(latest, NOW, sync_all_on_empty_table=True, fallback_days=1, lookback=timedelta(seconds=90))
    assert interval == SyncInterval(moment("2025-07-22 12:58:30"), NOW, StartOrigin.LOOKBACK, latest)


def test_lookback_of_an_empty_table() -> None:
    interval = resolved(None, NOW, sync_all_on_empty_table=True, fallback_days=1, lookback=timedelta(hours=1))
    assert interval == SyncInterval(BEGINNING, NOW, StartOrigin.EVERYTHING, None)


@pytest.mark.parametrize("latest", [None, moment("2025-07-22 13:00:00")], ids=["empty", "with rows"])
@pytest.mark.parametrize(
    ("everything", "start", "origin"),
    [
        pytest.param(True, BEGINNING, StartOrigin.REPLACED, id="everything"),
        pytest.param(False, moment("2025-07-20 15:00:00"), StartOrigin.FALLBACK, id="the last days"),
    ],
)
def test_a_replaced_table_is_loaded_anew(
    latest: datetime | None, everything: bool, start: datetime, origin: StartOrigin
) -> None:
    interval = resolved(latest, NOW, sync_all_on_empty_table=everything, fallback_days=2, table_is_replaced=True)
    assert interval == SyncInterval(start, NOW, origin, None)


@pytest.mark.parametrize("lookback", [timedelta(), timedelta(minutes=1)], ids=["without lookback", "with lookback"])
def test_a_clock_set_back_gives_an_empty_interval(lookback: timedelta) -> None:
    latest = moment("2025-07-22 16:00:00")
    interval = resolved(latest, NOW, sync_all_on_empty_table=True, fallback_days=1, lookback=lookback)
    assert (interval.start, interval.end, interval.latest) == (latest - lookback, latest - lookback, latest)


def test_a_lookback_reaches_before_an_end_that_is_held_back() -> None:
    latest = moment("2025-07-22 15:00:10")
    interval = resolved(latest, NOW, sync_all_on_empty_table=True, fallback_days=1, lookback=timedelta(seconds=30))
    assert (interval.start, interval.end) == (moment("2025-07-22 14:59:40"), NOW)


def test_an_interval_as_text() -> None:
    interval = SyncInterval(moment("2025-07-22 13:00:00"), NOW, StartOrigin.DESTINATION)
    assert str(interval) == "(2025-07-22 13:00:00.000000+00, 2025-07-22 15:00:00.000000+00]"


@pytest.mark.parametrize("ends", [(NOW.replace(tzinfo=None), NOW), (NOW, NOW.replace(tzinfo=None))])
def test_an_interval_needs_time_zones(ends: tuple[datetime, datetime]) -> None:
    with pytest.raises(ValueError, match=r"^a SyncInterval needs time zone aware timestamps$"):
        SyncInterval(*ends, StartOrigin.DESTINATION)


NO_TIME = timedelta()
HOUR = timedelta(hours=1)


def test_without_transactions_the_end_is_now() -> None:
    assert upper_bound(NOW, [], settle=NO_TIME, max_hold=HOUR) == UpperBound(NOW)


def test_without_transactions_the_end_settles() -> None:
    assert upper_bound(NOW, [], settle=timedelta(seconds=3), max_hold=HOUR) == UpperBound(moment("2025-07-22 14:59:57"))


def test_an_open_transaction_holds_the_end_back_to_the_microsecond_before_it() -> None:
    opened = OpenTransaction(moment("2025-07-22 14:50:00"), "process 42 (idle in transaction)")
    assert upper_bound(NOW, [opened], settle=NO_TIME, max_hold=HOUR) == UpperBound(
        moment("2025-07-22 14:49:59.999999"),
        ("the end is held back to before process 42 (idle in transaction), open since 2025-07-22 14:50:00.000000+00",),
    )


@pytest.mark.parametrize(
    ("newest", "end"),
    [
        pytest.param("2025-07-22 14:30:00", "2025-07-22 14:29:58", id="a replica that lags"),
        pytest.param("2025-07-22 15:00:01", "2025-07-22 14:59:58", id="a write of a server whose clock is ahead"),
    ],
)
def test_settle_counts_from_the_newest_row_of_a_replica(newest: str, end: str) -> None:
    safe = upper_bound(NOW, [], settle=timedelta(seconds=2), max_hold=HOUR, newest=moment(newest))
    assert safe == UpperBound(moment(end))


def test_a_replica_that_lags_behind_a_transaction_is_not_held_back_by_it() -> None:
    opened = OpenTransaction(moment("2025-07-22 14:45:00"), "a session")
    newest = moment("2025-07-22 14:30:00")
    assert upper_bound(NOW, [opened], settle=NO_TIME, max_hold=HOUR, newest=newest) == UpperBound(newest)


def test_settle_counts_from_the_oldest_transaction() -> None:
    opened = OpenTransaction(moment("2025-07-22 14:50:00"), "process 42")
    assert upper_bound(NOW, [opened], settle=timedelta(seconds=1), max_hold=HOUR).end == moment(
        "2025-07-22 14:49:58.999999"
    )


def test_a_transaction_that_began_a_moment_ago_is_not_worth_a_word() -> None:
    opened = OpenTransaction(moment("2025-07-22 14:59:59.500000"), "process 42")
    held = upper_bound(NOW, [opened], settle=timedelta(seconds=1), max_hold=HOUR)
    assert held == UpperBound(moment("2025-07-22 14:59:58.499999"), ())


def test_the_oldest_of_several_transactions_holds() -> None:
    transactions = [
        OpenTransaction(moment("2025-07-22 14:50:00"), "process 1"),
        OpenTransaction(moment("2025-07-22 14:30:00"), "process 2"),
        OpenTransaction(moment("2025-07-22 14:40:00"), "process 3"),
    ]
    assert upper_bound(NOW, transactions, settle=NO_TIME, max_hold=HOUR) == UpperBound(
        moment("2025-07-22 14:29:59.999999"),
        ("the end is held back to before process 2, open since 2025-07-22 14:30:00.000000+00",),
    )


def test_a_transaction_that_began_after_the_clock_was_read_does_not_move_the_end_on() -> None:
    opened = OpenTransaction(moment("2025-07-22 15:00:00.000002"), "process 1")
    assert upper_bound(NOW, [opened], settle=NO_TIME, max_hold=HOUR) == UpperBound(NOW)


def test_a_prepared_transaction_may_have_begun_max_hold_before() -> None:
    prepared = OpenTransaction(moment("2025-07-22 14:50:00"), "prepared transaction 'x'", start_is_known=False)
    assert upper_bound(NOW, [prepared], settle=NO_TIME, max_hold=HOUR) == UpperBound(
        moment("2025-07-22 13:49:59.999999"),
        ("the end is held back to before prepared transaction 'x', open since 2025-07-22 14:50:00.000000+00",),
    )


def test_a_transaction_older_than_max_hold_does_not_hold() -> None:
    transactions = [
        OpenTransaction(moment("2025-07-22 13:59:59.999999"), "process 4711 (active)"),
        OpenTransaction(moment("2025-07-22 14:50:00"), "process 2"),
    ]
    assert upper_bound(NOW, transactions, settle=NO_TIME, max_hold=HOUR) == UpperBound(
        moment("2025-07-22 14:49:59.999999"),
        (
            "the end is held back to before process 2, open since 2025-07-22 14:50:00.000000+00",
            (
                "process 4711 (active), open since 2025-07-22 13:59:59.999999+00, is older than "
                "smart_sync_max_hold_seconds=3600 and no longer holds the sync back: rows that it commits with "
                "timestamps from its beginning WILL BE MISSED. End it, or use primary_key "
                "with smart_sync_lookback_seconds"
            ),
        ),
    )


def test_a_transaction_exactly_as_old_as_max_hold_holds() -> None:
    opened = OpenTransaction(moment("2025-07-22 14:00:00"), "process 1")
    assert upper_bound(NOW, [opened], settle=NO_TIME, max_hold=HOUR).end == moment("2025-07-22 13:59:59.999999")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param("a > '{start_timestamp}'", True, id="start"),
        pytest.param("a <= '{end_timestamp}'", True, id="end"),
        pytest.param("a = '{a,b}' OR x ~ '{start}'", False, id="others"),
    ],
)
def test_has_placeholders(query: str, expected: bool) -> None:
    assert has_placeholders(query) is expected


START, END = "2025-07-22 13:00:00.000000+00", "2025-07-22 15:00:00.000000+00"


@pytest.mark.parametrize(
    ("query", "filled"),
    [
        pytest.param(
            "SELECT * FROM t WHERE u > '{start_timestamp}' AND u <= '{end_timestamp}'",
            f"SELECT * FROM t WHERE u > '{START}' AND u <= '{END}'",
            id="both",
        ),
        pytest.param(
            "WHERE tags = '{a,b}' AND u > '{start_timestamp}' AND j = '{\"a\": {}}'",
            f"WHERE tags = '{{a,b}}' AND u > '{START}' AND j = '{{\"a\": {{}}}}'",
            id="other braces",
        ),
        pytest.param(
            "WHERE name LIKE '%s%(x)s%%' AND u <= '{end_timestamp}'",
            f"WHERE name LIKE '%s%(x)s%%' AND u <= '{END}'",
            id="per cent",
        ),
        pytest.param(
            "{start_timestamp} {end_timestamp} {end_timestamp} {start_timestamp}",
            f"{START} {END} {END} {START}",
            id="both twice",
        ),
        pytest.param("{START_TIMESTAMP} {start_timestamp } ", "{START_TIMESTAMP} {start_timestamp } ", id="near ones"),
        pytest.param("SELECT 1", "SELECT 1", id="none"),
    ],
)
def test_fill_placeholders(query: str, filled: str) -> None:
    interval = SyncInterval(moment("2025-07-22 13:00:00"), NOW, StartOrigin.DESTINATION)
    assert fill_placeholders(query, interval) == filled


@pytest.mark.parametrize(
    ("timestamp", "text"),
    [
        pytest.param(moment("2025-07-22 13:00:00"), "2025-07-22 13:00:00.000000+00", id="whole second"),
        pytest.param(moment("2025-07-22 13:00:00.000001"), "2025-07-22 13:00:00.000001+00", id="microsecond"),
        pytest.param(
            moment("9999-12-31 23:59:59.999999"), "9999-12-31 23:59:59.999999+00", id="the last moment there is"
        ),
        pytest.param(datetime(1, 1, 1, tzinfo=UTC), "0001-01-01 00:00:00.000000+00", id="year 1"),
        pytest.param(
            datetime(2025, 7, 22, 13, tzinfo=timezone(timedelta(hours=5, minutes=30))),
            "2025-07-22 07:30:00.000000+00",
            id="east",
        ),
        pytest.param(
            datetime(2025, 7, 22, 23, tzinfo=timezone(-timedelta(hours=8))), "2025-07-23 07:00:00.000000+00", id="west"
        ),
    ],
)
def test_timestamp_text(timestamp: datetime, text: str) -> None:
    assert bound_text(timestamp) == text
