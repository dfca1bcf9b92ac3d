"""The errors a run can end with, named by what the user has to do.

    SyncError
    ├── ConfigError                   parameters, or what they name, are wrong: a bucket, a dataset, a secret
    ├── SourceError
    │   ├── SourceUnavailableError    transient: connecting is retried up to `max_retries`
    │   │   └── SourceBusyError       only one table cannot be read now
    │   └── SourceQueryError          final: the source rejected the request
    │       └── MissingRightError     its user lacks a right
    ├── SchemaError                   a column cannot be mapped, used for partitioning or clustering, or reconciled
    │   └── EmptySourceError          without rows the source has no columns, and there is no table yet
    ├── RecordError                   a value is invalid for its column; names column and type, never the value
    └── PublishError                  BigQuery or Cloud Storage rejected a request, or the row count differs
        ├── PublishUnavailableError   transient: BigQuery or Cloud Storage did not answer, or was unable to do it
        └── ConcurrentSyncError       another run works on the same interval, and its outcome is unknown

The runner retries a step after a transient error. All other errors are final.

Errors take positional arguments only: Beam pickles exceptions to send them between processes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence


class SyncError(Exception):
    """Base class of the errors that this package raises deliberately. The text is a message for the user.

    Attributes:
        exit_code: 2 if the user must change parameters, query or data before another run can succeed, else 1.
        is_transient: whether a retry of the same step may succeed.
    """

    exit_code = 1
    is_transient = False


class ConfigError(SyncError):
    """The parameters of a run, or what they name, are wrong. Holds every problem found, one sentence each."""

    exit_code = 2

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(list(problems))
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join(self.problems)


class SourceError(SyncError):
    """The source could not be read."""


class SourceUnavailableError(SourceError):
    """The source could not be reached, or the connection was lost. The same run may succeed later."""

    is_transient = True


class SourceBusyError(SourceUnavailableError):
    """A table of the source cannot be read now, for example because it is locked. Other tables can be read."""


class SourceQueryError(SourceError):
    """The source rejected the request: credentials, names, privileges, SQL, or a limit of the source."""

    exit_code = 2


class MissingRightError(SourceQueryError):
    """The user of the source lacks a right."""


class SchemaError(SyncError):
    """A column cannot be mapped to BigQuery, or the destination table does not match."""

    exit_code = 2


class EmptySourceError(SchemaError):
    """A source whose rows tell its columns has no rows, so that its table cannot be created yet."""


class RecordError(SyncError):
    """A value is invalid for its column. The message names the column and the type, never the value."""

    exit_code = 2


class PublishError(SyncError):
    """BigQuery or Cloud Storage rejected a request, at launch or later: the destination's rows are unchanged.

    After a load, it may also say that BigQuery loaded another number of rows than was staged: these rows are there.
    """


class PublishUnavailableError(PublishError):
    """BigQuery or Cloud Storage did not answer, or could not do the request. A started job may still take effect.

    Code that raises this error keeps the staged files and tables that a retry needs.
    """

    is_transient = True


class ConcurrentSyncError(PublishError):
    """Another run works on the same interval, and this run cannot know whether that run has published."""


# The suffix that Beam appends to the message of an error raised in a step.
_STEP_SUFFIX = re.compile(r" \[while running '[^']*'.*", re.DOTALL)


def message_of(error: SyncError) -> str:
    """Return the error's message without the step name that Beam appends."""
    return _STEP_SUFFIX.sub("", str(error))


def error_from_worker(text: str) -> SyncError | None:
    """Return the `SyncError` at the end of a runner's report of a failed worker, or None.

    A runner reports the worker's traceback as one text; only its last lines hold the message for the user.
    """
    kinds = {kind.__name__: kind for kind in _descendants(SyncError)}
    found = re.findall(
        rf"^{re.escape(__name__)}\.(\w+): (.*?)(?= \[while running|\n\s*$|\Z)", text, re.MULTILINE | re.DOTALL
    )
    for name, message in reversed(found):
        if name == ConfigError.__name__:
            return ConfigError(message.split("\n"))
        if name in kinds:
            return kinds[name](message)
    return None


def _descendants(error: type[SyncError]) -> list[type[SyncError]]:
    return [child for kind in error.__subclasses__() for child in (kind, *_descendants(kind))]
