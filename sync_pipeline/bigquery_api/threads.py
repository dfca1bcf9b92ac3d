"""Requests to BigQuery for many tables at once, by a few threads with a client each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from google.cloud import bigquery

from sync_pipeline.bigquery_api.client import open_client

# With answers of 100 ms and more, as many threads stay below 100 requests a second for each method, and below 300
# requests at once. https://cloud.google.com/bigquery/quotas#api_request_quotas
THREADS = 10


def map_with_clients[Item, Result](
    function: Callable[[bigquery.Client, Item], Result], items: Sequence[Item], project: str
) -> Iterator[Result]:
    """Yield the results of `function` for `items`, in their order. Raises the first error.

    Each thread has a client whose jobs run in `project`, because a client's connections are not for several threads.
    """
    local = threading.local()

    def call(item: Item) -> Result:
        if not hasattr(local, "client"):
            local.client = open_client(project)
        return function(local.client, item)

    with ThreadPoolExecutor(min(THREADS, len(items)) or 1, thread_name_prefix="bigquery") as pool:
        yield from pool.map(call, items)
