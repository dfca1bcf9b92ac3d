"""The queries of a run that BigQuery bills by bytes, and their price on demand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# The price on demand in the US, without the free TiB of each month; other regions differ, and reservations bill slots.
# https://cloud.google.com/bigquery/pricing#on_demand_pricing
DOLLARS_PER_TIB = 6.25

DRY_RUN, METADATA, SOURCE = "BigQuery's dry run", "the table's metadata", "the source's estimate"

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")


@dataclass(frozen=True)
class BilledQuery:
    """A query that BigQuery bills.

    Attributes:
        purpose: what it does, as a noun.
        size: bytes that it reads; None if nobody estimates them.
        basis: who says so.
        is_least: whether it may read more.
    """

    purpose: str
    size: int | None
    basis: str
    is_least: bool = False

    def __str__(self) -> str:
        if self.size is None:
            return f"{self.purpose}: unknown, as BigQuery gives no estimate"
        least = "at least " if self.is_least else ""
        return f"{self.purpose}: {least}{size_text(self.size)}, {dollars_text(self.size)}, by {self.basis}"


def billed_bytes(queries: Iterable[BilledQuery]) -> int:
    """Return the bytes of all queries, as far as they are known."""
    return sum(query.size or 0 for query in queries)


def dollars(size: int) -> float:
    """Return the price on demand of reading so many bytes."""
    return size / 2**40 * DOLLARS_PER_TIB


def dollars_text(size: int) -> str:
    """Return the price on demand of reading so many bytes as text."""
    price = dollars(size)
    return "less than $0.01" if 0 < price < 0.01 else f"${price:,.2f}"


def price_text(size: int) -> str:
    """Return a number of bytes that each run reads, and their price on demand, as text."""
    return f"{size_text(size)}, about ${dollars(size):,.2f} per run on demand at ${DOLLARS_PER_TIB} per TiB"


def size_text(size: float) -> str:
    """Return a number of bytes as text, such as `1.5 GiB`."""
    unit = 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size /= 1024
        unit += 1
    return f"{size:,.0f} {_UNITS[unit]}" if unit == 0 else f"{size:,.1f} {_UNITS[unit]}"
