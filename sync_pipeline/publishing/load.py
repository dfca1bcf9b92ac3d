"""Load: one load job of all files, straight into the destination."""

from __future__ import annotations

from sync_pipeline.planning.plan import WriteMode
from sync_pipeline.publishing.jobs import PUBLISH
from sync_pipeline.publishing.strategy import Published, Strategy

_DISPOSITIONS = {
    WriteMode.APPEND: "WRITE_APPEND",
    # It keeps the table's constraints, descriptions and row policies; WRITE_TRUNCATE drops them.
    WriteMode.TRUNCATE: "WRITE_TRUNCATE_DATA",
    # Rows that somebody else has written meanwhile may have the same keys; BigQuery then refuses the job.
    WriteMode.MERGE: "WRITE_EMPTY",
}


class LoadFiles(Strategy):
    """Append the files to the destination, replace all of its rows by them, or be the first to merge them."""

    def publish(self) -> Published:
        """Run the load job. Raises PublishError."""
        disposition = "WRITE_EMPTY" if self.table.fills_empty_table else _DISPOSITIONS[self.table.write_mode]
        finished = self.jobs.load(self.table.table_id, self.staged.files, disposition, PUBLISH)
        return Published.by(finished, lambda: int(finished.job.output_rows or 0))
