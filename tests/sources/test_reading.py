from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.testing import test_pipeline as beam_testing
from apache_beam.testing.util import assert_that, equal_to

from sync_pipeline.errors import RecordError
from sync_pipeline.sources import reading
from sync_pipeline.sources.reading import ReadRows, batches_and_dead_letters
from sync_pipeline.sources.source import DEAD_LETTERS, DeadLetter, ReadSplit, SplitReader, TableRead

NOT_A_NUMBER, NOT_A_DATE = "column 'n' has an invalid value", "column 'd' has an invalid value"


def rows(count: int) -> pa.Table:
    return pa.table({"n": range(count)})


def rejected(*reasons: str) -> DeadLetter:
    return DeadLetter(("n",), "\n".join(reasons), {"n": "secret"})


def outcome(*parts: pa.Table | DeadLetter, keeps: bool = False, noun: str = "rows") -> list[Any]:
    return list(batches_and_dead_letters(parts, 3, noun, keeps_dead_letters=keeps))


def refusal(parts: Sequence[pa.Table | DeadLetter], **options: Any) -> list[str]:
    with pytest.raises(RecordError) as caught:
        outcome(*parts, **options)
    return str(caught.value).splitlines()


def test_tables_are_cut_into_batches() -> None:
    assert [batch.num_rows for batch in outcome(rows(7), rows(2))] == [3, 3, 1, 2]


def test_dead_letters_that_are_kept_stay_in_their_place() -> None:
    first, letter, second = outcome(rows(2), rejected(NOT_A_DATE), rows(1), keeps=True)
    assert (first.num_rows, letter, second.num_rows) == (2, rejected(NOT_A_DATE), 1)


def test_rejected_values_are_counted_by_problem_the_most_frequent_first() -> None:
    parts = [
        rejected(NOT_A_DATE),
        rows(1),
        rejected(NOT_A_NUMBER, NOT_A_DATE),
        rejected(NOT_A_NUMBER),
        rejected(NOT_A_NUMBER),
    ]
    assert refusal(parts) == [f"{NOT_A_NUMBER} (in 3 of 5 rows)", f"{NOT_A_DATE} (in 2 of 5 rows)"]


def test_all_rows_are_counted_that_were_read() -> None:
    told = refusal([rows(10), rejected(NOT_A_DATE), rows(1989)], noun="documents")
    assert told == [f"{NOT_A_DATE} (in 1 of 2,000 documents)"]


def test_a_survey_ends_when_its_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SURVEY_SECONDS", -1.0)
    monkeypatch.setattr(reading.time, "monotonic", lambda: 1000.0)
    assert refusal([rejected(NOT_A_DATE)] * 3) == [f"{NOT_A_DATE} (in 1 of 1 rows)"]


def test_no_value_is_told() -> None:
    assert "secret" not in "".join(refusal([rejected(NOT_A_NUMBER)]))


def test_the_problems_that_are_told_are_bounded() -> None:
    told = refusal([rejected(f"field {number} has no column") for number in range(3000)])
    assert len(told) == reading.MAX_TOLD + 1
    assert told[-1] == "and more than 950 other problems"


def test_a_line_end_within_a_name_does_not_part_a_problem() -> None:
    assert refusal([rejected("column 'a\u2028b' has an invalid value")]) == [
        "column 'a\u2028b' has an invalid value (in 1 of 1 rows)".splitlines()[0],
        "b' has an invalid value (in 1 of 1 rows)",
    ]


def test_a_row_that_is_larger_than_bigquery_loads_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_ROW_BYTES", 1000)
    table = pa.table({"n": range(5), "text": ["a", "b" * 990, "c" * 1000, None, "e" * 5]})
    parts = outcome(table, keeps=True)
    letters = [part for part in parts if isinstance(part, DeadLetter)]
    assert [row["n"] for part in parts if not isinstance(part, DeadLetter) for row in part.to_pylist()] == [0, 3, 4]
    assert [(letter.columns, letter.row["n"]) for letter in letters] == [(("text",), "1"), (("text",), "2")]
    (told,) = refusal([table.slice(2)])
    assert told == (
        "the row has 1,013 bytes, 1,005 of them in column 'text', but BigQuery's limit is 1,000: exclude the column "
        "with exclude_fields, or such rows with a query (in 1 of 3 rows)"
    )


class Reader(SplitReader):
    rows = "lines"
    part = "page"

    def read(self, split: ReadSplit) -> Generator[pa.Table | DeadLetter]:
        yield rows(2)
        yield rejected(NOT_A_NUMBER)
        yield rows(3)


class ReadFromPages(ReadRows):
    pass


def test_splits_are_read_without_beam() -> None:
    read = ReadFromPages({0: TableRead(Reader(), batch_size=2, keeps_dead_letters=True)})
    parts = list(read.batches([ReadSplit(1, 2, ""), ReadSplit(2, 2, "")]))
    sizes = [0 if isinstance(part, DeadLetter) else part.num_rows for part in parts]
    assert sizes == [2, 0, 2, 1] * 2
    with pytest.raises(RecordError, match=r"\(in 1 of 6 lines\)"):
        list(ReadFromPages({0: TableRead(Reader(), batch_size=2)}).batches([ReadSplit(1, 1, "")]))


@pytest.mark.parametrize(("named", "used"), [("", "jemalloc"), ("system", "system")])
def test_a_read_allocates_by_jemalloc_unless_another_allocator_is_named(
    named: str, used: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = pa.default_memory_pool()
    if named:
        monkeypatch.setenv("ARROW_DEFAULT_MEMORY_POOL", named)
    else:
        monkeypatch.delenv("ARROW_DEFAULT_MEMORY_POOL", raising=False)
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        list(ReadFromPages({0: TableRead(Reader(), 2, keeps_dead_letters=True)}).batches([ReadSplit(1, 1, "")]))
        assert pa.default_memory_pool().backend_name == used
    finally:
        pa.set_memory_pool(before)


def test_a_split_is_counted_and_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with beam_testing.TestPipeline() as pipeline:
        splits = pipeline | beam.Create([(0, ReadSplit(2, 3, ""))])
        read = splits | ReadFromPages({0: TableRead(Reader(), batch_size=2, keeps_dead_letters=True)})
        assert_that(read[DEAD_LETTERS], equal_to([(0, rejected(NOT_A_NUMBER))]))
    counters = pipeline.result.metrics().query()["counters"]
    assert {
        f"{counter.key.metric.namespace}/{counter.key.metric.name}": counter.committed
        for counter in counters
        if "Pages" in counter.key.metric.namespace
    } == {f"{__name__}.ReadFromPages/rows_read": 6, f"{__name__}.ReadFromPages/dead_letters": 1}
    assert [line.split(",")[0] for line in caplog.messages if line.startswith("read ")] == ["read page 2 of 3: 6 rows"]
