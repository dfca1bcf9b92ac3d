"""Requests whose answers are the same for several tables of a run: each is sent once."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Collection

from google.cloud import bigquery

from sync_pipeline.parameters.identifiers import TableId
from sync_pipeline.planning.bucket_location import check_bucket
from sync_pipeline.planning.dead_letter_table import DeadLetterTable, describe_dead_letters
from sync_pipeline.planning.plan import Run

# Only a dry run may be without.
_NO_FOLDER = "temp_location is missing: a run needs it, in the location of the dataset; nothing was checked about it"


class Lookups:
    """The shared requests of a run's tables. Threads may call the methods at once."""

    def __init__(self, client: bigquery.Client, run: Run) -> None:
        lock = threading.Lock()

        def bucket_notes(locations: frozenset[str]) -> list[str]:
            return check_bucket(run.staging_root, client.project, locations) if run.staging_root else [_NO_FOLDER]

        def dead_letters(table: TableId) -> DeadLetterTable:
            return describe_dead_letters(client, table)

        self._check_bucket = _once(lock, bucket_notes)
        self._dead_letters = _once(lock, dead_letters)

    def check_bucket(self, locations: Collection[str]) -> list[str]:
        """Check that datasets in `locations` can load the staged files; see `bucket_location.check_bucket`."""
        return self._check_bucket(frozenset(locations))

    def dead_letters(self, table: TableId) -> DeadLetterTable:
        """Describe a dead letter table; see `dead_letter_table.describe_dead_letters`."""
        return self._dead_letters(table)


def _once[Key, Answer](lock: threading.Lock, ask: Callable[[Key], Answer]) -> Callable[[Key], Answer]:
    """Return a function that sends each request once; a failed request is sent again."""
    cached = functools.cache(ask)

    def call(key: Key) -> Answer:
        with lock:
            return cached(key)

    return call
