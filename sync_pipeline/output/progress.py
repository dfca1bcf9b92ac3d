"""How far the runs of this process are. The steps of a local run count here, and a terminal shows it on one line.

Workers in other processes, as those of Dataflow, count in their own, where nobody looks.
"""

from __future__ import annotations

import threading
import time

PLANNING, READING, PUBLISHING = "planning", "reading", "publishing"


class Progress:
    """What the process does now, since when, and how many rows it has read. Threads may call the methods at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.begin("")

    def begin(self, phase: str, expected: int | None = None) -> None:
        """Begin a phase.

        Args:
            expected: rows that it will read, as estimated; None if unknown.
        """
        with self._lock:
            self._phase, self._expected = phase, expected
            self._rows, self._noun = 0, "rows"
            self._began = time.monotonic()

    def add(self, rows: int, noun: str = "rows") -> None:
        """Count what was read: rows, or the keys that are read after them."""
        with self._lock:
            if noun != self._noun:
                self._rows, self._noun, self._expected, self._began = 0, noun, None, time.monotonic()
            self._rows += rows

    def line(self) -> str:
        """Return the state as one line; empty if nothing runs."""
        with self._lock:
            phase, rows, noun, expected = self._phase, self._rows, self._noun, self._expected
            seconds = time.monotonic() - self._began
        if phase != READING or not rows:
            return f"{phase} … {clock(seconds)}" if phase else ""
        rate = rows / max(seconds, 1e-3)
        told = [f"{phase}  {rows:,} {noun}", f"{rate:,.0f} {noun}/s", clock(seconds)]
        # An estimate that is exceeded says nothing.
        if expected is not None and rows <= expected:
            told[0] = f"{phase}  {rows:,} of about {expected:,} {noun}  {100 * rows // expected} %"
            told[2] = f"{clock((expected - rows) / rate)} left"
        return "  ".join(told)


def clock(seconds: float) -> str:
    """Return a duration as hours, minutes and seconds, such as `0:07` or `1:02:03`."""
    whole = round(seconds)
    minutes = f"{whole // 60 % 60:02d}" if whole >= 3600 else str(whole // 60)
    return f"{whole // 3600}:{minutes}:{whole % 60:02d}" if whole >= 3600 else f"{minutes}:{whole % 60:02d}"


PROGRESS = Progress()
