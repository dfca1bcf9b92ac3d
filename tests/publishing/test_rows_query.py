from __future__ import annotations

from sync_pipeline.publishing.rows_query import script, select_sql
from sync_pipeline.schema import REPEATED, Field, Schema
from sync_pipeline.sources.source import Selection
from tests.plans import INTERVAL, USERS, plan
from tests.publishing.expected_sql import BY_TIME, KEYED, SELECT, THREE_STAGED, newest


def test_select_takes_every_column_by_name() -> None:
    assert select_sql(plan(interval=INTERVAL)) == SELECT


def test_select_parses_json() -> None:
    schema = Schema((Field("id", "INT64"), Field("document", "JSON"), Field("tags", "STRING", REPEATED)))
    assert select_sql(plan(schema=schema)).splitlines()[0] == (
        "SELECT s.`id` AS `id`, PARSE_JSON(s.`document`, wide_number_mode=>'round') AS `document`, s.`tags` AS `tags`"
    )


def test_select_keeps_the_newest_row_of_each_key() -> None:
    assert select_sql(plan(KEYED, interval=INTERVAL)) == f"{SELECT}{BY_TIME}"


def test_select_by_several_columns_without_timestamp() -> None:
    assert select_sql(plan({"primary_key": "id,name"})) == f"{SELECT}{newest('', 's.`id`, s.`name`')}"


def test_a_script_counts_the_staged_rows_first() -> None:
    assert script(plan(), 3, "A", "B").split(";\n") == [THREE_STAGED, "A", "B"]


def test_a_script_over_selected_rows_counts_none() -> None:
    selected = plan(selection=Selection("SELECT 1", USERS, "US", "p"))
    assert script(selected, 0, "A", "B") == "A;\nB"
