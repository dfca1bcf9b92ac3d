"""Converts one decoded BSON value to the value of a column, exactly or not at all."""

from __future__ import annotations

import datetime
import re
import uuid
from collections.abc import Callable, Mapping
from decimal import Context, Decimal, Inexact
from typing import Any

from bson.decimal128 import Decimal128

from sync_pipeline.schema import DECIMAL_DIGITS
from sync_pipeline.sources.mongodb.to_json import json_bytes, plain_text
from sync_pipeline.transforms import rejected_values

# The values that each type accepts, for error messages.
LIMITS: Mapping[str, str] = {
    **rejected_values.LIMITS,
    "FLOAT64": "FLOAT64 holds numbers that a double represents exactly",
    "BYTES": "BYTES holds binData",
    "DATETIME": "DATETIME holds dates of the years 1 to 9999, to the microsecond",
    "TIMESTAMP": "TIMESTAMP holds dates of the years 1 to 9999, to the microsecond",
    "JSON": "its texts must be UTF-8",
    "GEOGRAPHY": "GEOGRAPHY is read from strings",
}

# No rounding: Decimal128 has 34 digits and small exponents, a text may have any number of digits.
_EXACT = Context(prec=10_000, traps=[Inexact])
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")

# Python would truncate digits after the microsecond.
_BELOW_MICROSECONDS = re.compile("[.,][0-9]{6}[0-9]*[1-9]")


class RejectedValueError(Exception):
    """A value is invalid for its column. Carries no details, so that no data can leak."""


def column_value(value: Any, type_name: str, *, parses: bool) -> Any:
    """Return the value of a column of `type_name` for `value`, which is not null.

    Args:
        parses: the user requested this type: parse strings, and round doubles and decimals to the nearest value.

    Raises:
        RejectedValueError: the column cannot hold the value.
    """
    try:
        return _CONVERSIONS[type_name](value, parses)
    except (ValueError, OverflowError, ArithmeticError):
        raise RejectedValueError from None


def _bool(value: Any, parses: bool) -> bool:
    if isinstance(value, bool):
        return value
    texts = {"true": True, "false": False}
    if parses and isinstance(value, str) and value.lower() in texts:
        return texts[value.lower()]
    raise RejectedValueError


def _int64(value: Any, parses: bool) -> int:
    if isinstance(value, bool):
        raise RejectedValueError
    if isinstance(value, str) and parses and re.fullmatch("[+-]?[0-9]{1,20}", value):
        value = int(value)
    elif isinstance(value, Decimal128):
        value = _finite_decimal(value)
    if isinstance(value, int | float | Decimal) and value == int(value) and -(2**63) <= value < 2**63:
        return int(value)
    raise RejectedValueError


def _float64(value: Any, parses: bool) -> float:
    if isinstance(value, float):
        return value
    if isinstance(value, str) and parses and _NUMBER.fullmatch(value):
        value = Decimal(value)
    elif isinstance(value, Decimal128):
        value = value.to_decimal()
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        nearest = float(value)
        # float() returns infinity for a number that is too large.
        is_overflow = nearest in (float("inf"), float("-inf")) and Decimal(value).is_finite()
        if not is_overflow and (parses or nearest == value or nearest != nearest):
            return nearest
    raise RejectedValueError


def _decimal(type_name: str) -> Callable[[Any, bool], Decimal]:
    integer_digits, fraction_digits = DECIMAL_DIGITS[type_name]

    def convert(value: Any, parses: bool) -> Decimal:
        if isinstance(value, bool):
            raise RejectedValueError
        if isinstance(value, str) and parses:
            # Python also accepts 1_000 and digits of other scripts.
            if not _NUMBER.fullmatch(value.strip(" ")):
                raise RejectedValueError
            value = Decimal(value.strip(" "))
        elif isinstance(value, Decimal128):
            value = value.to_decimal()
        elif isinstance(value, float):
            value = Decimal(repr(value)) if parses else Decimal(value)
        if not isinstance(value, int | Decimal):
            raise RejectedValueError
        number = Decimal(value)
        if number == 0:
            # Compares the numbers, so the exponent does not matter.
            return Decimal(0)
        if not number.is_finite() or number.adjusted() >= integer_digits:
            raise RejectedValueError
        number = number.normalize(_EXACT)
        _, _, exponent = number.as_tuple()
        if not isinstance(exponent, int) or -exponent > fraction_digits:
            raise RejectedValueError
        return Decimal(format(number, "f"))

    return convert


def _finite_decimal(value: Decimal128) -> Decimal:
    number = value.to_decimal()
    if number == 0:
        return Decimal(0)
    if not number.is_finite() or number.adjusted() > 40:
        raise RejectedValueError
    return number


def _bytes(value: Any, _: bool) -> bytes:
    if isinstance(value, bytes):
        return bytes(value)
    if isinstance(value, uuid.UUID):
        return value.bytes
    raise RejectedValueError


def _moment(value: Any, parses: bool, *, has_offset: bool) -> datetime.datetime:
    if isinstance(value, datetime.datetime):
        return value
    if isinstance(value, str) and parses and not _BELOW_MICROSECONDS.search(value):
        moment = datetime.datetime.fromisoformat(value)
        if (moment.tzinfo is not None) == has_offset:
            return moment.astimezone(datetime.UTC).replace(tzinfo=None) if has_offset else moment
    raise RejectedValueError


def _date(value: Any, parses: bool) -> datetime.date:
    if isinstance(value, str) and parses:
        return datetime.date.fromisoformat(value)
    raise RejectedValueError


def _time(value: Any, parses: bool) -> datetime.time:
    if isinstance(value, str) and parses and not _BELOW_MICROSECONDS.search(value):
        time = datetime.time.fromisoformat(value)
        if time.tzinfo is None:
            return time
    raise RejectedValueError


def _geography(value: Any, _: bool) -> str:
    if isinstance(value, str):
        return value
    raise RejectedValueError


_CONVERSIONS: Mapping[str, Callable[[Any, bool], Any]] = {
    "BOOL": _bool,
    "INT64": _int64,
    "FLOAT64": _float64,
    "NUMERIC": _decimal("NUMERIC"),
    "BIGNUMERIC": _decimal("BIGNUMERIC"),
    "STRING": lambda value, _: plain_text(value),
    "BYTES": _bytes,
    "DATE": _date,
    "TIME": _time,
    "DATETIME": lambda value, parses: _moment(value, parses, has_offset=False),
    "TIMESTAMP": lambda value, parses: _moment(value, parses, has_offset=True),
    "JSON": lambda value, _: json_bytes(value),
    "GEOGRAPHY": _geography,
}
