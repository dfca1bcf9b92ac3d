from __future__ import annotations

import pytest

from sync_pipeline.errors import ConfigError
from sync_pipeline.parameters.beam_arguments import BeamParser
from sync_pipeline.parameters.beam_names import CHECKED_OPTIONS, PLAIN_OPTIONS
from sync_pipeline.parameters.beam_words import BeamWords

PARSER = BeamParser()


def test_the_names_are_those_of_beam() -> None:
    assert PARSER.plain_names == PLAIN_OPTIONS
    assert PARSER.names - PLAIN_OPTIONS == CHECKED_OPTIONS


WORDS = (
    ["--{name}=value"],
    ["--{name}", "value"],
    ["--{name}"],
    ["--{name}="],
    ["--{name}=a=b"],
    ["--{name}", "-value"],
    ["--{name}", ""],
    ["--{name}=value", "more"],
    ["--{name}", "value", "more"],
)


@pytest.mark.parametrize("name", sorted(PLAIN_OPTIONS))
def test_a_plain_option_is_read_as_beam_reads_it(name: str) -> None:
    for pattern in WORDS:
        words = [word.format(name=name) for word in pattern]
        try:
            expected: object = PARSER.words_for(name, words)
        except ConfigError as error:
            expected = error.problems
        try:
            actual: object = BeamWords().words_for(name, words)
        except ConfigError as error:
            actual = error.problems
        assert actual == expected


def test_what_beam_has_to_check() -> None:
    beam = BeamWords()
    assert beam.words_for("save_main_session", ["--save_main_session=true"]) == ["--save_main_session"]
    with pytest.raises(ConfigError, match="num_workers is an option of Beam, which refuses it"):
        beam.words_for("num_workers", ["--num_workers=many"])
