"""How many cases a fuzz test plays, and what its inputs are made of."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

# In no output, log, job or table but where a test says so. Of letters and digits alone, so that no escape hides it.
PLANTED = "zq7planted9secret3kx"

# All tests together play about so many; `make fuzz CASES=20000` sets it.
CASES = int(os.environ.get("FUZZ_CASES", "400"))

# What moves a cursor, begins a line, hides or turns text, ends a literal, formats, or is no text at all.
HOSTILE = st.sampled_from(
    [
        *("\x1b[2J", "\x9b31m", "\r", "\n", "\x00", "\x7f", "\u202e", "\u2028", "\ud800", "'", '"', "`", "\\", "%s"),
        *(
            "{}",
            "{start_timestamp}",
            "$(id)",
            "../",
            "*",
            "?",
            "/",
            "@",
            ":",
            "://",
            "#",
            "&",
            "=",
            ",",
            ";",
            "--",
            " ",
        ),
    ]
)
TEXTS = st.lists(HOSTILE | st.text(max_size=4), max_size=6).map("".join)
SECRETS = st.tuples(TEXTS, TEXTS).map(PLANTED.join)


def cases(share: float) -> Callable[[Any], Any]:
    """Play a share of the cases."""
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
    return settings(max_examples=max(10, round(CASES * share)), deadline=None, suppress_health_check=checks)
