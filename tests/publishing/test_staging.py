from __future__ import annotations

import logging
import threading
from datetime import UTC, date, datetime
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet
import pytest
from apache_beam.testing import test_pipeline
from apache_beam.testing.util import assert_that

from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.errors import SchemaError, SourceQueryError
from sync_pipeline.publishing import parquet_file, staging
from sync_pipeline.publishing.staged_files import StagedFile
from sync_pipeline.publishing.staging import WriteParquetFn, WriteStagedFiles, write_batches
from sync_pipeline.publishing.staging_target import StagingTarget
from sync_pipeline.schema import REPEATED, REQUIRED, Field, Schema
from sync_pipeline.smart_sync.bounds import TimestampBounds
from tests.plans import moment

SCHEMA = Schema(
    (
        Field("id", "INT64", REQUIRED),
        Field("day", "DATE"),
        Field("at", "TIMESTAMP"),
        Field("local", "DATETIME"),
        Field("price", "NUMERIC"),
        Field("tags", "STRING", REPEATED),
        Field("text", "STRING"),
    )
)


# All rows of `batch` lie before.
BOUNDS = TimestampBounds("at", moment("2025-07-22 13:00"), moment("2025-07-22 15:00"))


def batch(*ids: int, text: str = "") -> pa.RecordBatch:
    rows = [
        {
            "id": number,
            "day": date(2025, 1, 1 + number % 3),
            "at": datetime(1, 1, 1, tzinfo=UTC),
            "local": datetime(9999, 12, 31, 23, 59, 59, 999999),  # noqa: DTZ001
            "tags": ["a", ""] if number % 2 else None,
            "text": text,
        }
        for number in ids
    ]
    return pa.RecordBatch.from_pylist(rows, schema=SCHEMA.arrow)


def folder(tmp_path: Path) -> str:
    return f"{tmp_path}/"


# A file that is given up is not closed: nobody names it.
ABANDONS = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")


def ids_in(file: StagedFile) -> list[int]:
    return pyarrow.parquet.read_table(file.uri).column("id").to_pylist()


def test_one_bundle_is_one_file(tmp_path: Path) -> None:
    (file,) = write_batches(
        [batch(1, 2), batch(3), batch()], StagingTarget(folder(tmp_path), SCHEMA, TableLayout("day"))
    )
    assert file == StagedFile(
        file.uri,
        rows=3,
        size=Path(file.uri).stat().st_size,
        partitions=frozenset({"2025-01-01", "2025-01-02", "2025-01-03"}),
    )
    assert pyarrow.parquet.read_table(file.uri).equals(pa.Table.from_batches([batch(1, 2, 3)]))
    assert list(tmp_path.iterdir()) == [Path(file.uri)]


def test_the_form_of_a_file(tmp_path: Path) -> None:
    (file,) = write_batches([batch(1, 2)], StagingTarget(folder(tmp_path), SCHEMA, TableLayout()))
    opened = pyarrow.parquet.ParquetFile(file.uri)
    columns = [opened.schema.column(number) for number in range(len(opened.schema))]
    assert [(each.path, each.physical_type, str(each.logical_type)) for each in columns] == [
        ("id", "INT64", "None"),
        ("day", "INT32", "Date"),
        (
            "at",
            "INT64",
            (
                "Timestamp(isAdjustedToUTC=true, timeUnit=microseconds, is_from_converted_type=false, "
                "force_set_converted_type=false)"
            ),
        ),
        (
            "local",
            "INT64",
            (
                "Timestamp(isAdjustedToUTC=false, timeUnit=microseconds, is_from_converted_type=false, "
                "force_set_converted_type=false)"
            ),
        ),
        ("price", "FIXED_LEN_BYTE_ARRAY", "Decimal(precision=38, scale=9)"),
        ("tags.list.element", "BYTE_ARRAY", "String"),
        ("text", "BYTE_ARRAY", "String"),
    ]
    # 1: the value may be NULL; an array's element may be, and is in a list that may be.
    assert [each.max_definition_level for each in columns] == [1, 1, 1, 1, 1, 3, 1]
    assert opened.metadata.row_group(0).column(0).compression == "ZSTD"


def test_batches_become_row_groups_by_their_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_file, "ROW_GROUP_BYTES", 2 * batch(1).nbytes)
    target = StagingTarget(folder(tmp_path), SCHEMA, TableLayout())
    (file,) = write_batches((batch(number) for number in (1, 3, 5, 7, 9)), target)
    metadata = pyarrow.parquet.ParquetFile(file.uri).metadata
    assert [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)] == [2, 2, 1]
    assert (file.rows, ids_in(file)) == (5, [1, 3, 5, 7, 9])


