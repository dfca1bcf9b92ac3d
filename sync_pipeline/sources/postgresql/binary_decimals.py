"""Decodes PostgreSQL's binary numeric into Arrow's decimals, all values of a column at a time.

A numeric is the number of its digits, the weight of the first, a sign and the digits behind the point that are shown,
in 16 bits each; then the digits, which have the base 10,000: the first counts 10,000 to the power of the weight.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sync_pipeline.schema import ARROW_TYPES, DECIMAL_DIGITS
from sync_pipeline.sources.checked_text import RejectedError
from sync_pipeline.sources.postgresql.binary_rows import Positions, Values, gather, unreadable
from sync_pipeline.sources.postgresql.binary_values import Decode

HEADER_BYTES = 8
POSITIVE, NEGATIVE = 0x0000, 0x4000
NAN, INFINITY, MINUS_INFINITY = 0xC000, 0xD000, 0xF000

# Decimal digits of one digit to the base 10,000.
_DIGITS = 4

# A word of 32 bits times the base squared, and a carry, have less than 64 bits.
_WORD_BITS = 32
_WORD = np.uint64(2**_WORD_BITS - 1)

# Values with at most so many digits are decoded from bytes that are taken together: up to 16 decimal digits.
_USUAL_DIGITS = 4
USUAL_BYTES = HEADER_BYTES + 2 * _USUAL_DIGITS

type _Words = npt.NDArray[np.uint64]


def decimals(type_name: str) -> Decode:
    """Return the decoder of numeric into NUMERIC or BIGNUMERIC.

    It raises RejectedError for a value with more digits than the type has, NaN and infinity.
    """
    before, after = DECIMAL_DIGITS[type_name]
    type_ = ARROW_TYPES[type_name]
    # The weights of the first and the last digit to the base 10,000, and how many of their decimal digits count.
    highest, lowest = -(-before // _DIGITS) - 1, -(-after // _DIGITS) * -1
    limit_of_highest = 10 ** (before - _DIGITS * highest)
    digits_of_lowest = after + _DIGITS * (lowest + 1)
    rest_of_lowest = 10 ** (_DIGITS - digits_of_lowest)

    def decode(values: Values) -> pa.Array:
        digits = _Digits(values)
        if digits.first > highest or digits.last < lowest:
            raise RejectedError
        total = _Total(len(values))
        for weight in range(digits.first, digits.last - 1, -1):
            items = digits.of(weight)
            if weight == highest and (items >= limit_of_highest).any():
                raise RejectedError
            if weight > lowest:
                total.append(_DIGITS, items)
            elif (items % rest_of_lowest).any():
                raise RejectedError
            else:
                total.append(digits_of_lowest, items // rest_of_lowest)
        missing = after + _DIGITS * digits.last
        while missing > 0:
            total.append(min(missing, 2 * _DIGITS))
            missing -= 2 * _DIGITS
        words = total.signed(digits.is_negative, type_.bit_width // 64)
        return pa.Array.from_buffers(type_, len(values), [values.validity, pa.py_buffer(words)])

    return decode


class _Digits:
    """The digits of the values to the base 10,000.

    Attributes:
        first, last: the highest and the lowest weight of any digit.
    """

    def __init__(self, values: Values) -> None:
        count, weight = (values.at(offset, ">i2").astype(np.int64) for offset in (0, 2))
        sign = values.at(4, ">u2")
        if values.null is not None:
            count[values.null] = weight[values.null] = 0
            sign[values.null] = POSITIVE
        length = HEADER_BYTES + 2 * count
        if ((values.length != length) if values.null is None else (values.length != length) & ~values.null).any():
            raise unreadable()
        self.is_negative = sign == NEGATIVE
        if ((sign != POSITIVE) & ~self.is_negative).any():
            raise RejectedError
        # 0 has no digits, and its weight is 0.
        self.first = int(weight.max(initial=0))
        self.last = int((weight - count + 1).min(initial=0))
        self._values, self._count, self._weight = values, count, weight
        self._weights = range(int(weight.min(initial=0)), int(weight.max(initial=0)) + 1)
        most = int(count.max(initial=0))
        self._by_place = [self._at_place(place) for place in range(most)] if most <= _USUAL_DIGITS else None

    def of(self, weight: int) -> _Words:
        """Return the digit of each value that has a weight, 0 where there is none."""
        if self._by_place is None:
            return self._found(weight)
        digits: _Words | None = None
        for place, items in enumerate(self._by_place):
            if weight + place not in self._weights:
                continue
            if len(self._weights) == 1:
                return items
            here = np.where(self._weight == weight + place, items, np.uint64(0))
            digits = here if digits is None else np.add(digits, here, out=here)
        return np.zeros(len(self._weight), np.uint64) if digits is None else digits

    def _at_place(self, place: int) -> _Words:
        """Return the digit of each value with so many digits before it, 0 where there is none."""
        items = self._values.at(HEADER_BYTES + 2 * place, ">u2").astype(np.uint64)
        return np.where(self._count > place, items, np.uint64(0))

    def _found(self, weight: int) -> _Words:
        index: Positions = self._weight - weight
        here = (index >= 0) & (index < self._count)
        if here.all():
            return self._gathered(self._values.begin + HEADER_BYTES + 2 * index)
        digits = np.zeros(len(index), np.uint64)
        digits[here] = self._gathered(self._values.begin[here] + HEADER_BYTES + 2 * index[here])
        return digits

    def _gathered(self, positions: Positions) -> _Words:
        return gather(self._values.data, positions, ">u2").astype(np.uint64)


class _Total:
    """Numbers without sign, to which decimal digits are appended: in 64 bits, beyond that in words of 32 bits."""

    def __init__(self, count: int) -> None:
        self._words: list[_Words] = [np.zeros(count, np.uint64)]
        self._is_split = False
        # The numbers are below this.
        self._limit = 1

    def append(self, digits: int, items: _Words | None = None) -> None:
        """Append the decimal digits of `items`, or zeros."""
        factor = np.uint64(10**digits)
        self._limit *= 10**digits
        if not self._is_split:
            if self._limit < 2**63:
                self._words[0] *= factor
                if items is not None:
                    self._words[0] += items
                return
            low = self._words[0]
            self._words, self._is_split = [low & _WORD, low >> np.uint64(_WORD_BITS)], True
        carry = items
        for index, word in enumerate(self._words):
            product = word * factor
            if carry is not None:
                product += carry
            self._words[index] = product & _WORD
            carry = product >> np.uint64(_WORD_BITS)
        if carry is not None and self._limit > 2 ** (_WORD_BITS * len(self._words)):
            self._words.append(carry)

    def signed(self, is_negative: npt.NDArray[np.bool_], width: int) -> _Words:
        """Return the numbers in two's complement, each as `width` words of 64 bits, the lowest first."""
        numbers = np.zeros((len(is_negative), width), np.uint64)
        if not self._is_split:
            low = self._words[0].view(np.int64)
            low = np.where(is_negative, -low, low)
            numbers[:, 0] = low.view(np.uint64)
            numbers[:, 1:] = (low >> 63).view(np.uint64)[:, np.newaxis]
            return numbers
        # The highest digits are fewer than there is place for, so that words beyond the width are 0.
        for index, word in enumerate(self._words[: 2 * width]):
            half = np.uint64(_WORD_BITS * (index % 2))
            numbers[:, index // 2] |= word << half
        if is_negative.any():
            # All bits inverted, plus one, which carries where a word becomes 0.
            carry = is_negative.astype(np.uint64)
            mask = -carry.view(np.int64)
            for index in range(width):
                numbers[:, index] = (numbers[:, index] ^ mask.view(np.uint64)) + carry
                carry &= (numbers[:, index] == 0).astype(np.uint64)
        return numbers
