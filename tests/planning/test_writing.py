from __future__ import annotations

from dataclasses import replace

import pytest

from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.planning.columns import plan_columns
from sync_pipeline.planning.plan import WriteMode
from sync_pipeline.planning.writing import write_mode
from sync_pipeline.sources.source import SourceDescription
from tests.planning.test_columns import TABLE, destination
from tests.plans import PARAMETERS, USERS

KEY = {"primary_key": "id"}
TRUNCATE = {"write_disposition": "WRITE_TRUNCATE"}


@pytest.mark.parametrize(
    ("parameters", "is_replaced", "expected"),
    [
        pytest.param({}, False, WriteMode.APPEND, id="append"),
        pytest.param(KEY, False, WriteMode.MERGE, id="merge"),
        pytest.param(TRUNCATE, False, WriteMode.TRUNCATE, id="truncate"),
        pytest.param(KEY, True, WriteMode.REPLACE, id="another table"),
    ],
)
def test_write_mode(parameters: dict[str, str], is_replaced: bool, expected: WriteMode) -> None:
    config = SyncConfig.from_parameters(PARAMETERS | parameters)
    there = replace(destination(TABLE), is_replaced=is_replaced)
    assert write_mode(config, plan_columns(config, SourceDescription(USERS), there), there) is expected
