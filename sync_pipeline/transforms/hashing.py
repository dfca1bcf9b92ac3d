"""Hashes of values: SHA-256, or with `hash_key` HMAC-SHA-256, which cannot be reversed by guessing without the key."""

from __future__ import annotations

import functools
import hashlib
import hmac

import pyarrow as pa

from sync_pipeline.errors import ConfigError
from sync_pipeline.parameters.secrets import Secret

# A shorter key can be guessed. NIST SP 800-107, section 5.3.4: the strength of a key is its entropy.
SAFE_KEY_BYTES = 16


def digest(value: bytes, key: Secret | None) -> str:
    """Return the hash of a value as 64 hexadecimal digits. Raises the errors of `key_bytes`."""
    if key is None:
        return hashlib.sha256(value).hexdigest()
    return hmac.digest(key_bytes(key), value, "sha256").hex()


def hash_column(column: pa.Array, key: Secret | None = None) -> pa.Array:
    """Return the `digest` of each string (as UTF-8) or bytes value. NULL stays NULL."""
    # Hash each distinct value once.
    encoded = column.dictionary_encode()
    values = encoded.dictionary.cast(pa.binary()).to_pylist()
    digests = pa.array([digest(value, key) for value in values], type=pa.string())
    return digests.take(encoded.indices)


def key_risks(key: Secret) -> list[str]:
    """Return warnings about the key. Raises the errors of `key_bytes`."""
    size = len(key_bytes(key))
    if size >= SAFE_KEY_BYTES:
        return []
    return [f"{key.parameter} has {size} bytes, which can be guessed: use at least {SAFE_KEY_BYTES} random bytes"]


@functools.lru_cache(maxsize=4)
def key_bytes(key: Secret) -> bytes:
    """Return the key, resolved once per process.

    Raises:
        ConfigError: the key cannot be read or is empty.
        SourceUnavailableError: Secret Manager does not answer.
    """
    text = key.resolve()
    if not text:
        raise ConfigError([f"{key.parameter} is empty: store at least {SAFE_KEY_BYTES} random bytes, as text"])
    return text.encode()
