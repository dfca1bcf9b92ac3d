"""What the lines of a Dataflow worker say, as fields in Cloud Logging: `jsonPayload.sync.…`.

Beam's Python workers send the text of a log record alone (`apache_beam.runners.worker.log_handler`, Beam 2.77; to send
more is an open request, https://github.com/apache/beam/issues/30978). So each line that has fields is written once
more, by Cloud Logging's own API, into a log of its own.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sync_pipeline.output.run_log import FIELDS, severity_of

_LOGGER = logging.getLogger(__name__)

LOG = "sync-to-bigquery"
_SCOPE = "https://www.googleapis.com/auth/logging.write"
_TIMEOUT_SECONDS = 10
_ATTEMPTS = 2
# Far below the limits of a request: 10 MB. https://cloud.google.com/logging/quotas
_ENTRIES_A_REQUEST = 500


@dataclass(frozen=True)
class CloudLog:
    """Where a job's workers write, and the job as Cloud Logging names it.

    Attributes:
        url: of the method. https://cloud.google.com/logging/docs/reference/v2/rest/v2/entries/write
    """

    project: str
    region: str
    job_name: str
    url: str = "https://logging.googleapis.com/v2/entries:write"

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Write the lines with fields that are logged within the block, at its end. A failure is only logged."""
        collector = _Collector()
        logger = logging.getLogger("sync_pipeline")
        logger.addHandler(collector)
        try:
            yield
        finally:
            logger.removeHandler(collector)
            if collector.entries:
                self._write(collector.entries)

    def _write(self, entries: Sequence[Mapping[str, Any]]) -> None:
        try:
            import google.auth
            from google.auth.transport.requests import AuthorizedSession

            resource = self._resource()
            credentials, _ = google.auth.default(scopes=[_SCOPE])
            with AuthorizedSession(credentials) as session:
                for start in range(0, len(entries), _ENTRIES_A_REQUEST):
                    self._post(session, resource, entries[start : start + _ENTRIES_A_REQUEST])
        except Exception as error:  # noqa: BLE001 - the run must not fail by its log
            _LOGGER.warning("Cloud Logging did not take the fields of this run's reports (%s)", type(error).__name__)

    def _post(self, session: Any, resource: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> None:
        body: dict[str, Any] = {
            "logName": f"projects/{self.project}/logs/{LOG}",
            "resource": resource,
            "entries": entries,
            "partialSuccess": True,
        }
        for attempt in range(1, _ATTEMPTS + 1):
            # A repeated entry has the same id and time, so that Cloud Logging keeps one.
            try:
                session.post(self.url, json=body, timeout=_TIMEOUT_SECONDS).raise_for_status()
            except Exception:
                if attempt == _ATTEMPTS:
                    raise
            else:
                return

    def _resource(self) -> dict[str, Any]:
        from apache_beam.io.gcp.gce_metadata_util import fetch_dataflow_job_id

        labels = {
            "project_id": self.project,
            "region": self.region,
            "job_name": self.job_name,
            "job_id": fetch_dataflow_job_id(),
            "step_id": "",
        }
        return {"type": "dataflow_step", "labels": labels}


class _Collector(logging.Handler):
    """Keeps the records that have fields, as entries of Cloud Logging; only those of its own thread."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[dict[str, Any]] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        said = getattr(record, FIELDS, None)
        if said is None or threading.get_ident() != self._thread:
            return
        self.entries.append(
            {
                "insertId": uuid.uuid4().hex,
                "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
                "severity": severity_of(record),
                "jsonPayload": {"message": record.getMessage(), FIELDS: said},
            }
        )
