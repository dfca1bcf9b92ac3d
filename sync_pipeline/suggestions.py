"""Suggestions for misspelt names, worded for the end of a message."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest_match(word: str, candidates: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the candidate most similar to `word`, or None. Ignores case, and treats `-` and `_` as equal."""
    by_folded = {_folded(candidate): candidate for candidate in candidates}
    matches = difflib.get_close_matches(_folded(word), by_folded, n=1, cutoff=cutoff)
    return by_folded[matches[0]] if matches else None


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Return `; did you mean X?`, or an empty string when no candidate is similar."""
    candidate = closest_match(word, candidates)
    return f"; did you mean {candidate}?" if candidate is not None else ""


def _folded(word: str) -> str:
    return word.lower().replace("-", "_")
