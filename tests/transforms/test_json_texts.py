from __future__ import annotations

import json
import math

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.transforms.json_texts import MAX_LEVELS, Origin, are_json, is_json

REFUSED = {
    "half of a pair": r'{"u": "\ud800"}',
    "the other half": r'"\uDC00"',
    "two first halves": r'"\ud800\ud800"',
    "exponent": '{"n": [1e400]}',
    "signed exponent": "-1E+400",
    "a number with an exponent at the end": '{"a":1.5e0309}',
    "a text that is a number": "1e400",
    "spaces before it": " \n1e400",
    "digits": f'{{"n": {"1" * 400}}}',
    "just too many digits": "1" + "0" * 309,
    "levels": "[" * (MAX_LEVELS + 1) + "]" * (MAX_LEVELS + 1),
    "levels of objects": '{"a":' * (MAX_LEVELS + 1) + "1" + "}" * (MAX_LEVELS + 1),
}
TAKEN = {
    "a pair": r'"\ud83d\ude00"',
    "an escaped backslash": r'"\\ud800"',
    "small": '{"n": 1e-400}',
    "the widest": "1.7976931348623157e308",
    "digits of a text": f'"{"1" * 400}"',
    "an exponent in a text": '"1e400"',
    "a UUID": '"12e34567-1e40-4e00-8e12-1e4001e40000"',
    "levels": "[" * MAX_LEVELS + "]" * MAX_LEVELS,
    "brackets in a text": json.dumps(["[" * 1000 + '"' + "{" * 1000]),
    "many side by side": f"[{','.join(['[]'] * 1000)}]",
    "empty": '""',
    "the same key twice": '{"a": 1, "a": 2}',
    "zero": r'"\u0000"',
}


@pytest.mark.parametrize("origin", [Origin.JSON, Origin.ANY])
@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_texts_that_bigquery_refuses(text: str, origin: Origin) -> None:
    assert not is_json(text)
    around = ["{}", None, '{"a": 1}', text, "7", None, '"x"', "-1", "[]"]
    assert not are_json(pa.array(around, pa.string()), origin)
    assert not are_json(pa.array([text]), origin)
    assert not are_json(pa.array([*around, "{}"], pa.string())[3:5], origin)
    assert are_json(pa.array(around, pa.string())[:3], origin)


@pytest.mark.parametrize("origin", [Origin.JSON, Origin.ANY])
def test_texts_that_bigquery_takes(origin: Origin) -> None:
    assert [name for name, text in TAKEN.items() if not is_json(text)] == []
    assert are_json(pa.array([None, *TAKEN.values(), None]), origin)
    assert are_json(pa.array([], pa.string()), origin)
    assert are_json(pa.array([None], pa.string()), origin)


@pytest.mark.parametrize("name", ["digits", "just too many digits", "levels", "levels of objects"])
def test_texts_that_a_server_wrote(name: str) -> None:
    around = ["{}", None, '{"a": 1}', REFUSED[name], "7", "[]"]
    assert not are_json(pa.array(around, pa.string()), Origin.NORMALIZED)
    assert are_json(pa.array(around, pa.string())[:3], Origin.NORMALIZED)


@pytest.mark.parametrize("text", ["", "NaN", "{", "{'a': 1}", "[1,]", "nothing", "01"])
def test_texts_that_are_no_json(text: str) -> None:
    assert not are_json(pa.array([text]), Origin.ANY)


_numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.tuples(st.integers(0, 10**9), st.sampled_from(["e", "E", "e+", "E-"]), st.integers(0, 500)).map(
        lambda parts: f"{parts[0]}{parts[1]}{parts[2]}"
    ),
    st.integers(295, 320).map(lambda digits: "9" * digits),
)
_strings = st.lists(
    st.sampled_from(["\\ud800", "\\udc00", "\\\\", "\\n", "e", "1e400", "[", "{", " ", "\\u00e4", "12"])
).map(lambda parts: f'"{"".join(parts)}"')
_documents = st.recursive(
    st.one_of(_numbers, _strings, st.sampled_from(["null", "true"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda members: f"[{','.join(members)}]"),
        st.lists(inner, max_size=3).map(
            lambda members: "{" + ", ".join(f'"k{n}" :{m}' for n, m in enumerate(members)) + "}"
        ),
    ),
    max_leaves=12,
)


@given(st.lists(st.one_of(st.none(), _documents), max_size=6))
def test_looking_at_some_finds_all(texts: list[str | None]) -> None:
    column = pa.array(texts, pa.string())
    assert are_json(column, Origin.JSON) == are_json(column, Origin.ANY)
    for text in filter(None, texts):
        if is_json(text):
            value = orjson.loads(text)
            assert not isinstance(value, float) or math.isfinite(value)
