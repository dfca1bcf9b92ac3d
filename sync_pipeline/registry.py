"""The registry of sources: each value of `data_source`, and the package that declares the source as `SOURCE`.

`parameters.declaration` imports the packages on demand, so this module can be below all others.
"""

from __future__ import annotations

SOURCES: dict[str, str] = {
    "postgresql": "sync_pipeline.sources.postgresql",
    "mongodb": "sync_pipeline.sources.mongodb",
    "bigquery": "sync_pipeline.sources.bigquery",
}
