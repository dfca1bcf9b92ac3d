"""A project's `default_time_zone`, which applies to statements that name no time zone.

https://cloud.google.com/bigquery/docs/default-configuration. The unpatched emulator supports UTC only.
"""

import contextvars
import re

from bigquery_request import bound
from local_bigquery.engine.database import cursor
from local_bigquery.jobs import query
from local_bigquery.models import JobStatistics2
from local_bigquery.sql import rules
from local_bigquery.sql.rules import datetime as datetime_rules
from sqlglot import exp

_ALTER = re.compile(
    r"(?is)^\s*ALTER\s+PROJECT\s+`?([\w-]+)`?\s+SET\s+OPTIONS\s*\(\s*`[\w-]+\.default_time_zone`\s*=\s*"
    r"(?:'([\w/+-]+)'|NULL)\s*\)\s*;?\s*$"
)
_UTC = "UTC"
_zones: dict[str, str] = {}
_zone: contextvars.ContextVar[str] = contextvars.ContextVar("zone", default=_UTC)
_CURRENT = (exp.CurrentDatetime, exp.CurrentDate, exp.CurrentTime)


def apply() -> None:
    """Patch the emulator's modules; call once, before the first request."""
    execute, to_local, from_local = query.execute, datetime_rules.to_local, datetime_rules.from_local

    def execute_in_zone(cur, project_id, job_id, config, dry_run=False, session=None):
        if match := _ALTER.match(config.query or ""):
            _set_zone(match[1], match[2], dry_run)
            return JobStatistics2(statementType="ALTER_PROJECT"), [], None
        zone = _zones.get(project_id, _UTC)
        with bound(_zone, zone):
            # DuckDB's own conversions, as in a cast, use its own setting.
            cur.execute(f"SET TimeZone = '{zone}'")
            return execute(cur, project_id, job_id, config, dry_run, session)

    def to_zone(timestamp, zone):
        return to_local(timestamp, zone or _default())

    def from_zone(local, zone):
        return from_local(local, zone or _default())

    def current_in_zone(node, _context):
        if isinstance(node, _CURRENT) and node.this is None and _default() is not None:
            node.set("this", _default())
        return node

    query.execute = execute_in_zone
    datetime_rules.to_local, datetime_rules.from_local = to_zone, from_zone
    rules.NODE_RULES.insert(0, current_in_zone)


def _set_zone(project: str, zone: str | None, dry_run: bool) -> None:
    with cursor() as cur:
        cur.execute(f"SET TimeZone = '{zone or _UTC}'")  # raises an error for an unknown zone
    if not dry_run:
        _zones[project] = zone or _UTC


def _default():
    return exp.Literal.string(_zone.get()) if _zone.get() != _UTC else None
