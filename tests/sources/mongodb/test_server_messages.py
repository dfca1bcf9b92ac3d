"""The server's words are shown where they speak of the statement, and never where they may quote a value."""

from __future__ import annotations

import pymongo.errors
import pytest

from sync_pipeline.sources.mongodb.server_messages import shown_message
from tests.sources.mongodb.test_connection import translation

PLANTED = "planted-secret"


@pytest.mark.parametrize(
    ("code", "message", "shown"),
    [
        pytest.param(2, "unknown operator: $gtt", "unknown operator: $gtt", id="the filter"),
        pytest.param(2, "$in needs an array", "$in needs an array", id="an operator"),
        pytest.param(14, f"Can't extract geo keys: {PLANTED}", None, id="a value"),
        pytest.param(2, f"PlanExecutor error :: caused by :: unknown operator {PLANTED}", None, id="an execution"),
        pytest.param(50, f"PlanExecutor error :: caused by :: {PLANTED}", None, id="an execution out of time"),
        pytest.param(241, f"Failed to parse number '{PLANTED}' in $convert", None, id="a conversion"),
        pytest.param(31034, f"{PLANTED}", None, id="a code that is not listed"),
        pytest.param(10334, f'BSONObj size is invalid. First element: _id: "{PLANTED}"', None, id="a large document"),
        pytest.param(
            13,
            f'not authorized on d to execute command {{ find: "c", filter: {{ _id: "{PLANTED}" }} }}',
            "not authorized on d to execute command find",
            id="a refused command",
        ),
    ],
)
def test_messages(code: int, message: str, shown: str | None) -> None:
    assert shown_message(code, message) == shown
    error = pymongo.errors.OperationFailure(message, code, {"errmsg": message, "codeName": "Name"})
    told = str(translation(error))
    assert told.startswith(f"MongoDB: {shown or 'Name'} (Name): ")
    assert PLANTED not in told


@pytest.mark.parametrize("kind", [pymongo.errors.PyMongoError, pymongo.errors.InvalidOperation])
def test_the_drivers_words_on_documents_are_not_shown(kind: type[Exception]) -> None:
    assert str(translation(kind(f"cannot encode {PLANTED}"))) == (
        f"MongoDB: {kind.__name__}: an unexpected error of the driver"
    )
