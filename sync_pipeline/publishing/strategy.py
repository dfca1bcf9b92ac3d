"""How a strategy publishes: `prepare` brings the rows to where one job finds them, and `publish` runs that job.

Both may run again after any prefix of themselves: each job has an id by which the next attempt finds it.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sync_pipeline.bigquery_api.job_records import changed_rows
from sync_pipeline.bigquery_api.jobs import FinishedJob
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.publishing.jobs import PUBLISH, PublishingJobs
from sync_pipeline.publishing.removal_limit import is_too_many, takes_all
from sync_pipeline.publishing.staged_files import StagedFiles
from sync_pipeline.publishing.tables import fill_staging_table


@dataclass(frozen=True)
class DeletionCounts:
    """What a run has found about rows that the source no longer has.

    Attributes:
        before: the destination's rows before the merge, without marked ones.
        existing: those after the merge.
        missing: those of them that the source no longer has.
        returned: marked rows that the source has again.
        max_percent: see `Deletions`.
    """

    before: int
    existing: int
    missing: int
    returned: int
    max_percent: int

    @property
    def is_refused(self) -> bool:
        """Whether too many rows are missing, so that none was deleted."""
        return is_too_many(self.missing, self.existing, self.before, self.max_percent)

    @property
    def shows_none(self) -> bool:
        """Whether the source has none of the rows that were there before."""
        return takes_all(self.missing, self.before)

    @property
    def deleted(self) -> int:
        """How many rows were removed or marked."""
        return 0 if self.is_refused else self.missing


@dataclass(frozen=True)
class DifferenceCounts:
    """How many rows of the destination and of the source differ. Rows without a count are equal.

    Attributes:
        source_rows: the source's rows that were compared; of those with one key, one.
        destination_rows: the destination's rows, without marked ones.
        missing, different, surplus: rows that the destination lacks, has otherwise, or has too often.
        by_column: in how many of the different rows a column differs, without those that differ nowhere.
        new_missing, new_different, new_surplus: the same, where the next run removes the difference by itself.
        later: rows that a run has loaded that read the source later.
        older: older versions of rows, in a table that is appended to.
        unjudged: rows of which nobody can tell whether they differ: their row in the source was rejected, or is outside
            the interval, or has no timestamp.
        rejected: rows of the source that were rejected, and not compared.
        is_repaired: whether the missing and different rows were corrected.
        max_percent: see `Reconciliation`.
    """

    source_rows: int
    destination_rows: int
    missing: int
    different: int
    surplus: int
    by_column: Mapping[str, int]
    new_missing: int
    new_different: int
    new_surplus: int
    later: int
    older: int
    unjudged: int
    rejected: int
    is_repaired: bool
    max_percent: int

    @property
    def found(self) -> int:
        """How many rows differed."""
        return self.missing + self.different + self.surplus

    @property
    def left(self) -> int:
        """How many rows differ after the run."""
        if not self.is_repaired:
            return self.found
        return self.surplus if self.is_refused else 0

    @property
    def is_refused(self) -> bool:
        """Whether a repair removed no surplus row, because there were too many."""
        rows = self.destination_rows
        return self.is_repaired and is_too_many(self.surplus, rows, rows, self.max_percent)

    @property
    def new(self) -> int:
        """How many rows differ until the next run."""
        return self.new_missing + self.new_different + self.new_surplus


@dataclass(frozen=True)
class Published:
    """What a strategy has published.

    Attributes:
        job: the job that published, of this run or of another; None where there was nothing to publish.
        rows: how many rows this run's job added or updated.
        deletions: what this run's job has found about deleted rows; None if it did not look for them.
        differences: what a comparison has found; None for a run that loads rows.
    """

    job: FinishedJob | None
    rows: int = 0
    deletions: DeletionCounts | None = None
    differences: DifferenceCounts | None = None

    @classmethod
    def by(cls, job: FinishedJob, count: Callable[[], int]) -> Published:
        """Return what `job` published; `count` is asked only if the job is this run's. Raises what `count` raises."""
        return cls(job, count() if job.is_ours else 0)

    @property
    def is_skipped(self) -> bool:
        """Whether another run has loaded the interval."""
        return self.job is not None and not self.job.is_ours


@dataclass(frozen=True)
class Strategy(abc.ABC):
    """Publishes the rows of a run: those in `staged`, or those of the table's selection."""

    jobs: PublishingJobs
    staged: StagedFiles

    @property
    def table(self) -> TableSync:
        return self.jobs.table

    @property
    def temporary_table_ids(self) -> tuple[str, ...]:
        """The tables that publishing may create beside the destination, in this attempt or in another."""
        return ()

    def prepare(self) -> None:
        """Bring the rows to where the publishing job finds them; files are there already. Raises PublishError."""
        return

    @abc.abstractmethod
    def publish(self) -> Published:
        """Change the destination in one step, and return what was published. Raises PublishError."""


class QueryStrategy(Strategy):
    """Publishes by a query, from a staging table or straight from a source in BigQuery."""

    @property
    def temporary_table_ids(self) -> tuple[str, ...]:
        return self.table.temporary_table_ids

    def prepare(self) -> None:
        """Load the files, if there are any, into the staging table. Raises PublishError."""
        if self.table.selection is None:
            fill_staging_table(self.jobs, self.staged)


class DmlStrategy(QueryStrategy):
    """Publishes by the DML statements of one query job."""

    @abc.abstractmethod
    def sql(self) -> str:
        """Return the statements, which change the destination all together or not at all."""

    def publish(self) -> Published:
        """Run the statements. Raises PublishError."""
        finished = self.jobs.query(self.sql(), PUBLISH)
        return Published.by(finished, lambda: changed_rows(self.jobs.client, finished.job))


class KeepTable(Strategy):
    """Leaves the table unchanged, because there are no rows."""

    def publish(self) -> Published:
        """Do nothing."""
        return Published(None)
