"""The text of a value in PostgreSQL's binary format, as the server writes it in this session; for dead letters.

Elements of arrays have the text that `array_to_json` gives them.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from math import isfinite, isnan, nextafter
from typing import Any

from sync_pipeline.sources.postgresql import binary_arrays, binary_decimals
from sync_pipeline.sources.postgresql.binary_values import DAY_MICROSECONDS

type Text = Callable[[bytes], str]

# From the first day of the proleptic Gregorian calendar's year 0, a 1 March, to 2000-01-01, and in 400 years.
_DAYS_BEFORE_EPOCH = 730_425
_DAYS_OF_ERA = 146_097

# The exponents between which a double is written without one.
_FIRST_EXPONENT, _END_OF_EXPONENTS = -4, 15


def plain(value: bytes) -> str:
    """Return a text. In place of bytes that are not UTF-8 it has U+FFFD."""
    return value.decode(errors="replace")


def jsonb(value: bytes) -> str:
    """Return the text of a jsonb."""
    return plain(value[1:])


def boolean(value: bytes) -> str:
    """Return t or f."""
    return "t" if value[0] else "f"


def word(value: bytes) -> str:
    """Return true or false."""
    return "true" if value[0] else "false"


def integer(value: bytes) -> str:
    """Return an integer's digits."""
    return str(int.from_bytes(value, "big", signed=True))


def uuid(value: bytes) -> str:
    """Return a uuid's digits."""
    digits = value.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def prefixed_hexadecimal(value: bytes) -> str:
    r"""Return the digits of bytes behind `\x`."""
    return rf"\x{value.hex()}"


def double(value: bytes) -> str:
    """Return the shortest text that only this double has."""
    (number,) = struct.unpack(">d", value)
    if not isfinite(number):
        return "NaN" if isnan(number) else "Infinity" if number > 0 else "-Infinity"
    sign, digits, last = Decimal(_shortest(number)).as_tuple()
    assert isinstance(last, int)
    minus = "-" if sign else ""
    text = "".join(map(str, digits)).rstrip("0") or "0"
    exponent = last + len(digits) - 1 if text != "0" else 0
    if not _FIRST_EXPONENT <= exponent < _END_OF_EXPONENTS:
        point = "." if len(text) > 1 else ""
        return f"{minus}{text[0]}{point}{text[1:]}e{'-' if exponent < 0 else '+'}{abs(exponent):02}"
    if exponent < 0:
        return f"{minus}0.{'0' * (-exponent - 1)}{text}"
    whole, rest = text[: exponent + 1].ljust(exponent + 1, "0"), text[exponent + 1 :]
    return f"{minus}{whole}{'.' if rest else ''}{rest}"


def _shortest(number: float) -> str:
    """Return the shortest decimal that is nearer to the double than to any other, and not halfway between two."""
    neighbours = [nextafter(number, towards) for towards in (float("-inf"), float("inf"))]
    for precision in range(17):
        text = f"{number:.{precision}e}"
        if float(text) != number:
            continue
        # PostgreSQL does not rely on halves being rounded to even.
        exact = Fraction(text)
        if all(not isfinite(other) or 2 * exact != Fraction(number) + Fraction(other) for other in neighbours):
            return text
    return f"{number:.16e}"


def numeric(value: bytes) -> str:
    """Return a numeric with as many decimal places as it shows."""
    count, weight, sign, shown = struct.unpack_from(">hhHH", value)
    words = {
        binary_decimals.NAN: "NaN",
        binary_decimals.INFINITY: "Infinity",
        binary_decimals.MINUS_INFINITY: "-Infinity",
    }
    if sign in words:
        return words[sign]
    digits = struct.unpack_from(f">{count}h", value, binary_decimals.HEADER_BYTES)
    by_weight = {weight - place: digit for place, digit in enumerate(digits)}
    whole = "".join(f"{by_weight.get(place, 0):04}" for place in range(weight, -1, -1)).lstrip("0") or "0"
    places = range(-1, -1 - (shown + 3) // 4, -1)
    rest = "".join(f"{by_weight.get(place, 0):04}" for place in places)[:shown]
    return f"{'-' if sign == binary_decimals.NEGATIVE else ''}{whole}{'.' if shown else ''}{rest}"


def date(value: bytes) -> str:
    """Return a date, such as 0044-03-15 BC."""
    (days,) = struct.unpack(">i", value)
    return _infinity(days, 32) or "{}{}".format(*_calendar(days))


def time(value: bytes) -> str:
    """Return a time with the decimal places that it needs."""
    return _clock(struct.unpack(">q", value)[0])


def timestamps(zone: str = "", between: str = " ") -> Text:
    """Return the text of timestamps, with `zone` behind the time and `between` before it."""

    def text(value: bytes) -> str:
        (microseconds,) = struct.unpack(">q", value)
        days, rest = divmod(microseconds, DAY_MICROSECONDS)
        day, era = _calendar(days)
        return _infinity(microseconds, 64) or f"{day}{between}{_clock(rest)}{zone}{era}"

    return text


def _infinity(number: int, bits: int) -> str:
    return {2 ** (bits - 1) - 1: "infinity", -(2 ** (bits - 1)): "-infinity"}.get(number, "")


def _calendar(days: int) -> tuple[str, str]:
    """Return year, month and day of so many days after 2000-01-01, and the era, if it is BC."""
    era, day_of_era = divmod(days + _DAYS_BEFORE_EPOCH, _DAYS_OF_ERA)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    # Months count from March, so that the day that some years have is the last.
    month = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month + 2) // 5 + 1
    year = era * 400 + year_of_era + (month >= 10)
    month = month - 9 if month >= 10 else month + 3
    return f"{year if year > 0 else 1 - year:04}-{month:02}-{day:02}", "" if year > 0 else " BC"


def _clock(microseconds: int) -> str:
    seconds, rest = divmod(microseconds, 1_000_000)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{text}.{rest:06}".rstrip("0") if rest else text


def arrays(element: Text) -> Text:
    """Return the text of arrays: JSON arrays of the texts of their elements."""

    def text(value: bytes) -> str:
        (dimensions,) = struct.unpack_from(">i", value)
        header = binary_arrays.HEADER_BYTES
        counts = [
            struct.unpack_from(">i", value, header + binary_arrays.DIMENSION_BYTES * number)[0]
            for number in range(dimensions)
        ]
        place = header + binary_arrays.DIMENSION_BYTES * dimensions

        def nested(counts: list[int]) -> Any:
            nonlocal place
            if counts:
                return [nested(counts[1:]) for _ in range(counts[0])]
            (length,) = struct.unpack_from(">i", value, place)
            begin = place + binary_arrays.LENGTH_BYTES
            place = begin + max(length, 0)
            return None if length < 0 else element(value[begin:place])

        return json.dumps(nested(counts) if counts else [], ensure_ascii=False, separators=(",", ":"))

    return text
