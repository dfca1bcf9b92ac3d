"""Fake Google credentials, so that Google's clients start as usual.

Without credentials the clients look for a metadata server and wait about twenty seconds, in every process.
"""

import json
from pathlib import Path


def write(folder: Path) -> Path:
    """Write application default credentials that no server would accept, readable by the owner only; return their path.

    These are user credentials with an access token that never expires. Only for this kind Google's libraries send no
    requests. A service account requests a token, and looks up its regional access boundary at
    iamcredentials.googleapis.com even if its token endpoint is elsewhere.
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
