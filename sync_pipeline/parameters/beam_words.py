"""Beam's options on the command line, checked without an import of Beam as far as their names are enough for that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from sync_pipeline.parameters.beam_names import CHECKED_OPTIONS, PLAIN_OPTIONS

if TYPE_CHECKING:
    from sync_pipeline.parameters.beam_arguments import BeamParser


class BeamWords:
    """The options of Beam."""

    names = PLAIN_OPTIONS | CHECKED_OPTIONS

    def has_in_another_spelling(self, name: str) -> bool:
        """Whether `name` is an option with different capitals, dashes or underscores."""
        return _folded(name) in map(_folded, self.names)

    def words_for(self, name: str, words: Sequence[str]) -> list[str]:
        """Return the command-line words for Beam as `BeamParser.words_for` does. Raises ConfigError."""
        if name in PLAIN_OPTIONS and _is_one_value(words):
            return list(words)
        return self._parser.words_for(name, words)

    def contradictions(self, arguments: Iterable[str]) -> list[str]:
        """Return a sentence for each pair of contradicting switches among words from `words_for`."""
        # Every switch was given to the parser.
        return self._parser.contradictions(arguments) if "_parser" in vars(self) else []

    @cached_property
    def _parser(self) -> BeamParser:
        from sync_pipeline.parameters.beam_arguments import BeamParser

        return BeamParser()


def _is_one_value(words: Sequence[str]) -> bool:
    """Whether the words are `--NAME=VALUE`, or `--NAME` and one word."""
    if len(words) == 1:
        return "=" in words[0]
    return len(words) == 2 and "=" not in words[0] and not words[1].startswith("-")


def _folded(name: str) -> str:
    return name.replace("-", "").replace("_", "").lower()
