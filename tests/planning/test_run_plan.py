from __future__ import annotations

import pytest

from sync_pipeline.errors import ConfigError
from tests.plans import plan, run_plan


def test_two_tables_of_a_run_have_different_destinations() -> None:
    other = {"destination_bigquery_table": "Users"}
    assert len(run_plan(plan(), plan(other)).tables) == 2
    with pytest.raises(ConfigError, match=r"^my-project.production.users is the destination of more than one table$"):
        run_plan(plan(ignores_case=True), plan(other, ignores_case=True))
