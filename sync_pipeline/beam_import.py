"""The import of what a run needs, which is most of the time of a start."""

from __future__ import annotations

import contextlib
import gc
import logging
import sys
from collections.abc import Iterator, Sequence

# Beam imports its connectors to BigQuery, Pub/Sub and MongoDB and its client of Dataflow, and goes without them where
# what they need is not installed. They are a quarter of all that a run imports. Our own clients do not depend on them.
_UNUSED_HERE = ("apache_beam.io.gcp.bigquery", "bson", "google.cloud.dataflow")

# It warns of a connector that nobody uses here.
_MONGODB_CONNECTOR = "apache_beam.io.mongodbio"


def import_beam(argv: Sequence[str]) -> None:
    """Import Beam, without what no local run uses, unless a command line names Dataflow."""
    if "apache_beam" in sys.modules or any("dataflow" in argument.lower() for argument in argv):
        return
    # One that somebody has imported costs nothing, and must stay the same module.
    missing = [name for name in _UNUSED_HERE if name not in sys.modules]
    sys.modules.update(dict.fromkeys(missing))  # type: ignore[arg-type]  # None: a module that does not exist
    warnings = logging.getLogger(_MONGODB_CONNECTOR)
    was_disabled, warnings.disabled = warnings.disabled, True
    try:
        import apache_beam  # noqa: F401
    finally:
        warnings.disabled = was_disabled
        # Whoever imports them later finds them.
        for name in missing:
            del sys.modules[name]


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
