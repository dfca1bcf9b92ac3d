from __future__ import annotations

import pytest

from sync_pipeline.errors import RecordError
from sync_pipeline.schema import Field, Schema
from sync_pipeline.sources.postgresql import copy_read
from sync_pipeline.sources.postgresql.copy_read import _Survey

SCHEMA = Schema((Field("n", "INT64", source_type="text"), Field("d", "DATE", source_type="date")))
NOT_A_NUMBER = (
    "column 'n' (text to INT64) has a value that does not fit: INT64 holds whole numbers from -2^63 to 2^63-1. Load "
    'the column as text with transformation_config={"type_overrides": {"n": "STRING"}}, or leave such rows '
    "out in the query"
)
NOT_A_DATE = (
    "column 'd' (date to DATE) has a value that does not fit: DATE holds the years 1 to 9999 and no infinity. Load the "
    'column as text with transformation_config={"type_overrides": {"d": "STRING"}}, or leave such rows out in the query'
)


def told(survey: _Survey) -> list[str]:
    with pytest.raises(RecordError) as caught:
        survey.finish()
    return str(caught.value).splitlines()


def test_a_survey_counts_rows_by_problem_the_most_frequent_first() -> None:
    survey = _Survey()
    survey.look_at([b"x,2024-01-01\n", b"1,infinity\n", b"2,2024-01-01\n"], SCHEMA)
    survey.look_at([b"y,2024-01-01\n", b"z,infinity\n"], SCHEMA)
    assert told(survey) == [f"{NOT_A_NUMBER} (in 3 of 5 rows)", f"{NOT_A_DATE} (in 2 of 5 rows)"]


def test_a_survey_counts_thousands() -> None:
    survey = _Survey()
    survey.look_at([*[b"1,\n"] * 1999, b"x,\n"], SCHEMA)
    assert told(survey) == [f"{NOT_A_NUMBER} (in 1 of 2,000 rows)"]


def test_a_survey_that_found_nothing_raises_nothing() -> None:
    survey = _Survey()
    assert not survey.has_begun
    survey.finish()
    survey.look_at([b"1,2024-01-01\n"], SCHEMA)
    assert survey.has_begun
    survey.finish()


def test_a_survey_ends_when_its_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy_read, "SURVEY_SECONDS", -1.0)
    monkeypatch.setattr(copy_read.time, "monotonic", lambda: 1000.0)
    with pytest.raises(RecordError) as caught:
        _Survey().look_at([b"x,\n", b"y,\n", b"z,\n"], SCHEMA)
    assert str(caught.value) == f"{NOT_A_NUMBER} (in 1 of 1 rows)"


def test_a_survey_shows_no_value() -> None:
    survey = _Survey()
    survey.look_at([b"secret,2024-01-01\n"], SCHEMA)
    assert "secret" not in "".join(told(survey))
