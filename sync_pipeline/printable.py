"""Escaping for terminals and logs: external names and messages cannot move the cursor, hide text or start a line."""

from __future__ import annotations

import re

# C0 except line feed, DEL and C1, which start terminal control sequences; line separators; bidirectional formatting
# characters (Unicode UAX #9, section 2); and lone surrogates, which UTF-8 cannot encode.
UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Return the text with unsafe characters as Python escapes. Line feeds stay."""
    return UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def on_one_line(text: str) -> str:
    """Return the text as `printable` does, with line feeds escaped too."""
    return printable(text).replace("\n", "\\n")
