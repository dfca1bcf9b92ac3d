"""A thread that receives from a server while the other converts what has come."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

# How often a thread that waits for its reader looks whether that has gone away.
_WAIT_SECONDS = 0.5


class _AbandonedError(Exception):
    """The reader went away: it wants no more items."""


@dataclass(frozen=True)
class _End:
    """How the items ended: with an error, or all of them came."""

    error: BaseException | None


def prefetched[Item](
    receive: Callable[[Callable[[Item], None]], None], waiting: int, stop: Callable[[], None] = lambda: None
) -> Iterator[Item]:
    """Run `receive` in a thread of its own and yield the items that it passes to its argument, in their order.

    Args:
        receive: its errors are raised here, behind the items that came before.
        waiting: so many items wait at most; then `receive` waits.
        stop: called when the reader goes away before the end, so that `receive` need not wait for the rest.
    """
    items: queue.Queue[Any] = queue.Queue(waiting)
    abandoned = threading.Event()

    def put(item: object) -> None:
        while not abandoned.is_set():
            with contextlib.suppress(queue.Full):
                return items.put(item, timeout=_WAIT_SECONDS)
        raise _AbandonedError

    def run() -> None:
        try:
            receive(put)
            put(_End(None))
        except _AbandonedError:
            return
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that reads
            with contextlib.suppress(_AbandonedError):
                put(_End(error))

    receiver = threading.Thread(target=run, name="prefetch", daemon=True)
    receiver.start()
    has_ended = False
    try:
        while not isinstance(item := items.get(), _End):
            yield item
        has_ended = True
        if item.error is not None:
            raise item.error
    finally:
        abandoned.set()
        if not has_ended:
            stop()
        receiver.join()
