from __future__ import annotations

import threading
import time

import pytest
from google.cloud import bigquery

from sync_pipeline.bigquery_api import threads


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The projects for which clients are opened; a client is an object of its own."""
    projects: list[str] = []

    def open_one(project: str) -> object:
        projects.append(project)
        return object()

    monkeypatch.setattr(threads, "open_client", open_one)
    return projects


def test_results_have_the_order_of_the_items_and_each_thread_has_one_client(opened: list[str]) -> None:
    clients: dict[int, set[int]] = {}

    def doubled(client: bigquery.Client, item: int) -> int:
        clients.setdefault(threading.get_ident(), set()).add(id(client))
        return 2 * item

    assert list(threads.map_with_clients(doubled, range(100), "p")) == [2 * item for item in range(100)]
    assert set(map(len, clients.values())) == {1}
    assert opened == ["p"] * len(clients)
    assert len(clients) <= threads.THREADS


def test_an_error_is_raised(opened: list[str]) -> None:
    def fail(_: bigquery.Client, item: int) -> int:
        if item == 3:
            raise ValueError(item)
        return item

    with pytest.raises(ValueError, match="3"):
        list(threads.map_with_clients(fail, range(10), "p"))


def test_nothing_to_do(opened: list[str]) -> None:
    assert list(threads.map_with_clients(lambda _, item: item, [], "p")) == []
    assert opened == []


def test_what_is_finished_comes_first(opened: list[str]) -> None:
    first_may_end = threading.Event()

    def wait(_: bigquery.Client, item: int) -> int:
        if item == 0:
            assert first_may_end.wait(10)
        return 2 * item

    finished = []
    for item, result in threads.each_with_client(wait, range(4), "p", 2):
        finished.append((item, result))
        if len(finished) == 3:
            first_may_end.set()
    assert finished[3] == (0, 0)
    assert sorted(finished) == [(0, 0), (1, 2), (2, 4), (3, 6)]
    assert len(opened) <= 2


def test_an_error_keeps_the_rest_from_beginning(opened: list[str]) -> None:
    begun = []

    def fail(_: bigquery.Client, item: int) -> int:
        begun.append(item)
        # Longer than it takes to see the first error.
        time.sleep(0.01)
        raise ValueError(item)

    with pytest.raises(ValueError, match=r"^\d+$"):
        list(threads.each_with_client(fail, range(1000), "p", 2))
    assert len(begun) < 1000


def test_one_item_takes_no_thread(opened: list[str]) -> None:
    idents = list(threads.each_with_client(lambda *_: threading.get_ident(), ["item"], "p", 16))
    assert idents == [("item", threading.get_ident())]
