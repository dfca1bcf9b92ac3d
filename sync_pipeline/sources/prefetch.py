"""Prefetching: a thread receives from a server while another converts."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

# How often a waiting thread checks whether its consumer has stopped, in seconds.
_WAIT_SECONDS = 0.5


class _AbandonedError(Exception):
    """The consumer stopped and needs no more items."""


@dataclass(frozen=True)
class _End:
    """The end of the items: an error, or None after the last item."""

    error: BaseException | None


def prefetched[Item](
    receive: Callable[[Callable[[Item], None]], None], waiting: int, stop: Callable[[], None] = lambda: None
) -> Generator[Item]:
    """Run `receive` in a thread and yield the items that it passes to its argument, in order.

    Args:
        receive: produces the items. Its errors are raised here, after the items before them.
        waiting: maximum number of items in the queue; then `receive` waits.
        stop: called if the consumer stops early, so that `receive` does not wait for the rest.
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
