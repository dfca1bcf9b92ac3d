"""Files that parameters name, in Cloud Storage or on this machine."""

from __future__ import annotations

import re

from sync_pipeline.errors import ConfigError, SourceUnavailableError


def parse_location(text: str) -> str:
    """Return the location of a file, if its form is right.

    Raises:
        ValueError: it is neither `gs://BUCKET/OBJECT` nor a path.
    """
    if not re.fullmatch("gs://[^/]+/.+", text) and "://" in text:
        raise ValueError("write gs://BUCKET/OBJECT, or the path of a file")
    return text


def read_file(parameter: str, location: str, max_bytes: int) -> bytes:
    """Return the content of `gs://BUCKET/OBJECT` or of a path.

    Raises:
        ConfigError: the file does not exist, cannot be read or is too large. Names the parameter and the location.
        SourceUnavailableError: Cloud Storage could not be reached, or failed.
    """
    from apache_beam.io.filesystem import CompressionTypes
    from apache_beam.io.filesystems import FileSystems
    from google.api_core.exceptions import ClientError, GoogleAPIError, TooManyRequests
    from google.auth.exceptions import GoogleAuthError, TransportError
    from requests import RequestException

    try:
        with FileSystems.open(location, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            content: bytes = file.read(max_bytes + 1)
    except (TooManyRequests, TransportError, RequestException) as error:
        raise _unavailable(parameter, location, error) from None
    except (ClientError, GoogleAuthError, OSError, ValueError) as error:
        kind = type(error).__name__
        problem = f"{parameter}: {location} cannot be read ({kind}): check its name and permissions"
        raise ConfigError([problem]) from None
    except GoogleAPIError as error:
        raise _unavailable(parameter, location, error) from None
    if len(content) > max_bytes:
        raise ConfigError([f"{parameter}: {location} is larger than {max_bytes:,} bytes"])
    return content


def _unavailable(parameter: str, location: str, error: Exception) -> SourceUnavailableError:
    return SourceUnavailableError(
        f"{parameter}: Cloud Storage could not be reached for {location} ({type(error).__name__})"
    )
