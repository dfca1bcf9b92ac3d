"""Certificates and keys as temporary files, because drivers read them only from files."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from sync_pipeline.errors import ConfigError
from sync_pipeline.parameters.secrets import Secret

CERTIFICATE, KEY = "CERTIFICATE-----", "PRIVATE KEY-----"


@contextlib.contextmanager
def pem_files(wanted: Mapping[Secret, tuple[str, ...]]) -> Iterator[dict[str, str]]:
    """Yield the path of a file for each secret, by parameter. Only the current user may read the files.

    Deletes the files at the end.

    Args:
        wanted: the secrets, each with its required parts: CERTIFICATE, KEY or both.

    Raises:
        ConfigError: a secret cannot be read, or lacks a required part.
        SourceUnavailableError: Secret Manager could not be reached.
    """
    texts = {secret.parameter: _checked(secret, parts) for secret, parts in wanted.items()}
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for parameter, text in texts.items():
            path = Path(folder) / f"{parameter}.pem"
            path.touch(mode=0o600)
            path.write_text(f"{text}\n", encoding="utf-8")
            paths[parameter] = str(path)
        yield paths


def _checked(secret: Secret, parts: tuple[str, ...]) -> str:
    text = secret.resolve()
    if "ENCRYPTED" in text:
        # A driver would prompt for the passphrase on the terminal and wait.
        raise ConfigError([f"{secret.parameter}: the key is protected by a passphrase: give a key without one"])
    for part in parts:
        if part not in text:
            noun = "private key" if part == KEY else "certificate"
            raise ConfigError([f"{secret.parameter}: it contains no {noun} in PEM format (-----BEGIN …{part})"])
    return text
