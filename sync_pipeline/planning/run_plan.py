"""`RunPlan`: the plan of a run, with that of each of its tables. Workers only carry it out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from sync_pipeline.errors import ConfigError, SyncError
from sync_pipeline.planning.plan import Run, TableSync


@dataclass(frozen=True)
class FailedTable:
    """A table that could not be planned. The run syncs the others, and then fails with the error.

    Attributes:
        name: the name of the table at the source.
    """

    name: str
    error: SyncError


@dataclass(frozen=True)
class RunPlan:
    """The plan of a run, decided at launch.

    Attributes:
        tables: at least one; the number of each is its index.
        failed: the tables that could not be planned; empty for a run of one sync, which then has no plan.
        notes, risks: sentences and warnings about the run; those about a table are the table's.

    Raises:
        ConfigError: two tables have the same destination.
    """

    run: Run
    tables: tuple[TableSync, ...]
    failed: tuple[FailedTable, ...] = ()
    notes: tuple[str, ...] = ()
    risks: tuple[str, ...] = ()

    @property
    def has_several_tables(self) -> bool:
        """Whether the run is about several tables, with those that could not be planned."""
        return len(self.tables) + len(self.failed) > 1

    def __post_init__(self) -> None:
        if [table.number for table in self.tables] != list(range(len(self.tables))):
            raise ValueError("the number of a table must be its index in the plan")
        # Two tables with one destination would share the publishing job's id, so only one would publish.
        counts = Counter(table.destination_identity for table in self.tables)
        repeated = [table_id for table_id, count in counts.items() if count > 1]
        if repeated:
            raise ConfigError([f"{table_id} is the destination of more than one table" for table_id in repeated])
