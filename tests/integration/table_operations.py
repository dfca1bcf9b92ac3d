"""What can happen in a history of several tables."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from tests.integration.histories import Begin, Commit, Prepare, Rollback
from tests.integration.history_sites import Stamp

CLOCK = datetime(2025, 7, 22, tzinfo=UTC)


class Kind(enum.Enum):
    """What a table is like, and so how its rows are published; the value is its columns besides those that all have."""

    MERGED = "PRIMARY KEY (id), updated_at timestamptz"
    APPENDED = "updated_at timestamptz"
    KEYED = "PRIMARY KEY (id)"
    PLAIN = ""

    @property
    def has_stamps(self) -> bool:
        return "updated_at" in self.value

    @property
    def is_replaced(self) -> bool:
        return not self.has_stamps


# The last one does not exist at first. Rows of `clicks` that do not fit become dead letters.
TABLES: Mapping[str, Kind] = {
    "people": Kind.MERGED,
    "clicks": Kind.APPENDED,
    "prices": Kind.KEYED,
    "events": Kind.PLAIN,
    "added": Kind.MERGED,
}
WITH_LETTERS = "clicks"
# These are read in two splits.
CUT = ("people", "clicks", "events")


class Damage(enum.Enum):
    """Why a table cannot be synced."""

    UNFIT = "a value does not fit"
    COLUMN_ADDED = "it has a column more"
    COLUMN_RENAMED = "a column has another name"
    NO_RIGHT = "the user has no right to read it"

    def __repr__(self) -> str:
        return str(self)


class Trouble(enum.Enum):
    """What happens to a step of a run."""

    LOST = "the connection is lost after the rows of a split were read"
    TERMINATED = "the server ends all connections before a split"
    KILLED = "the process ends after the rows of a split were read"
    KILLED_BEFORE_MANIFEST = "the process ends when a split is staged"
    KILLED_AFTER_MANIFEST = "the process ends when a split is known to be staged"
    KILLED_AT_CALL = "the process ends after so many calls of Google's services"
    REFUSED = "a call fails"
    REFUSED_AFTER = "a call takes effect, and its answer is lost"

    def __repr__(self) -> str:
        return str(self)


READ_TROUBLES = (
    Trouble.LOST,
    Trouble.TERMINATED,
    Trouble.KILLED,
    Trouble.KILLED_BEFORE_MANIFEST,
    Trouble.KILLED_AFTER_MANIFEST,
)
PUBLISH_TROUBLES = (Trouble.KILLED_AT_CALL, Trouble.REFUSED, Trouble.REFUSED_AFTER)


@dataclass(frozen=True)
class Insert:
    table: str
    count: int = 1
    stamp: Stamp = Stamp.NOW
    transaction: int | None = None


@dataclass(frozen=True)
class Update:
    """Update one row, or all, but those that another transaction is at."""

    table: str
    row: int | None = None
    stamp: Stamp = Stamp.NOW
    transaction: int | None = None


@dataclass(frozen=True)
class Delete:
    table: str
    row: int = 0
    transaction: int | None = None


@dataclass(frozen=True)
class SetBack:
    """Stamp the rows from the future with the present."""

    table: str


@dataclass(frozen=True)
class Truncate:
    """Remove all rows; like all changes of a table not while a transaction has written to it."""

    table: str


@dataclass(frozen=True)
class Break:
    table: str
    damage: Damage
    row: int = 0


@dataclass(frozen=True)
class Mend:
    table: str


@dataclass(frozen=True)
class Create:
    """Create a table that does not exist."""

    table: str


@dataclass(frozen=True)
class Drop:
    table: str


@dataclass(frozen=True)
class DropDestination:
    """Drop a table of the destination. Whoever does that to one that Smart Sync fills has ended its runs before."""

    table: str


@dataclass(frozen=True)
class Plan:
    """Plan a run; an earlier one of this number is abandoned where it is."""

    run: int = 0
    launcher_clock: datetime = CLOCK
    has_manifests: bool = True


@dataclass(frozen=True)
class Stage:
    """Read and stage the lanes that are not staged yet; all once more if they are. With `trouble` at split `split`."""

    run: int = 0
    split: int = 0
    trouble: Trouble | None = None


@dataclass(frozen=True)
class Publish:
    """Let the publishing step run; once more if it has run before. With `trouble` at call `call`."""

    run: int = 0
    call: int = 0
    trouble: Trouble | None = None


Operation = (
    Insert
    | Update
    | Delete
    | SetBack
    | Truncate
    | Begin
    | Prepare
    | Commit
    | Rollback
    | Break
    | Mend
    | Create
    | Drop
    | DropDestination
    | Plan
    | Stage
    | Publish
)


def sync(run: int = 0) -> tuple[Operation, ...]:
    """Return the steps of a whole run."""
    return Plan(run), Stage(run), Publish(run)
