"""The key that rows are merged by, where none is given."""

from __future__ import annotations

import pytest

from sync_pipeline.errors import SchemaError
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.planning.key import ChosenKey, choose_key
from sync_pipeline.schema import Field, Schema
from sync_pipeline.sources.source import SourceDescription
from sync_pipeline.transforms.batches import read_schema
from tests.parameter_sets import MONGODB

SEEN = Schema((Field("_id", "STRING"), Field("n", "JSON")))


def config(transformation: str = "{}", **parameters: str) -> SyncConfig:
    return SyncConfig.from_parameters(MONGODB | {"transformation_config": transformation} | parameters)


def chosen(config: SyncConfig) -> ChosenKey:
    description = SourceDescription(SEEN, default_primary_key=("_id",), has_dynamic_schema=True)
    return choose_key(config, description, read_schema(SEEN, config.transformation, has_dynamic_schema=True))


def test_rows_are_merged_by_their_key() -> None:
    key = chosen(config(enable_smart_sync="true"))
    assert key.columns == ("_id",)
    assert key.notes[0].startswith("merged by _id")


def test_a_key_that_is_given_counts() -> None:
    assert chosen(config(enable_smart_sync="true", primary_key="n")) == ChosenKey(("n",))


def test_without_smart_sync_nothing_is_merged() -> None:
    assert chosen(config()) == ChosenKey(())


@pytest.mark.parametrize(
    "parameters",
    [{"smart_sync_lookback_seconds": "5"}, {"smart_sync_null_timestamps": "include"}],
    ids=lambda p: next(iter(p)),
)
def test_rows_without_their_key_are_not_read_twice(parameters: dict[str, str]) -> None:
    smart = config('{"exclude_fields": ["_id"]}', enable_smart_sync="true", **parameters)
    with pytest.raises(SchemaError, match="reads rows again, and without _id, which is excluded"):
        chosen(smart)
