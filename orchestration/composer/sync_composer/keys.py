"""The keys of the manifests. Their checks and their JSON Schema are made from the same rows."""

from __future__ import annotations

import datetime
import difflib
import re
import zoneinfo
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

NAME = "[a-z][a-z0-9_-]{0,62}"
# The smallest and largest number of minute, hour, day, month and weekday.
_CRON_FIELDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_CRON_NAMES = {
    12: ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"),
    7: ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"),
}
_CRON_PART = re.compile(r"(\*|(\w+)(-(\w+))?)(/([1-9]\d*))?")


@dataclass(frozen=True)
class Key:
    """One key of a manifest.

    Attributes:
        schema: the JSON Schema of its value.
        accepts: whether a value is right; the keys of a section are checked by `section` instead.
        remedy: what to write instead; the end of an error.
        section: the keys of a mapping. A mapping with names of the user's own has them under "*".
    """

    name: str
    help: str
    remedy: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    accepts: Callable[[Any], bool] = lambda value: isinstance(value, str)
    required: bool = False
    section: tuple[Key, ...] = ()

    def problems(self, value: Any, path: str) -> Iterator[str]:
        """Yield a sentence for each mistake in the value: the key, what is wrong with it, and the remedy."""
        if not self.section:
            if not self.accepts(value):
                yield f"{path} is {_shown(value)}: {self.remedy}"
        elif not isinstance(value, dict):
            yield f"{path} is not a mapping: {self.remedy}"
        else:
            yield from problems_of(value, self.section, path)


def problems_of(content: Mapping[Any, Any], keys: tuple[Key, ...], path: str = "") -> Iterator[str]:
    """Yield a sentence for each mistake in a mapping."""
    by_name = {key.name: key for key in keys}
    any_name = by_name.get("*")
    for name, value in content.items():
        place = f"{path}.{name}" if path else str(name)
        key = by_name.get(name, any_name)
        if key is None:
            found = difflib.get_close_matches(str(name), by_name, n=1)
            yield f"{place} is not known: {f'did you mean {found[0]}?' if found else 'remove it'}"
        elif value is None:
            yield f"{place} has no value: {key.remedy}"
        else:
            yield from key.problems(value, place)
    for key in keys:
        if key.required and key.name not in content:
            yield f"{path + '.' if path else ''}{key.name} is missing: {key.remedy}"


def schema_of(title: str, keys: tuple[Key, ...]) -> dict[str, Any]:
    """Return the JSON Schema of a manifest, in the draft that editors know best."""
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": title, **_object(keys)}


def _object(keys: tuple[Key, ...]) -> dict[str, Any]:
    described = {
        key.name: {"description": key.help, **(_object(key.section) if key.section else key.schema)} for key in keys
    }
    others = described.pop("*", False)
    required = [key.name for key in keys if key.required]
    return {
        "type": "object",
        "additionalProperties": others,
        "properties": described,
        **({"required": required} if required else {}),
    }


def text(name: str, pattern: str, help: str, remedy: str, *, required: bool = False) -> Key:  # noqa: A002
    """Return a key whose value is a text that matches the whole pattern."""
    return Key(
        name,
        help,
        remedy,
        {"type": "string", "pattern": f"^({pattern})$"},
        lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None,
        required,
    )


def choice(name: str, choices: tuple[str, ...], help: str, *, required: bool = False) -> Key:  # noqa: A002
    """Return a key whose value is one of several words."""
    return Key(
        name, help, f"give {' or '.join(choices)}", {"enum": list(choices)}, lambda value: value in choices, required
    )


def flag(name: str, help: str) -> Key:  # noqa: A002
    """Return a key that is true or false."""
    return Key(name, help, "give true or false", {"type": "boolean"}, lambda value: isinstance(value, bool))


def number(name: str, least: int, most: int, help: str) -> Key:  # noqa: A002
    """Return a key whose value is a whole number."""
    return Key(
        name,
        help,
        f"give a whole number from {least} to {most}",
        {"type": "integer", "minimum": least, "maximum": most},
        lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most,
    )


def mapping(name: str, help: str, remedy: str) -> Key:  # noqa: A002
    """Return a key whose value is a mapping with names that other files define."""
    return Key(
        name,
        help,
        remedy,
        {"type": "object"},
        lambda value: isinstance(value, dict) and all(isinstance(each, str) for each in value),
    )


def date(name: str, help: str) -> Key:  # noqa: A002
    """Return a key whose value is a date."""
    return Key(name, help, "give a date such as 2026-11-30", {"type": "string", "format": "date"}, _is_date)


def cron(name: str, help: str) -> Key:  # noqa: A002
    """Return a key whose value is a schedule of five fields."""
    remedy = 'give five fields, minute hour day month weekday, such as "0 */2 * * *"'
    return Key(name, help, remedy, accepts=is_cron, required=True)


def time_zone(name: str, help: str) -> Key:  # noqa: A002
    """Return a key whose value is a time zone by its region."""
    return Key(name, help, "give a region's name such as Europe/Berlin, or UTC", accepts=_is_time_zone)


def as_date(value: Any) -> datetime.date:
    """Return the date of a text or of a YAML date. Raises ValueError if it is none."""
    is_date = isinstance(value, datetime.date) and not isinstance(value, datetime.datetime)
    return value if is_date else datetime.date.fromisoformat(str(value))


def _is_date(value: Any) -> bool:
    try:
        as_date(value)
    except ValueError:
        return False
    return True


def _is_time_zone(value: Any) -> bool:
    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError, TypeError):
        return False
    # EST and its like never observe daylight saving time.
    return value == "UTC" or "/" in value


def is_cron(value: Any) -> bool:
    """Return whether the value is a schedule of five fields, which Airflow and Cloud Scheduler read alike."""
    fields = value.split() if isinstance(value, str) else []
    return len(fields) == len(_CRON_FIELDS) and all(
        _is_cron_part(part, least, most)
        for each, (least, most) in zip(fields, _CRON_FIELDS, strict=True)
        for part in each.split(",")
    )


def _is_cron_part(part: str, least: int, most: int) -> bool:
    match = _CRON_PART.fullmatch(part)
    if match is None:
        return False
    bounds = [bound for bound in (match[2], match[4]) if bound is not None]
    names = _CRON_NAMES.get(most, ())
    texts = [str(names.index(bound.upper()) + least) if bound.upper() in names else bound for bound in bounds]
    if not all(text.isdecimal() for text in texts):
        return False
    numbers = [int(text) for text in texts]
    return numbers == sorted(numbers) and all(least <= number <= most for number in numbers)


def _shown(value: Any) -> str:
    shown = str(value) if isinstance(value, datetime.date | float | int) else repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
