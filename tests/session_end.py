"""The end of a test session that has no sense any more."""

import sys
from typing import NoReturn

import pytest


def end_session(request: pytest.FixtureRequest, reason: str) -> NoReturn:
    """Fail the test that asks for the fixture, and end the session with exit status 2, the reason shown."""
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\n{reason}", file=sys.stderr, flush=True)
    # Not pytest.exit: in a process of xdist it becomes an INTERNALERROR, which hides the reason.
    request.session.shouldstop = reason
    pytest.fail(reason, pytrace=False)
