"""What the rows of an interval have to keep to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sync_pipeline.smart_sync.placeholders import END_PLACEHOLDER, START_PLACEHOLDER


@dataclass(frozen=True)
class TimestampBounds:
    """What every row that is read must keep to: `after` < its timestamp <= `until`.

    A row beyond `until` would move the destination's latest timestamp past rows that are still to come. One that is not
    `after` was loaded before; rows that are merged may be, and may have none, so there `after` is None.

    Attributes:
        refuses_null: a row without a timestamp is refused even where `after` is None.
    """

    column: str
    after: datetime | None
    until: datetime
    refuses_null: bool = False

    @property
    def problem(self) -> str:
        """What is said of a query that returns a row that does not."""
        return (
            f"the query returns rows whose {self.column} is NULL or outside the interval: it must select "
            f"{self.column} > '{START_PLACEHOLDER}' AND {self.column} <= '{END_PLACEHOLDER}' of the very column it "
            "returns"
        )
