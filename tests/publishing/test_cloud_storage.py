from __future__ import annotations

from pathlib import Path

import pytest
import requests
from google.api_core import exceptions
from google.cloud.storage.exceptions import InvalidResponse

from sync_pipeline.errors import PublishError, PublishUnavailableError
from sync_pipeline.publishing.cloud_storage import delete_staged_files, translated_storage_errors


class BeamError(OSError):
    """What Beam's file systems raise: the error is in there."""

    def __init__(self, error: Exception) -> None:
        super().__init__("failed")
        self.exception_details = {"gs://b/o": error}


@pytest.mark.parametrize(
    ("error", "kind", "name"),
    [
        pytest.param(exceptions.Forbidden("x"), PublishError, "Forbidden", id="no right"),
        pytest.param(BeamError(exceptions.NotFound("x")), PublishError, "NotFound", id="packed by Beam"),
        pytest.param(exceptions.TooManyRequests("x"), PublishUnavailableError, "TooManyRequests", id="too fast"),
        pytest.param(exceptions.ServiceUnavailable("x"), PublishUnavailableError, "ServiceUnavailable", id="503"),
        pytest.param(InvalidResponse(requests.Response()), PublishUnavailableError, "InvalidResponse", id="upload"),
        pytest.param(ConnectionError("x"), PublishUnavailableError, "ConnectionError", id="no connection"),
    ],
)
def test_errors_of_writing(error: Exception, kind: type[PublishError], name: str) -> None:
    with pytest.raises(PublishError) as caught, translated_storage_errors("gs://b/o"):
        raise error
    assert type(caught.value) is kind
    assert str(caught.value).startswith(f"Cloud Storage: cannot write gs://b/o ({name}): check temp_location")


def test_delete_staged_files(tmp_path: Path) -> None:
    (tmp_path / "run" / "deep").mkdir(parents=True)
    for name in ("run/a.parquet", "run/deep/b.parquet", "other.parquet"):
        (tmp_path / name).touch()
    delete_staged_files(f"{tmp_path}/run/")
    assert [path.name for path in tmp_path.rglob("*.parquet")] == ["other.parquet"]
    delete_staged_files(f"{tmp_path}/run/")
    delete_staged_files(f"{tmp_path}/never/")
