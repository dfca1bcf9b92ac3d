"""Texts that are hidden in what Beam and Google's APIs send: quoted, in Base64, or packed."""

from __future__ import annotations

import base64
import bz2
import json
import re
import urllib.parse
import zlib
from collections.abc import Iterator
from contextlib import suppress


def holds(content: bytes, secret: str) -> bool:
    """Whether the secret is in there: as it is, quoted for a URL or for JSON, in Base64, or in what Beam has packed."""
    quoted = (secret, urllib.parse.quote(secret), urllib.parse.quote(secret, safe=""), json.dumps(secret)[1:-1])
    if any(text.encode() in content for text in quoted):
        return True
    return any(holds(unpacked, secret) for unpacked in _unpacked(content))


def _unpacked(content: bytes) -> Iterator[bytes]:
    # Beam writes what it pickles as Base64 of something compressed, and other text may stand right before it.
    for found in re.findall(rb"[A-Za-z0-9+/_-]{16,}", content):
        text = found.replace(b"-", b"+").replace(b"_", b"/")
        packed = [match.start() for match in re.finditer(rb"QlpoO|eJ", text)]
        for start in {*range(4), *packed}:
            whole = text[start : len(text) - ((len(text) - start) % 4 == 1)]
            decoded = base64.b64decode(whole + b"=" * (-len(whole) % 4))
            yield decoded
            for decompress in (bz2.decompress, zlib.decompress):
                with suppress(OSError, zlib.error, ValueError):
                    yield decompress(decoded)
