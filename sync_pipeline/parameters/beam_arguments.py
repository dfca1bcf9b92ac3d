"""Beam's own options on the command line: their names, and the form in which Beam reads them."""

from __future__ import annotations

from argparse import _StoreAction
from collections.abc import Iterable, Sequence
from typing import NoReturn

from apache_beam.options.pipeline_options import PipelineOptions, _BeamArgumentParser

from sync_pipeline.errors import ConfigError

_TRUTH_VALUES = {"true": True, "false": False}

# This option has no effect on a batch job, and Beam cannot turn it off.
_STREAMING_ONLY = frozenset({"enable_streaming_engine"})

# Dataflow's API names for the values of options, and Beam's names. A launcher may pass either.
_API_VALUES = {
    "autoscaling_algorithm": {
        "AUTOSCALING_ALGORITHM_NONE": "NONE",
        "AUTOSCALING_ALGORITHM_BASIC": "THROUGHPUT_BASED",
    },
    "flexrs_goal": {
        "FLEXRS_COST_OPTIMIZED": "COST_OPTIMIZED",
        "FLEXRS_SPEED_OPTIMIZED": "SPEED_OPTIMIZED",
    },
}


class BeamParser(_BeamArgumentParser):
    """Parses Beam's options. Raises ValueError where argparse would exit."""

    def __init__(self) -> None:
        super().__init__(allow_abbrev=False, add_help=False)
        for options in PipelineOptions.__subclasses__():
            # Only Beam's options: `SyncOptions` is just a copy of the template's parameters.
            if options.__module__.startswith("apache_beam."):
                options._add_argparse_args(self)  # noqa: SLF001 - Beam's own hook for this
        self._actions_by_name = {
            option.lstrip("-"): action for action in self._actions for option in action.option_strings
        }
        # Beam's switches take no value: each sets its destination to one constant.
        self._switches = {
            name: (action.dest, bool(action.const))
            for name, action in self._actions_by_name.items()
            if action.nargs == 0
        }

    @property
    def names(self) -> frozenset[str]:
        """The options' names, without dashes."""
        return frozenset(self._actions_by_name)

    @property
    def plain_names(self) -> frozenset[str]:
        """The options that have one value, which may be any text."""
        return frozenset(
            name
            for name, action in self._actions_by_name.items()
            if type(action) is _StoreAction and (action.nargs, action.type, action.choices) == (None, None, None)
        )

    def words_for(self, name: str, words: Sequence[str]) -> list[str]:
        """Return the command-line words for Beam from the `words` given for the option `name`; none for the default.

        Args:
            words: `--NAME`, `--NAME=VALUE`, or `--NAME` and the words that follow. A switch may have the value true or
                false, because Dataflow accepts additional options only as NAME=VALUE.

        Raises:
            ConfigError: Beam would reject them.
        """
        if name in self._switches:
            return self._switch(name, words)
        words = [_in_words_of_beam(name, word) for word in words]
        try:
            _, unread = self.parse_known_args(words)
        except ValueError as error:
            raise ConfigError([f"--{name} is an option of Beam, which refuses it: {error}"]) from None
        if unread:
            raise ConfigError([f"--{name} is followed by further words, which no option of Beam takes"])
        return words

    def contradictions(self, arguments: Iterable[str]) -> list[str]:
        """Return a sentence for each pair of contradicting switches among words from `words_for`."""
        told: dict[str, dict[bool, str]] = {}
        for word in arguments:
            if word.lstrip("-") in self._switches:
                destination, value = self._switches[word.lstrip("-")]
                told.setdefault(destination, {})[value] = word
        return [
            f"{both[True]} and {both[False]} exclude each other: keep one" for both in told.values() if len(both) > 1
        ]

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)

    def _switch(self, name: str, words: Sequence[str]) -> list[str]:
        _, equals, text = words[0].partition("=")
        texts = [*([text] if equals else []), *words[1:]]
        is_on = _TRUTH_VALUES.get(texts[0].lower()) if texts else True
        if len(texts) > 1 or is_on is None:
            raise ConfigError([f"--{name} is a switch of Beam: write --{name}, --{name}=true or --{name}=false"])
        if is_on:
            return [f"--{name}"]
        destination, constant = self._switches[name]
        for other, setting in self._switches.items():
            if setting == (destination, not constant):
                return [f"--{other}"]
        if self._actions_by_name[name].default is (not constant) or name in _STREAMING_ONLY:
            return []
        raise ConfigError([f"--{name}=false: Beam has no option that turns this off"])


def _in_words_of_beam(name: str, word: str) -> str:
    flag, equals, value = word.rpartition("=")
    return f"{flag}{equals}{_API_VALUES.get(name, {}).get(value, value)}"
