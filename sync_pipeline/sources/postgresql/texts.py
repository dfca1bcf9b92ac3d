"""PostgreSQL's text format of values."""

from __future__ import annotations

from functools import partial

from sync_pipeline.sources.checked_text import TextForm
from sync_pipeline.transforms.json_texts import Origin
from sync_pipeline.transforms.rejected_values import LIMITS, null_value

POSTGRESQL_TEXTS = TextForm(
    limits={
        "DATE": f"{LIMITS['DATE']} and no infinity",
        "DATETIME": f"{LIMITS['DATETIME']}, no infinity and no offset",
        "TIMESTAMP": f"{LIMITS['TIMESTAMP']} and no infinity, and its text needs an offset from UTC",
    },
    json_origins={"json": Origin.JSON, "jsonb": Origin.NORMALIZED, "hstore": Origin.JSON},
    null_reason=partial(
        null_value,
        remedy="Correct the rows or the query (an outer join produces such rows), omit source_table_for_schema",
        also="NOT NULL in source_table_for_schema, ",
    ),
)
