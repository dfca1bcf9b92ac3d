from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from sync_pipeline.sources.prefetch import prefetched


def count_to(most: int, error: Exception | None = None) -> Callable[[Callable[[int], None]], None]:
    def receive(put: Callable[[int], None]) -> None:
        for number in range(most):
            put(number)
        if error is not None:
            raise error

    return receive


def is_alone() -> bool:
    return not [thread for thread in threading.enumerate() if thread.name == "prefetch"]


def test_all_items_come_in_order() -> None:
    assert list(prefetched(count_to(1000), 2)) == list(range(1000))
    assert is_alone()


def test_an_error_is_raised_behind_the_items_before_it() -> None:
    items = prefetched(count_to(3, ValueError("broken")), 1)
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="broken"):
        next(items)
    assert is_alone()


def test_no_more_items_wait_than_are_allowed() -> None:
    received: list[int] = []
    more = threading.Event()

    def receive(put: Callable[[int], None]) -> None:
        for number in range(10):
            put(number)
            received.append(number)
            if number == 2:
                more.set()

    items = prefetched(receive, 2)
    assert next(items) == 0
    more.wait(5)
    assert received in ([0, 1, 2], [0, 1, 2, 3])
    items.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("taken", [1, 3])
def test_a_reader_that_goes_away_stops_the_rest(taken: int) -> None:
    stopped = threading.Event()

    def receive(put: Callable[[int], None]) -> None:
        count_to(3)(put)
        # As a driver waits for a server.
        stopped.wait(10)

    items = prefetched(receive, 5, stopped.set)
    assert [next(items) for _ in range(taken)] == list(range(taken))
    items.close()  # type: ignore[attr-defined]
    assert stopped.is_set()
    assert is_alone()


def test_a_complete_read_stops_nothing() -> None:
    assert list(prefetched(count_to(3), 5, lambda: pytest.fail("stopped"))) == [0, 1, 2]
