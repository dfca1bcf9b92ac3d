from __future__ import annotations

import pickle

import pytest

from sync_pipeline import errors
from sync_pipeline.errors import (
    ConcurrentSyncError,
    ConfigError,
    PublishError,
    RecordError,
    SchemaError,
    SourceError,
    SourceQueryError,
    SourceUnavailableError,
    SyncError,
    error_from_worker,
    message_of,
)

KINDS = [SyncError, *errors._descendants(SyncError)]


def test_the_tree() -> None:
    assert {kind.__name__: kind.__base__.__name__ for kind in KINDS if kind.__base__} == {
        "SyncError": "Exception",
        "ConfigError": "SyncError",
        "SourceError": "SyncError",
        "SourceUnavailableError": "SourceError",
        "SourceBusyError": "SourceUnavailableError",
        "SourceQueryError": "SourceError",
        "MissingRightError": "SourceQueryError",
        "SchemaError": "SyncError",
        "EmptySourceError": "SchemaError",
        "RecordError": "SyncError",
        "PublishError": "SyncError",
        "PublishUnavailableError": "PublishError",
        "ConcurrentSyncError": "PublishError",
    }
    drawn = errors.__doc__ or ""
    assert [kind.__name__ for kind in KINDS if f"{kind.__name__} " not in f"{drawn} ".replace("\n", " ")] == []


@pytest.mark.parametrize("kind", KINDS)
def test_crossing_processes(kind: type[SyncError]) -> None:
    error = kind(["first", "second"]) if kind is ConfigError else kind("first\nsecond")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.exit_code) == (kind, "first\nsecond", kind.exit_code)


@pytest.mark.parametrize("kind", KINDS)
def test_what_beam_does_to_an_error(kind: type[SyncError]) -> None:
    # Beam adds the step by replacing the first argument.
    error = kind(["first"]) if kind is ConfigError else kind("first\nsecond")
    if kind is not ConfigError:
        error.args = (f"{error.args[0]} [while running 'Read/ReadSplit-ptransform-42']", *error.args[1:])
        assert message_of(error) == "first\nsecond"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_the_problems_of_a_configuration() -> None:
    error = ConfigError(["first", "second"])
    assert (error.problems, str(error)) == (("first", "second"), "first\nsecond")


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (SyncError, 1),
        (SourceError, 1),
        (SourceUnavailableError, 1),
        (PublishError, 1),
        (ConcurrentSyncError, 1),
        (ConfigError, 2),
        (SourceQueryError, 2),
        (SchemaError, 2),
        (RecordError, 2),
    ],
)
def test_exit_codes(kind: type[SyncError], code: int) -> None:
    assert kind.exit_code == code


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("plain", "plain", id="no step"),
        pytest.param("a [while running 'Stage/WriteParquet']", "a", id="a step"),
        pytest.param("a\nb [while running 'X']\n\nmore", "a\nb", id="a step, and lines behind it"),
        pytest.param("a [1] [while running 'X'] [while running 'Y']", "a [1]", id="two steps"),
    ],
)
def test_message_of(text: str, message: str) -> None:
    assert message_of(RecordError(text)) == message


# What a runner with workers in other processes raises, shortened in the middle.
WORKER = """\
Pipeline job-001 failed in state FAILED: bundle inst001 stage-007 failed:Traceback (most recent call last):
  File "apache_beam/runners/common.py", line 1498, in apache_beam.runners.common.DoFnRunner.process
  File "/template/sync_pipeline/sources/postgresql/copy_read.py", line 117, in copied_parts
    survey.finish()
sync_pipeline.errors.RecordError: column 'a' (text to INT64) has an invalid value
column 'b' (date to DATE) has an invalid value

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/venv/lib/apache_beam/runners/worker/sdk_worker.py", line 320, in _execute
    response = task()
               ^^^^^^
  File "apache_beam/runners/common.py", line 1623, in apache_beam.runners.common.DoFnRunner._reraise_augmented
sync_pipeline.errors.RecordError: column 'a' (text to INT64) has an invalid value
column 'b' (date to DATE) has an invalid value [while running 'Read/ReadSplit-ptransform-42']
"""


def test_an_error_from_a_worker() -> None:
    error = error_from_worker(WORKER)
    assert type(error) is RecordError
    assert str(error) == (
        "column 'a' (text to INT64) has an invalid value\ncolumn 'b' (date to DATE) has an invalid value"
    )


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        pytest.param(
            "Traceback:\nsync_pipeline.errors.SourceUnavailableError: gone\n", SourceUnavailableError, "gone", id="last"
        ),
        pytest.param(
            "sync_pipeline.errors.SchemaError: first [while running 'X']\n\n"
            "sync_pipeline.errors.PublishError: second [while running 'Y']\nmore",
            PublishError,
            "second",
            id="the last of several",
        ),
        pytest.param(
            "sync_pipeline.errors.PublishError: known\n\nsync_pipeline.errors.NewerError: unknown",
            PublishError,
            "known",
            id="an error of another version",
        ),
        pytest.param("sync_pipeline.errors.PublishError: only", PublishError, "only", id="without a newline"),
    ],
)
def test_which_error_from_a_worker(text: str, kind: type[SyncError], message: str) -> None:
    error = error_from_worker(text)
    assert (type(error), str(error)) == (kind, message)


def test_a_configuration_error_from_a_worker() -> None:
    error = error_from_worker("sync_pipeline.errors.ConfigError: postgresql_password: gone\nsecond")
    assert isinstance(error, ConfigError)
    assert str(error) == "postgresql_password: gone\nsecond"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("ValueError: no [while running 'X']", id="an error of somebody else"),
        pytest.param("says sync_pipeline.errors.RecordError: in the middle of a line", id="not where a line begins"),
        pytest.param("", id="nothing"),
    ],
)
def test_no_error_of_ours(text: str) -> None:
    assert error_from_worker(text) is None
