"""Folders of staged files in Cloud Storage; translates its errors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from apache_beam.io.filesystems import FileSystems
from google.api_core import exceptions
from google.auth.exceptions import GoogleAuthError
from google.cloud.storage import exceptions as storage_exceptions

from sync_pipeline.errors import ConfigError, PublishError, PublishUnavailableError


@contextlib.contextmanager
def translated_storage_errors(uri: str) -> Iterator[None]:
    """Translate errors of writing `uri`: PublishError when it is refused, else PublishUnavailableError."""
    try:
        yield
    except (OSError, exceptions.GoogleAPIError, GoogleAuthError, storage_exceptions.InvalidResponse) as error:
        cause = _cause(error)
        refused = isinstance(cause, exceptions.ClientError) and not isinstance(cause, exceptions.TooManyRequests)
        raise (PublishError if refused else PublishUnavailableError)(
            f"Cloud Storage: cannot write {uri} ({type(cause).__name__}): check temp_location, and that the job's "
            "service account has roles/storage.objectAdmin on the bucket; nothing was published"
        ) from None


def check_staging(root: str) -> None:
    """Raise ConfigError when the folder cannot be listed: better now than when all rows have been read."""
    try:
        FileSystems.match([f"{root}*"], limits=[1])
    except OSError as error:
        problem = f"temp_location: {root} cannot be listed ({type(_cause(error)).__name__})"
        remedy = "the bucket must exist, and the job's service account needs roles/storage.objectAdmin on it"
        raise ConfigError([f"{problem}: {remedy}"]) from None


def delete_staged_files(folder: str) -> None:
    """Delete all files under `folder`; an empty folder is no error. Raises what Beam's file system raises."""
    found = FileSystems.match([f"{folder}**"])[0].metadata_list
    if found:
        FileSystems.delete([entry.path for entry in found])


def _cause(error: Exception) -> Exception:
    """Return the innermost of the errors that Beam has wrapped: only it says what happened."""
    details = getattr(error, "exception_details", None) or {}
    inner = next((detail for detail in details.values() if isinstance(detail, Exception)), None)
    return error if inner is None else _cause(inner)
