"""A connection that the threads of planning use in turn."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg2.extensions import connection as Connection

from sync_pipeline.sources.postgresql.connection import transaction, translated_errors

# A thread that waits for a locked table keeps the connection from all others.
LOCK_MILLISECONDS = 1000


class SharedConnection:
    """Gives a connection to one thread at a time, for a transaction. A transaction that fails affects no other."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Begin a read-only transaction that waits a second for a lock, and roll it back at the end."""
        with self._lock, transaction(self._connection):
            with translated_errors(), self._connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL lock_timeout = {LOCK_MILLISECONDS}")
            yield self._connection
