"""Questions on a terminal."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Questions:
    """Asks a person. The questions go to standard error.

    Attributes:
        read: reads a line of standard input, without its end; raises EOFError.
        read_hidden: the same, without showing it.
    """

    read: Callable[[], str] = input
    read_hidden: Callable[[str], str] = getpass.getpass

    def ask(self, question: str, default: str = "", check: Callable[[str], str | None] = lambda _: None) -> str:
        """Return the answer; an empty one is `default`. Asks again while `check` returns a problem.

        Raises:
            KeyboardInterrupt: the person ends the input.
        """
        while True:
            print(f"{question}{f' [{default}]' if default else ''}: ", end="", file=sys.stderr, flush=True)
            answer = _answer(self.read).strip() or default
            problem = check(answer)
            if problem is None:
                return answer
            print(f"  {problem}", file=sys.stderr)

    def ask_hidden(self, question: str) -> str:
        """Return an answer that the terminal does not show. Raises KeyboardInterrupt as `ask`."""
        return _answer(lambda: self.read_hidden(f"{question}: "))


def _answer(read: Callable[[], str]) -> str:
    try:
        return read()
    except EOFError:
        raise KeyboardInterrupt from None
