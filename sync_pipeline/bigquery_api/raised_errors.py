"""The errors that statements of this package raise: their text in the statement, found again in BigQuery's message."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sync_pipeline.errors import ConcurrentSyncError, RecordError, SchemaError, SourceQueryError, SyncError

_KINDS: Mapping[str, type[SyncError]] = {
    kind.__name__: kind for kind in (ConcurrentSyncError, RecordError, SchemaError, SourceQueryError)
}

# BigQuery includes the text somewhere in its message. Neither the name of the kind nor the sentence has the end mark.
RAISED = re.compile(rf"sync:({'|'.join(_KINDS)}): (.*?) :sync")


def raised_text(kind: type[SyncError], sentence: str) -> str:
    """Return the text by which a statement raises an error of `kind`, one of `_KINDS`."""
    return f"sync:{kind.__name__}: {sentence} :sync"


def raised_error(message: str) -> SyncError | None:
    """Return the error that a statement of this package raised, from BigQuery's `message`; None if it raised none."""
    found = RAISED.search(message)
    return _KINDS[found[1]](found[2]) if found else None
