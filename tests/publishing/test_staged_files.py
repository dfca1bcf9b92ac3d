from __future__ import annotations

from pathlib import Path

from sync_pipeline.publishing.staged_files import StagedFile, StagedFiles, delete_staged_files


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


def test_delete_staged_files(tmp_path: Path) -> None:
    (tmp_path / "run" / "deep").mkdir(parents=True)
    for name in ("run/a.parquet", "run/deep/b.parquet", "other.parquet"):
        (tmp_path / name).touch()
    delete_staged_files(f"{tmp_path}/run/")
    assert [path.name for path in tmp_path.rglob("*.parquet")] == ["other.parquet"]
    delete_staged_files(f"{tmp_path}/run/")
    delete_staged_files(f"{tmp_path}/never/")
