"""What planning asks a source, one question at a time."""

from __future__ import annotations

from sync_pipeline.schema import Schema
from sync_pipeline.smart_sync.interval import SyncInterval
from sync_pipeline.sources.source import ReadPlan, Source, SourceClock, SourceDescription


def clock_of(source: Source) -> SourceClock:
    with source.connect() as session:
        return session.clock


def described(source: Source, interval: SyncInterval | None = None) -> SourceDescription:
    with source.connect() as session:
        return session.describe(interval)


def read_planned(source: Source, interval: SyncInterval | None = None, schema: Schema | None = None) -> ReadPlan:
    """Return how the columns of `schema` are read, or else all that the source describes."""
    with source.connect() as session:
        return session.plan_read(schema or session.describe(interval).schema, interval)
