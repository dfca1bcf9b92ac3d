"""The import of what a run needs, which is most of the time of a start."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator, Sequence

# Beam imports its connectors to BigQuery and Pub/Sub, with their clients, and goes without them where these are not
# installed. They are a sixth of all that a run imports. Our own client of BigQuery does not depend on them.
_UNUSED_HERE = "apache_beam.io.gcp.bigquery"


def import_beam(argv: Sequence[str]) -> None:
    """Import Beam, without what no local run uses, unless a command line names Dataflow."""
    if "apache_beam" in sys.modules or any("dataflow" in argument.lower() for argument in argv):
        return
    sys.modules[_UNUSED_HERE] = None  # type: ignore[assignment]  # one that does not exist
    try:
        import apache_beam  # noqa: F401
    finally:
        # Whoever imports it later finds it.
        del sys.modules[_UNUSED_HERE]


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Import modules with garbage collection off: they create many objects, all of which stay."""
    if "apache_beam" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()
