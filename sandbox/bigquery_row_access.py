"""Row access policies in the BigQuery emulator; runs in the emulator's own environment.

The emulator hides rows from callers without a policy for them. This patch also reports it in the statistics of the
query's job, as BigQuery does; a program can learn it only there.
"""

from local_bigquery.catalog import row_access
from local_bigquery.jobs import runner


def apply() -> None:
    """Patch the emulator's modules; call once, before the first request."""
    done = runner._done

    def done_with_row_security(job, statistics, error=None):
        tables = (statistics.query and statistics.query.referencedTables) or []
        secured = row_access.secured()
        if any((table.projectId, table.datasetId, table.tableId) in secured for table in tables):
            statistics = statistics.replace(rowLevelSecurityStatistics={"rowLevelSecurityApplied": True})
        return done(job, statistics, error)

    runner._done = done_with_row_security
