"""What a thread keeps open between its reads, so that small tables do not pay for connecting."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Collection
from typing import Any


class Idle[Held](threading.local):
    """The idle connection of each thread, at most one, with the server and login that it is for.

    Args:
        close: closes a connection.
    """

    def __init__(self, close: Callable[[Held], None]) -> None:
        self._close = close
        self._held: Held | None = None
        self._login: Any = None

    def take(self, login: object) -> Held | None:
        """Return the idle connection, which the caller then owns; None without one. Closes one for another login."""
        if self._login != login:
            self.close()
        held, self._held = self._held, None
        return held

    def keep(self, held: Held, login: object) -> None:
        """Keep a connection of the caller. Closes it if the thread keeps one already."""
        if self._held is None:
            self._held, self._login = held, login
        else:
            self._close(held)

    def close(self) -> None:
        """Close the idle connection, if there is one."""
        held, self._held = self._held, None
        if held is not None:
            self._close(held)


def login_of(config: Any, of_a_read: Collection[str]) -> dict[str, Any]:
    """Return the fields of a source's configuration that say where to connect, and as whom.

    Args:
        of_a_read: the other fields, which say what to read there.
    """
    return {
        field.name: getattr(config, field.name) for field in dataclasses.fields(config) if field.name not in of_a_read
    }
