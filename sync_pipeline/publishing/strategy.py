"""The shape of a way to publish: `prepare` brings the rows to where one job finds them, and `publish` runs that job.

Both may run again after any prefix of themselves: each job has an id by which the next attempt finds it.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass

from sync_pipeline.bigquery_api.jobs import FinishedJob
from sync_pipeline.planning.plan import TableSync
from sync_pipeline.publishing.jobs import PublishingJobs
from sync_pipeline.publishing.staged_files import StagedFiles
from sync_pipeline.publishing.tables import fill_staging_table


@dataclass(frozen=True)
class Published:
    """What a way to publish has done.

    Attributes:
        job: the job that published, of this run or of another; None where there was nothing to publish.
        rows: how many rows this run's job added or updated.
    """

    job: FinishedJob | None
    rows: int = 0

    @classmethod
    def by(cls, job: FinishedJob, count: Callable[[], int]) -> Published:
        """Return what `job` published; `count` is asked only if the job is this run's. Raises what `count` raises."""
        return cls(job, count() if job.is_ours else 0)

    @property
    def is_skipped(self) -> bool:
        """Another run has published the interval."""
        return self.job is not None and not self.job.is_ours


@dataclass(frozen=True)
class Strategy(abc.ABC):
    """A way to publish the rows of a run: those in `staged`, or those that the plan's selection selects."""

    jobs: PublishingJobs
    staged: StagedFiles

    @property
    def plan(self) -> TableSync:
        return self.jobs.plan

    def prepare(self) -> None:
        """Bring the rows to where the job that publishes finds them. Raises PublishError.

        Files lie there already.
        """
        return

    @abc.abstractmethod
    def publish(self) -> Published:
        """Change the destination, all at once. Raises PublishError."""


class QueryStrategy(Strategy):
    """A way to publish by a query, from a staging table or straight from a source in BigQuery."""

    def prepare(self) -> None:
        """Load the files into the staging table; none are where BigQuery selects the rows. Raises PublishError."""
        if self.plan.selection is None:
            fill_staging_table(self.jobs, self.staged)


class KeepTable(Strategy):
    """There are no rows: the table stays as it is."""

    def publish(self) -> Published:
        """Do nothing."""
        return Published(None)
