"""The sources there are."""

from __future__ import annotations

POSTGRESQL, MONGODB, BIGQUERY = "postgresql", "mongodb", "bigquery"
