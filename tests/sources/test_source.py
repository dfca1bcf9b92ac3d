"""What passes between the steps."""

import pickle

import apache_beam as beam
import pyarrow as pa
import pytest

from sync_pipeline.parameters.transformation_config import TransformationConfig
from sync_pipeline.sources.source import BATCHES, DEAD_LETTERS, RecordBatchCoder
from sync_pipeline.transforms.batches import ApplyTransformation
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

    pipeline = beam.Pipeline(runner="FnApiRunner")
    rows = pipeline | beam.Create([1]) | open_source(plan().config).read(USERS)
    batches = rows[BATCHES] | ApplyTransformation(TransformationConfig(), USERS)
    for step in (rows[BATCHES], batches):
        assert isinstance(beam.coders.registry.get_coder(step.element_type), RecordBatchCoder)
    assert not isinstance(beam.coders.registry.get_coder(rows[DEAD_LETTERS].element_type), RecordBatchCoder)
