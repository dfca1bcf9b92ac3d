"""Determines the time zone of a column of type `timestamp` or `date`, which stores none."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from psycopg2.extensions import connection as Connection

from sync_pipeline.errors import SchemaError
from sync_pipeline.printable import named
from sync_pipeline.smart_sync.interval import zone_without_effect
from sync_pipeline.smart_sync.wall_clock import ZONE_GIVEN, WallClock
from sync_pipeline.sources.postgresql.column_types import SourceColumn
from sync_pipeline.sources.postgresql.connection import translated_errors

# The TimeZone that a session of this user starts with. `now()` is stored in such a column in this zone.
_ZONE_SQL = "SELECT reset_val FROM pg_settings WHERE name = 'TimeZone'"

# Other TimeZone settings of roles in this database, and of the database itself (setrole 0).
_OTHER_ZONES_SQL = """
    SELECT DISTINCT coalesce(quote_ident(r.rolname), 'the database'), split_part(setting, '=', 2)
    FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) AS setting
    WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
      AND lower(split_part(setting, '=', 1)) = 'timezone'
      AND lower(split_part(setting, '=', 2)) <> lower(%(zone)s)
    ORDER BY 1, 2
"""

# Maximum number of roles that a warning names.
_MAX_NAMED = 3


@dataclass(frozen=True)
class ServerZones:
    """The server's TimeZone settings.

    Attributes:
        own: the zone that a session of this user starts with.
        others: other zones, with the roles that use them.
    """

    own: str
    others: Sequence[tuple[str, str]]


def read_zones(connection: Connection) -> ServerZones:
    """Return the server's TimeZone settings."""
    with translated_errors(), connection.cursor() as cursor:
        cursor.execute(_ZONE_SQL)
        (zone,) = cursor.fetchone()
        cursor.execute(_OTHER_ZONES_SQL, {"zone": zone})
        return ServerZones(zone, cursor.fetchall())


def wall_clock(
    zones: Callable[[], ServerZones], column: SourceColumn, given: str | None
) -> tuple[WallClock | None, tuple[str, ...]]:
    """Return the wall clock of a timestamp column, None if the column has a time zone, and warnings for the plan.

    Args:
        zones: returns the server's settings; called only if they matter.
        given: `smart_sync_time_zone`.

    Raises:
        SchemaError: the server's TimeZone is not an IANA name, and `given` is None.
    """
    if column.type.bigquery not in ("DATETIME", "DATE"):
        return None, (zone_without_effect(column.name),) if given else ()
    shows_days = column.type.bigquery == "DATE"
    if given:
        return WallClock(given, ZONE_GIVEN, shows_days), ()
    server = zones()
    zone, others = server.own, server.others
    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise SchemaError(
            f"smart_sync_timestamp_column: {column.name} has no time zone, and {zone!r}, the server's TimeZone, is not "
            "a name of the IANA time zone database: give smart_sync_time_zone, such as Etc/GMT+5"
        ) from None
    risks: tuple[str, ...] = ()
    if others:
        roles = named([f"{role}: {other}" for role, other in others], _MAX_NAMED)
        risk = f"{column.name} has no time zone and is read as the wall clock of {zone}, but other roles use another"
        remedy = (
            "rows that they write may be missed or loaded late: give smart_sync_time_zone, and let all writers use it"
        )
        risks = (f"{risk} TimeZone ({roles}): {remedy}",)
    return WallClock(zone, "the server's TimeZone for the user", shows_days), risks
