"""What a step gets from its run and from the steps before it: `${date}` in the texts of its launch."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from .names import start_of

_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")
OF_A_RUN = ("run", "date", "previous_date", "time")
_OF_A_STEP = re.compile("steps[.]([^.]+)[.](.+)")


def placeholders_in(value: Any) -> list[str]:
    """Return the names of all placeholders in the texts of a value."""
    if isinstance(value, str):
        return _PLACEHOLDER.findall(value)
    if isinstance(value, Mapping):
        return [name for item in value.values() for name in placeholders_in(item)]
    return [name for item in value for name in placeholders_in(item)] if isinstance(value, list | tuple) else []


def step_of(placeholder: str) -> tuple[str, str] | None:
    """Return step and option of `steps.STEP.OPTION`, None for another placeholder."""
    match = _OF_A_STEP.fullmatch(placeholder)
    return (match[1], match[2]) if match else None


def values_of_run(run: str, time_zone: str) -> dict[str, str]:
    """Return the values of `OF_A_RUN`; the dates are those of the zone at the start of the run."""
    start = start_of(run)
    date = start.astimezone(ZoneInfo(time_zone)).date()
    return {
        "run": run,
        "date": date.isoformat(),
        "previous_date": (date - timedelta(days=1)).isoformat(),
        "time": start.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def filled_in(value: Any, find: Callable[[str], str]) -> Any:
    """Return the value with the placeholders of its texts replaced by what `find` returns for their names."""
    if isinstance(value, str):
        return _PLACEHOLDER.sub(lambda match: find(match[1]), value)
    if isinstance(value, Mapping):
        return {name: filled_in(item, find) for name, item in value.items()}
    return [filled_in(item, find) for item in value] if isinstance(value, list | tuple) else value
