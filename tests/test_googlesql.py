from __future__ import annotations

import pytest

from sync_pipeline.googlesql import string_literal


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        pytest.param("plain 'text' %s {x} `y`", "\"plain 'text' %s {x} `y`\"", id="nothing to escape"),
        pytest.param('"', '"\\""', id="quote"),
        pytest.param("\\", '"\\\\"', id="backslash"),
        pytest.param("a\r\nb", '"a\\r\\nb"', id="newline"),
        pytest.param("", '""', id="empty"),
    ],
)
def test_string_literal(text: str, literal: str) -> None:
    assert string_literal(text) == literal
