"""Requests to BigQuery for many tables at once, by a few threads with a client each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from google.cloud import bigquery

from sync_pipeline.bigquery_api.client import open_client

# With answers of 100 ms and more, as many threads stay below 100 requests a second for each method, and below 300
# requests at once. https://cloud.google.com/bigquery/quotas#api_request_quotas
THREADS = 10


def map_with_clients[Item, Result](
    function: Callable[[bigquery.Client, Item], Result], items: Sequence[Item], project: str
) -> Iterator[Result]:
    """Yield the results of `function` for `items`, in their order. Raises the first error.

    Each thread has a client of its own, whose jobs run in `project`: a client keeps only ten connections open.
    """
    call = _with_client(function, project)
    with ThreadPoolExecutor(min(THREADS, len(items)) or 1, thread_name_prefix="bigquery") as pool:
        yield from pool.map(call, items)


def each_with_client[Item, Result](
    function: Callable[[bigquery.Client, Item], Result], items: Sequence[Item], project: str, threads: int
) -> Iterator[tuple[Item, Result]]:
    """Yield each item with its result, as soon as there is one; see `map_with_clients`.

    Raises the first error; items that no thread has taken by then are dropped. One item takes no thread.
    """
    call = _with_client(function, project)
    if len(items) == 1:
        yield items[0], call(items[0])
        return
    pool = ThreadPoolExecutor(min(threads, len(items)) or 1, thread_name_prefix="bigquery")
    try:
        calls = {pool.submit(call, item): item for item in items}
        for finished in as_completed(calls):
            yield calls[finished], finished.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _with_client[Item, Result](
    function: Callable[[bigquery.Client, Item], Result], project: str
) -> Callable[[Item], Result]:
    local = threading.local()

    def call(item: Item) -> Result:
        if not hasattr(local, "client"):
            local.client = open_client(project)
        return function(local.client, item)

    return call
