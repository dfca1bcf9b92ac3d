"""What the readers of a peer share; they run in the peers' environment, as programs in this folder."""

import json
import os
import resource
import time

from psycopg2.extensions import parse_dsn


def server_url(scheme: str = "postgresql") -> str:
    """Return the address of the benchmark's PostgreSQL."""
    address = parse_dsn(os.environ["SANDBOX_POSTGRESQL_DSN"])
    return "{scheme}://{user}:{password}@{host}:{port}/{dbname}".format(scheme=scheme, **address)


class Reading:
    """A read from its beginning; measures seconds, and the CPU seconds of this process and its ended children."""

    def __init__(self) -> None:
        self._began, self._before = time.monotonic(), _cpu_seconds()

    def end(self, rows: int) -> None:
        """Print the same result as our readers, as JSON."""
        seconds = time.monotonic() - self._began
        print(json.dumps({"rows": rows, "seconds": seconds, "cpu_seconds": _cpu_seconds() - self._before}))


def _cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