def test_a_row_group_has_all_rows_that_wait(tmp_path: Path) -> None:
    # pyarrow cuts at a million rows unless it is told not to.
    schema = Schema((Field("id", "INT64"),))
    rows = pa.RecordBatch.from_pydict({"id": pa.array(range(1_100_000), pa.int64())}, schema=schema.arrow)
    (file,) = write_batches([rows], StagingTarget(folder(tmp_path), schema, TableLayout()))
    assert pyarrow.parquet.ParquetFile(file.uri).metadata.num_row_groups == 1


def test_a_large_file_is_closed_and_another_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_file, "ROW_GROUP_BYTES", 1)
    monkeypatch.setattr(staging, "FILE_BYTES", 1)
    target = StagingTarget(folder(tmp_path), SCHEMA, TableLayout("day"))
    files = write_batches([batch(1, 2), batch(3), batch(4, 5)], target)
    assert [(ids_in(file), file.rows) for file in files] == [([1, 2, 3], 3), ([4, 5], 2)]
    assert [file.partitions for file in files] == [
        {"2025-01-01", "2025-01-02", "2025-01-03"},
        {"2025-01-02", "2025-01-03"},
    ]
    assert {Path(file.uri) for file in files} == set(tmp_path.iterdir())


def test_a_bundle_without_batches_writes_nothing(tmp_path: Path) -> None:
    assert write_batches([], StagingTarget(folder(tmp_path), SCHEMA, TableLayout())) == []
    assert list(tmp_path.iterdir()) == []


@ABANDONS
def test_a_bundle_that_failed_leaves_nothing_to_the_next(tmp_path: Path) -> None:
    write = WriteParquetFn(StagingTarget(folder(tmp_path), SCHEMA, TableLayout()))
    write.start_bundle()
    list(write.process(batch(1)))
    write.start_bundle()
    list(write.process(batch(2)))
    (value,) = write.finish_bundle()
    assert ids_in(value.value) == [2]


@ABANDONS
def test_rows_outside_the_bounds_are_refused_before_they_are_written(tmp_path: Path) -> None:
    target = StagingTarget(folder(tmp_path), SCHEMA, TableLayout(), BOUNDS)
    with pytest.raises(SourceQueryError, match=r"^the query returns rows whose at is NULL or outside the interval"):
        write_batches([batch(1)], target)


@ABANDONS
def test_too_many_partitions_are_refused_before_they_are_written(
    tmp_path: Path,
) -> None:
    target = StagingTarget(folder(tmp_path), SCHEMA, TableLayout("day"), max_partitions=2)
    assert write_batches([batch(1, 2)], target)
    with pytest.raises(SchemaError, match=r"^the rows belong to more than 2 partitions of day by DAY"):
        write_batches([batch(1, 2, 3)], target)


@pytest.mark.parametrize("is_dead_letters", [False, True])
def test_write_staged_files(tmp_path: Path, is_dead_letters: bool) -> None:
    target = StagingTarget(folder(tmp_path), SCHEMA, TableLayout(), is_dead_letters=is_dead_letters)

    def check(staged: list[tuple[int, StagedFile]]) -> None:
        files = [file for _, file in staged]
        assert {number for number, _ in staged} == {3}
        assert sorted(number for file in files for number in ids_in(file)) == [1, 2, 3]
        assert all(file.is_dead_letters is is_dead_letters for file in files)

    with test_pipeline.TestPipeline() as pipeline:
        files = pipeline | beam.Create([(3, batch(1, 2)), (3, batch(3))]) | WriteStagedFiles({3: target})
        assert_that(files, check)
    counters = {result.key.metric.name: result.committed for result in pipeline.result.metrics().query()["counters"]}
    assert counters["dead_letters_staged" if is_dead_letters else "rows_staged"] == 3
    assert counters["bytes_staged"] == sum(path.stat().st_size for path in tmp_path.iterdir())


def test_a_staged_file_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sync_pipeline")
    (file,) = write_batches([batch(*range(1234))], StagingTarget(folder(tmp_path), SCHEMA, TableLayout()))
    assert caplog.messages == [f"staged 1,234 rows, 0.0 MiB: {file.uri}"]


@ABANDONS
def test_what_a_row_group_meets_ends_the_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_file, "ROW_GROUP_BYTES", 1)
    write = WriteParquetFn(StagingTarget(folder(tmp_path), SCHEMA, TableLayout(), BOUNDS))
    write.start_bundle()
    # Its row lies outside the bounds, which is found out beside.
    assert list(write.process(batch(1))) == []
    with pytest.raises(SourceQueryError):
        list(write.process(batch(2)))
    write.teardown()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("parquet")]
