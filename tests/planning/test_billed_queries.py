from __future__ import annotations

import pytest

from sync_pipeline.planning.billed_queries import BilledQuery, billed_bytes, dollars_text, price_text, size_text


@pytest.mark.parametrize(
    ("query", "text"),
    [
        pytest.param(BilledQuery("merge", 2**40, "x"), "merge: 1.0 TiB, $6.25, by x", id="known"),
        pytest.param(
            BilledQuery("merge", 2**20, "x", True), "merge: at least 1.0 MiB, less than $0.01, by x", id="cent"
        ),
        pytest.param(BilledQuery("rows", None, "x"), "rows: unknown, as BigQuery gives no estimate", id="unknown"),
    ],
)
def test_a_billed_query(query: BilledQuery, text: str) -> None:
    assert str(query) == text


def test_sums_and_prices() -> None:
    assert billed_bytes([BilledQuery("a", 3, "x"), BilledQuery("b", None, "x"), BilledQuery("c", 4, "x")]) == 7
    assert [dollars_text(size) for size in (0, 1, 2**40)] == ["$0.00", "less than $0.01", "$6.25"]
    assert price_text(2**40) == "1.0 TiB, about $6.25 per run on demand at $6.25 per TiB"


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (1023, "1,023 bytes"), (1536, "1.5 KiB"), (2**30, "1.0 GiB"), (2**62, "4,096.0 PiB")],
)
def test_size_text(size: int, text: str) -> None:
    assert size_text(size) == text
