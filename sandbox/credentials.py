"""Throw-away Google credentials, so that Google's clients take their usual path.

Without any, they look for a metadata server and wait for its time-outs, some twenty seconds in every process.
"""

import json
from pathlib import Path


def write(folder: Path) -> Path:
    """Write application default credentials that no server would accept, readable by the owner only; return their path.

    They are a user's, with an access token that is valid for ever, because this is the one kind for which Google's
    libraries then contact nobody: a service account asks for a token, and looks up its regional access boundary at
    iamcredentials.googleapis.com whatever its token endpoint is.
    """
    credentials = {
        "type": "authorized_user",
        "client_id": "sandbox",
        "client_secret": "sandbox",
        "refresh_token": "sandbox",
        "token": "sandbox",
        "expiry": "2999-12-31T23:59:59Z",
    }
    path = folder / "credentials.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps(credentials, indent=2))
    return path
