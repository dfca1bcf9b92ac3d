from __future__ import annotations

from sync_pipeline.publishing.staged_files import StagedFile, StagedFiles


def test_what_is_said_of_all_files() -> None:
    files = StagedFiles(
        [
            StagedFile("gs://b/1", rows=2, size=100, partitions=frozenset({"2025-01-01", None})),
            StagedFile("gs://b/2", rows=3, size=10, partitions=frozenset({"2025-01-01", "2025-01-02"})),
        ]
    )
    assert (files.rows, files.size) == (5, 110)
    assert files.partitions == {"2025-01-01", "2025-01-02", None}
    assert files.partition_groups == [files.partitions]
    assert (StagedFiles().rows, StagedFiles().partitions, StagedFiles().partition_groups) == (0, frozenset(), [])
