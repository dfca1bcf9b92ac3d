"""How many cases a fuzz test plays, and what its inputs are made of."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from sync_pipeline.parameters.parameter import ParameterType
from sync_pipeline.parameters.table import PARAMETERS
from tests.plans import PARAMETERS as POSTGRESQL

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
# What every server and every file of UTF-8 can hold.
WRITABLE_TEXTS = TEXTS.map(lambda text: text.replace("\0", "").encode(errors="replace").decode())

# What a terminal or a log must not be given: it moves the cursor, hides or turns text, or is no text.
UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

MONGODB = {
    "data_source": "mongodb",
    "mongodb_host": "127.0.0.1",
    "mongodb_port": "1",
    "mongodb_database": "d",
    "mongodb_collection": "c",
} | {name: value for name, value in POSTGRESQL.items() if name.startswith("destination_")}


def _plain(kind: ParameterType, name: str) -> st.SearchStrategy[str]:
    if kind is ParameterType.PEM:
        # A text that begins like a path is the name of a file, and no secret.
        key = SECRETS.map(lambda text: f"-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
        return key | SECRETS.filter(lambda text: not text.startswith("/"))
    if name == "mongodb_connection_string":
        return (
            SECRETS
            | SECRETS.map(lambda text: f"mongodb://user:{text}@127.0.0.1:1/")
            | st.just(f"mongodb://user:{PLANTED}@127.0.0.1:1/")
        )
    return SECRETS


SECRET_NAMES = [parameter.name for parameter in PARAMETERS if parameter.secret]
# The secrets themselves, by their parameters.
PLAIN_SECRETS = {parameter.name: _plain(parameter.type, parameter.name) for parameter in PARAMETERS if parameter.secret}


def flags(parameters: dict[str, str]) -> list[str]:
    return [f"--{name}={value}" for name, value in parameters.items()]


def cases(share: float) -> Callable[[Any], Any]:
    """Play a share of the cases."""
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
    return settings(max_examples=max(10, round(CASES * share)), deadline=None, suppress_health_check=checks)
