"""What passes between the steps."""

import pickle
from datetime import UTC, datetime, timedelta

import apache_beam as beam
import pyarrow as pa
import pytest

from sync_pipeline.parameters.transformation_config import TransformationConfig
from sync_pipeline.smart_sync.wall_clock import WallClock
from sync_pipeline.sources.source import BATCHES, DEAD_LETTERS, RecordBatchCoder, SourceClock, TableRead
from sync_pipeline.transforms.batches import ApplyTransformation, Transformation
from tests.integration.postgresql_reading import rows_of
from tests.plans import USERS, plan

BATCH = pa.RecordBatch.from_pydict({"id": [1, None], "tags": [["a"], []]})


@pytest.mark.parametrize(
    "batch",
    [
        pytest.param(BATCH, id="rows"),
        pytest.param(BATCH.slice(1), id="part of another"),
        pytest.param(BATCH.slice(0, 0), id="no rows"),
    ],
)
def test_batches_survive_encoding(batch: pa.RecordBatch) -> None:
    coder = pickle.loads(pickle.dumps(RecordBatchCoder()))
    decoded = coder.decode(coder.encode(batch))
    assert decoded.schema.equals(batch.schema)
    assert rows_of(decoded) == rows_of(batch)


def test_weighing_a_batch_does_not_encode_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RecordBatchCoder, "encode", lambda *_: pytest.fail("encoded"))
    assert RecordBatchCoder().get_impl().estimate_size(BATCH) == BATCH.nbytes


def test_the_steps_between_source_and_files_use_the_coder() -> None:
    from sync_pipeline.sources import open_source

    source = open_source(plan().config)
    pipeline = beam.Pipeline(runner="FnApiRunner")
    rows = pipeline | beam.Create([1]) | source.transform({0: TableRead(source.reader(USERS), 1)})
    batches = rows[BATCHES] | ApplyTransformation({0: Transformation(TransformationConfig(), USERS, None)})
    for step in (rows[BATCHES], batches):
        _, coder = beam.coders.registry.get_coder(step.element_type).coders()
        assert isinstance(coder, RecordBatchCoder)
    assert not hasattr(beam.coders.registry.get_coder(rows[DEAD_LETTERS].element_type), "coders")


def test_a_clock_as_a_wall_clock_shows_it() -> None:
    noon = datetime(2025, 7, 22, 12, tzinfo=UTC)
    clock = SourceClock(noon, noon - timedelta(seconds=1), transport="TLS", risks=("late",))
    assert clock.as_shown_by(None) is clock
    new_york = WallClock("America/New_York")
    shown = clock.as_shown_by(new_york)
    assert (shown.now, shown.upper_bound) == (noon - timedelta(hours=4), noon - timedelta(hours=4, seconds=1))
    assert (shown.wall_clock, shown.transport, shown.risks) == (new_york, "TLS", ("late",))
