from __future__ import annotations

from sync_pipeline.bigquery_api.jobs import FinishedJob
from sync_pipeline.publishing.strategy import Published


def test_rows_of_this_runs_job_are_counted() -> None:
    published = Published.by(FinishedJob("job"), lambda: 3)
    assert (published.rows, published.is_skipped) == (3, False)


def test_rows_of_another_runs_job_are_not() -> None:
    def count() -> int:
        raise AssertionError("they are not this run's")

    published = Published.by(FinishedJob("job", is_ours=False), count)
    assert (published.rows, published.is_skipped) == (0, True)


def test_where_there_is_nothing_to_publish_there_is_no_job() -> None:
    assert not Published(None).is_skipped
