from __future__ import annotations

import http.server
import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import google.auth
import pytest
from apache_beam.io.gcp import gce_metadata_util
from google.auth.credentials import AnonymousCredentials

from sandbox.discovery import read_body
from sync_pipeline.output.cloud_log import CloudLog
from sync_pipeline.output.run_log import fields

LOGGER = logging.getLogger("sync_pipeline.publishing.publish")


class Server(http.server.HTTPServer):
    """Cloud Logging: it keeps the bodies of requests, and answers each by the next of `answers`, then by 200."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[dict[str, Any]] = []
        self.answers: list[int] = []

    @property
    def log(self) -> CloudLog:
        return CloudLog("p", "r", "job", f"http://127.0.0.1:{self.server_port}/v2/entries:write")


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        self.server.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.answers.pop(0) if self.server.answers else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Server]:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(google.auth, "default", lambda scopes: (AnonymousCredentials(), "p"))
    monkeypatch.setattr(gce_metadata_util, "fetch_dataflow_job_id", lambda: "2026-11-22_1")
    with Server() as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.01,))
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def report(rows: int = 7) -> None:
    LOGGER.info("sync report: merged", extra=fields({"status": "published", "rows_read": rows}))


def test_lines_with_fields_are_written(server: Server) -> None:
    with server.log.writing():
        LOGGER.info("staged")
        report()
        LOGGER.error("sync failed: gone", extra=fields({"status": "failed", "seconds": None}))
    report()
    [body] = server.bodies
    assert read_body("logging.v2", "WriteLogEntriesRequest", body) == (body, [])
    assert body["logName"] == "projects/p/logs/sync-to-bigquery"
    labels = {"project_id": "p", "region": "r", "job_name": "job", "job_id": "2026-11-22_1", "step_id": ""}
    assert body["resource"] == {"type": "dataflow_step", "labels": labels}
    first, last = body["entries"]
    assert (first["severity"], last["severity"]) == ("INFO", "ERROR")
    assert first["jsonPayload"] == {
        "message": "sync report: merged",
        "sync": {"status": "published", "rows_read": 7},
    }
    assert last["jsonPayload"]["sync"] == {"status": "failed"}


def test_a_block_without_reports_asks_for_nothing(server: Server) -> None:
    with server.log.writing():
        LOGGER.info("staged")
    assert server.bodies == []


def test_a_request_whose_answer_is_lost_is_repeated_with_the_same_ids(server: Server) -> None:
    server.answers = [503]
    with server.log.writing():
        report()
    first, second = server.bodies
    assert first == second


def test_reports_of_many_tables_take_several_requests(server: Server) -> None:
    with server.log.writing():
        for number in range(501):
            report(number)
    assert [len(body["entries"]) for body in server.bodies] == [500, 1]


def test_a_run_does_not_fail_by_its_log(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    server.answers = [403, 403]
    with server.log.writing():
        report()
    assert caplog.messages[-1] == "Cloud Logging did not take the fields of this run's reports (HTTPError)"
