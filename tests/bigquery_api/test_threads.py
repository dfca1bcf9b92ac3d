from __future__ import annotations

import threading

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
