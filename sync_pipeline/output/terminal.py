"""What a stream can show: whether a person looks at it, how wide it is, colours, and tables that fit."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from typing import IO

BOLD, DIM, RED, YELLOW = "1", "2", "31", "33"
_DEFAULT_WIDTH = 80
# Narrower than this, a cell says nothing.
_MIN_CELL = 8


def is_terminal(stream: IO[str]) -> bool:
    """Whether a person looks at the stream, on a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def width_of(stream: IO[str]) -> int | None:
    """Return the columns of a terminal; None for a stream without lines of a fixed width."""
    if not is_terminal(stream):
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or _DEFAULT_WIDTH
    except OSError:
        return _DEFAULT_WIDTH


def coloured(text: str, style: str, stream: IO[str]) -> str:
    """Return the text in a style such as `RED`, or as it is if the stream takes none. https://no-color.org"""
    if not text or not is_terminal(stream) or os.environ.get("NO_COLOR"):
        return text
    return f"\033[{style}m{text}\033[0m"


def wrapped(text: str, width: int | None, indent: str = "") -> str:
    """Return the text on lines of at most `width` columns; those after the first are indented."""
    if width is None or len(text) <= width:
        return text
    return textwrap.fill(text, width, subsequent_indent=indent, break_on_hyphens=False)


def cut(text: str, width: int) -> str:
    """Return the text, or its beginning and an ellipsis, in at most `width` columns."""
    return text if len(text) <= width else f"{text[: max(width - 1, 0)]}…"


def aligned(rows: Sequence[Sequence[str]], width: int | None = None) -> list[str]:
    """Return rows of cells as lines with aligned columns, cut to fit into `width`: the last column, then the widest."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    while width is not None and sum(widths) + 2 * (len(widths) - 1) > width and max(widths) > _MIN_CELL:
        widths[-1 if widths[-1] > 2 * _MIN_CELL else widths.index(max(widths))] -= 1
    return [
        "  ".join(f"{cut(cell, size):<{size}}" for cell, size in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
