from __future__ import annotations

import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.publishing import parquet_file
from sync_pipeline.publishing.parquet_file import ParquetFile
from sync_pipeline.publishing.staging_target import StagingTarget
from sync_pipeline.schema import Field, Schema

IDS = Schema((Field("id", "INT64"),))


def ids(*values: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"id": values}, schema=IDS.arrow)


def test_a_row_group_is_written_while_the_next_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_file, "ROW_GROUP_BYTES", 1)
    may_write = threading.Event()
    write = ParquetFile._write_row_group

    def wait_and_write(file: ParquetFile, rows: pa.Table) -> int:
        assert may_write.wait(timeout=30)
        return write(file, rows)

    monkeypatch.setattr(ParquetFile, "_write_row_group", wait_and_write)
    file = ParquetFile(StagingTarget(f"{tmp_path}/", IDS, TableLayout()))
    file.add(ids(1, 2))
    assert file.size == 0
    may_write.set()
    file.add(ids(3))
    assert file.size > 0
    staged = file.close()
    assert pyarrow.parquet.read_table(staged.uri).column("id").to_pylist() == [1, 2, 3]
    assert staged.rows == 3
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("parquet")]
