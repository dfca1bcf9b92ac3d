from __future__ import annotations

import io

import pytest

from sync_pipeline.output.terminal import RED, aligned, coloured, is_terminal, width_of, wrapped


class Tty(io.StringIO):
    """A stream that says that it is a terminal, of unknown width."""

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        raise OSError


@pytest.mark.parametrize(
    ("environment", "is_one", "has_colours"),
    [
        pytest.param({"TERM": "xterm"}, True, True, id="a terminal"),
        pytest.param({"TERM": "xterm", "NO_COLOR": ""}, True, True, id="an empty NO_COLOR says nothing"),
        pytest.param({"TERM": "xterm", "NO_COLOR": "1"}, True, False, id="NO_COLOR"),
        pytest.param({"TERM": "dumb"}, False, False, id="a dumb terminal"),
        pytest.param({}, False, False, id="an unknown terminal"),
    ],
)
def test_terminals_and_colours(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], is_one: bool, has_colours: bool
) -> None:
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_terminal(Tty()) is is_one
    assert coloured("no", RED, Tty()) == ("\x1b[31mno\x1b[0m" if has_colours else "no")
    assert width_of(Tty()) == (80 if is_one else None)
    assert not is_terminal(io.StringIO())
    assert coloured("no", RED, io.StringIO()) == "no"
    assert width_of(io.StringIO()) is None


ROWS = (("Table", "Why"), ("public.orders", "key id, timestamps updated_at"))


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        pytest.param(None, ["Table          Why", "public.orders  key id, timestamps updated_at"], id="any"),
        pytest.param(30, ["Table          Why", "public.orders  key id, timest…"], id="the last is cut"),
        pytest.param(5, ["Table     Why", "public.…  key id,…"], id="never to nothing"),
    ],
)
def test_a_table_fits(width: int | None, lines: list[str]) -> None:
    assert aligned(ROWS, width) == lines


def test_a_sentence_is_wrapped() -> None:
    assert wrapped("one two three", 8, "  ") == "one two\n  three"
    assert wrapped("one two three", None) == "one two three"
