"""Text for a terminal or a log: names and messages of others cannot move the cursor, hide text or begin a line."""

from __future__ import annotations

import re

# C0 but for the line feed, DEL and C1, which begin terminals' commands; separators of lines; marks of the direction
# of writing (Unicode TR 9, 2); and halves of characters, which UTF-8 cannot write.
UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Return the text with Python's escapes for what is not to be shown; line feeds stay."""
    return UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def on_one_line(text: str) -> str:
    """Return the same without line feeds."""
    return printable(text).replace("\n", "\\n")
