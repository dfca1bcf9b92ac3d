"""Texts for terminals and logs.

Escaped, external names and messages cannot move the cursor, hide text or start a line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# C0 except line feed, DEL and C1, which start terminal control sequences; line separators; bidirectional formatting
# characters (Unicode UAX #9, section 2); and lone surrogates, which UTF-8 cannot encode.
UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Return the text with unsafe characters as Python escapes. Line feeds stay."""
    return UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def named(names: Sequence[str], most: int) -> str:
    """Return at most `most` names for a message, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def on_one_line(text: str) -> str:
    """Return the text as `printable` does, with line feeds escaped too."""
    return printable(text).replace("\n", "\\n")
