"""The schedule of a launch file, for Cloud Scheduler."""

from __future__ import annotations

import re
import zoneinfo
from dataclasses import dataclass
from typing import Any

from sync_pipeline.suggestions import did_you_mean

DEFAULT_TIME_ZONE = "UTC"
DEFAULT_RETRIES = 3

_KEYS = ("cron", "time_zone", "service_account", "name", "location", "description", "retries")
_SERVICE_ACCOUNT = re.compile(r"[^@\s]+@[^@\s]+\.gserviceaccount\.com")
_NAME = re.compile("[A-Za-z0-9_-]{1,500}")

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
# The five fields of unix-cron: name, smallest and largest number, names of the values.
# https://cloud.google.com/scheduler/docs/configuring/cron-job-schedules
_CRON_FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 7, _DAYS),
)
# Directories with other copies of the tz database on Linux, which Cloud Scheduler does not know.
_NOT_REGIONS = ("posix", "right")
_MEANT = {
    "EST": "America/New_York",
    "EST5EDT": "America/New_York",
    "CST6CDT": "America/Chicago",
    "MST": "America/Denver",
    "MST7MDT": "America/Denver",
    "PST8PDT": "America/Los_Angeles",
    "CET": "Europe/Paris",
    "MET": "Europe/Paris",
    "EET": "Europe/Athens",
    "WET": "Europe/Lisbon",
    "GB": "Europe/London",
    "GMT": "Europe/London",
    "HST": "Pacific/Honolulu",
}
_CRON_PART = re.compile(r"(?:\*|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>\d+))?")


@dataclass(frozen=True)
class Schedule:
    """A job of Cloud Scheduler.

    Attributes:
        cron: five fields, in the local time of `time_zone`.
        service_account: the account that launches the job. It needs roles/dataflow.developer, and
            roles/iam.serviceAccountUser on the job's own account.
        retries: how often Cloud Scheduler retries a rejected launch.
    """

    name: str
    cron: str
    time_zone: str
    service_account: str
    location: str
    description: str
    retries: int


def read_schedule(given: Any, job_name: str, region: str) -> tuple[Schedule | None, list[str]]:
    """Return the schedule of a launch file, and a sentence for each error in it."""
    if not isinstance(given, dict):
        return None, ["schedule is not a mapping: give it cron, time_zone and service_account"]
    problems = [f"schedule.{key} is not known{did_you_mean(key, _KEYS)}" for key in map(str, given) if key not in _KEYS]
    texts = {key: str(given.get(key) or "").strip() for key in _KEYS}
    if not texts["cron"]:
        problems.append('schedule.cron is missing: give five fields, such as "0 */2 * * *" for every two hours')
    else:
        problems += _cron_problems(texts["cron"])
    time_zone = texts["time_zone"] or DEFAULT_TIME_ZONE
    if (problem := _time_zone_problem(time_zone)) is not None:
        problems.append(f"schedule.time_zone is {time_zone!r}: {problem}")
    if not _SERVICE_ACCOUNT.fullmatch(texts["service_account"]):
        shown = f"is {texts['service_account']!r}" if texts["service_account"] else "is missing"
        problems.append(
            f"schedule.service_account {shown}: Dataflow accepts a launch only from an authenticated caller; give the "
            "address of a service account, NAME@PROJECT.iam.gserviceaccount.com"
        )
    name = texts["name"] or job_name
    if not _NAME.fullmatch(name):
        problems.append(f"schedule.name is {name!r}: only letters, digits, hyphens and underscores are allowed")
    retries = given.get("retries", DEFAULT_RETRIES)
    if isinstance(retries, bool) or not isinstance(retries, int) or not 0 <= retries <= 5:
        problems.append(f"schedule.retries is {retries!r}: give a whole number from 0 to 5")
        retries = DEFAULT_RETRIES
    location = texts["location"] or region
    schedule = Schedule(
        name, texts["cron"], time_zone, texts["service_account"], location, texts["description"], retries
    )
    return schedule, problems


def _time_zone_problem(name: str) -> str | None:
    """Return the problem with a time zone, or None. Cloud Scheduler accepts every name of the tz database.

    The database also has names without a region, such as EST. Some of them never observe daylight saving time, which
    their users rarely expect, so they are rejected.
    """
    advice = "give a region's name such as Europe/Berlin, or UTC"
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return advice
    if name == "UTC":
        return None
    area, slash, _ = name.partition("/")
    if not slash or area in _NOT_REGIONS:
        meant = f", {_MEANT[name]} for example" if name in _MEANT else ""
        return f"an abbreviation may not follow daylight saving time; {advice}{meant}"
    return None


def _cron_problems(cron: str) -> list[str]:
    fields = cron.split()
    if len(fields) != len(_CRON_FIELDS):
        return [f"schedule.cron is {cron!r}: it needs five fields, minute hour day-of-month month day-of-week"]
    return [
        f"schedule.cron is {cron!r}: {field!r} is not a {name}, from {least} to {most}"
        for field, (name, least, most, names) in zip(fields, _CRON_FIELDS, strict=True)
        if not all(_is_cron_part(part, least, most, names) for part in field.split(","))
    ]


def _is_cron_part(part: str, least: int, most: int, names: tuple[str, ...]) -> bool:
    match = _CRON_PART.fullmatch(part)
    if match is None or match["step"] == "0":
        return False
    numbers = []
    for bound in (match["first"], match["last"]):
        if bound is None:
            continue
        if bound.upper() in names:
            numbers.append(names.index(bound.upper()) + least)
        elif bound.isdecimal():
            numbers.append(int(bound))
        else:
            return False
    return all(least <= number <= most for number in numbers) and numbers == sorted(numbers)
