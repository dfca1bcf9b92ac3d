from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests
from apache_beam.io.filesystems import FileSystems
from google.api_core import exceptions
from google.auth.exceptions import DefaultCredentialsError, TransportError

from sync_pipeline.errors import ConfigError, SourceUnavailableError
from sync_pipeline.parameters.files import parse_location, read_file

GCS = "gs://bucket/object"


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(FileSystems, "open", fail)


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(exceptions.NotFound("x"), id="no such object"),
        pytest.param(exceptions.Forbidden("x"), id="no right"),
        pytest.param(DefaultCredentialsError("x"), id="no credentials"),
    ],
)
def test_what_the_user_has_to_change(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    failing(monkeypatch, error)
    with pytest.raises(ConfigError) as caught:
        read_file("tables_file", GCS, 10)
    kind = type(error).__name__
    expected = f"tables_file: gs://bucket/object cannot be read ({kind}): check its name and permissions"
    assert caught.value.problems == (expected,)


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(exceptions.ServiceUnavailable("x"), id="503"),
        pytest.param(exceptions.TooManyRequests("x"), id="too fast"),
        pytest.param(exceptions.RetryError("x", None), id="retried in vain"),
        pytest.param(TransportError("x"), id="no token"),
        pytest.param(requests.ConnectionError("x"), id="no connection"),
    ],
)
def test_what_may_succeed_later(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    failing(monkeypatch, error)
    with pytest.raises(SourceUnavailableError, match=f"for gs://bucket/object \\({type(error).__name__}\\)"):
        read_file("tables_file", GCS, 10)


def test_a_file_of_this_machine(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(b"0123456789")
    assert read_file("tables_file", str(path), 10) == b"0123456789"
    with pytest.raises(ConfigError, match="is larger than 9 bytes"):
        read_file("tables_file", str(path), 9)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_file("tables_file", str(tmp_path), 9)


@pytest.mark.parametrize("text", ["gs://bucket/a", "gs://bucket/a/b.yaml", "/etc/tables.yaml", "tables.yaml", "a:b"])
def test_locations(text: str) -> None:
    assert parse_location(text) == text


@pytest.mark.parametrize("text", ["s3://bucket/tables.yaml", "gs://bucket", "gs://", "gs:///object", "https://a/b"])
def test_locations_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="write gs://BUCKET/OBJECT, or the path of a file"):
        parse_location(text)
