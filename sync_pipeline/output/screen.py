"""The log on a terminal: what a person needs of each line, and below it one live line about the progress."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import IO

from sync_pipeline.output.terminal import DIM, RED, YELLOW, coloured, cut, width_of, wrapped
from sync_pipeline.printable import on_one_line, printable

_REDRAW_SECONDS = 0.2
_ERASE = "\r\033[K"


class Screen(logging.Handler):
    """Writes records above the live line.

    A record's attribute `screen` is what a person sees instead of its message; nothing if it is empty.

    Attributes:
        line: returns the live line.
    """

    def __init__(self, stream: IO[str], line: Callable[[], str]) -> None:
        super().__init__()
        self._stream, self._line = stream, line
        self._shown = ""
        self._stopped = threading.Event()
        self._stopped.set()
        # One writer at a time; the handler's own lock is not held by the thread that redraws.
        self._writing = threading.Lock()

    def emit(self, record: logging.LogRecord) -> None:
        text = getattr(record, "screen", None)
        if text is None:
            text = f"{_PREFIX.get(record.levelno, '')}{record.getMessage()}"
            is_ours = record.name.startswith("sync_pipeline")
            text = on_one_line(text) if is_ours else printable(text)
        if text:
            style = YELLOW if text.startswith("risk: ") else _STYLE.get(record.levelno)
            text = wrapped(printable(text), width_of(self._stream), "  ")
            with self._writing:
                self._erase()
                self._stream.write(f"{coloured(text, style, self._stream) if style else text}\n")
                self._draw()

    @contextlib.contextmanager
    def live(self) -> Iterator[None]:
        """Show the live line within the block."""
        self._stopped.clear()
        thread = threading.Thread(target=self._redraw, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.stop()
            thread.join()

    def stop(self) -> None:
        """Remove the live line."""
        with self._writing:
            self._stopped.set()
            self._erase()
            self._stream.flush()

    def _redraw(self) -> None:
        while not self._stopped.wait(_REDRAW_SECONDS):
            with self._writing:
                self._draw()

    def _draw(self) -> None:
        text = "" if self._stopped.is_set() else self._line()
        # The last column would make some terminals wrap.
        text = cut(text, (width_of(self._stream) or 1) - 1)
        if text != self._shown:
            self._stream.write(f"{_ERASE}{coloured(text, DIM, self._stream)}")
            self._shown = text
        self._stream.flush()

    def _erase(self) -> None:
        if self._shown:
            self._stream.write(_ERASE)
            self._shown = ""


_PREFIX = {logging.WARNING: "warning: ", logging.ERROR: "error: ", logging.CRITICAL: "error: "}
_STYLE = {logging.WARNING: YELLOW, logging.ERROR: RED, logging.CRITICAL: RED}
