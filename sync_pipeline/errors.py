"""The errors a run can end with, named by what the reader has to do about them.

    SyncError
    ├── ConfigError                   wrong or contradictory parameters; raised before any connection
    ├── SourceError
    │   ├── SourceUnavailableError    transient: connecting is retried up to `max_retries`
    │   └── SourceQueryError          final: the source answered no
    ├── SchemaError                   a column that cannot be mapped, partitioned, clustered or reconciled
    ├── RecordError                   a value does not fit its column; names column and type, never the value
    └── PublishError                  the destination refused; nothing was published
        ├── PublishUnavailableError   transient: BigQuery or Cloud Storage did not answer, or could not do it
        └── ConcurrentSyncError       another run is at the same interval, and it cannot be known how it ended

Transient errors may pass when the step is attempted again, and the runner does that. All others are final.

Every error takes positional arguments only: Beam sends exceptions between processes by pickle.
"""

from __future__ import annotations

import re
from collections.abc import Sequence


class SyncError(Exception):
    """Base of every error this package raises on purpose. Its text is one message for a person.

    Attributes:
        exit_code: 2 where the parameters, the query or the data have to change before another run can succeed, else 1.
        is_transient: the same step may succeed when it is attempted again.
    """

    exit_code = 1
    is_transient = False


class ConfigError(SyncError):
    """The parameters of a run are wrong. Holds all problems found, one sentence each."""

    exit_code = 2

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(list(problems))
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join(self.problems)


class SourceError(SyncError):
    """The source could not be read."""


class SourceUnavailableError(SourceError):
    """The source could not be reached, or went away; the same run may succeed later."""

    is_transient = True


class SourceQueryError(SourceError):
    """The source answered no: credentials, names, privileges, SQL, or a limit of its own."""

    exit_code = 2


class SchemaError(SyncError):
    """A column cannot be mapped to BigQuery, or the destination table does not match."""

    exit_code = 2


class RecordError(SyncError):
    """A value does not fit its column. Names the column and the type, never the value."""

    exit_code = 2


class PublishError(SyncError):
    """BigQuery refused the load or the merge; the destination is as it was."""


class PublishUnavailableError(PublishError):
    """BigQuery or Cloud Storage did not answer, or could not do what was asked; what was begun may still take effect.

    Whoever raises it leaves in place what another attempt needs.
    """

    is_transient = True


class ConcurrentSyncError(PublishError):
    """Another run works on the same interval, and it cannot be known whether it has published."""


# What Beam adds to the message of an error that a step raised.
_STEP_SUFFIX = re.compile(r" \[while running '[^']*'.*", re.DOTALL)


def message_of(error: SyncError) -> str:
    """Return the error's own words, without the step that Beam names behind them."""
    return _STEP_SUFFIX.sub("", str(error))


def error_from_worker(text: str) -> SyncError | None:
    """Return the error of ours that a runner's report of a failed worker ends with, or None.

    A runner gives the worker's traceback as one text, in which only the last lines are for a person.
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
