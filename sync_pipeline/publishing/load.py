"""Load: one load job of all files, straight into the destination."""

from __future__ import annotations

from sync_pipeline.planning.plan import WriteMode
from sync_pipeline.publishing.jobs import PUBLISH
from sync_pipeline.publishing.strategy import Published, Strategy


class LoadFiles(Strategy):
    """Append the files to the destination, or replace all of its rows by them."""

    def publish(self) -> Published:
        """Run the load job. Raises PublishError."""
        # TRUNCATE_DATA keeps the table's constraints, descriptions and row policies; TRUNCATE drops them.
        is_refilled = self.table.write_mode is WriteMode.TRUNCATE
        disposition = "WRITE_TRUNCATE_DATA" if is_refilled else "WRITE_APPEND"
        finished = self.jobs.load(self.table.table_id, self.staged.files, disposition, PUBLISH)
        return Published.by(finished, lambda: int(finished.job.output_rows or 0))
