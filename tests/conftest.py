"""What all tests have in common."""

from collections.abc import Iterator

import pytest

from tests import fork_server
from tests.beam_caches import beam_caches


def pytest_configure() -> None:
    fork_server.share()


@pytest.fixture(scope="session", autouse=True)
def _beam_caches() -> Iterator[None]:
    with beam_caches():
        yield
