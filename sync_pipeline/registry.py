"""The sources there are: each value of `data_source`, and the package that declares the source as `SOURCE`.

The packages are imported when they are needed (`parameters.declaration`): this module is below all others.
"""

from __future__ import annotations

SOURCES: dict[str, str] = {
    "postgresql": "sync_pipeline.sources.postgresql",
    "mongodb": "sync_pipeline.sources.mongodb",
    "bigquery": "sync_pipeline.sources.bigquery",
}
