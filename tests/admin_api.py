"""A server that answers as the APIs of Cloud SQL and AlloyDB do; what it says is checked by Google's documents."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import google.auth
import pytest
from google.auth.credentials import Credentials

from sandbox.discovery import read_body
from sync_pipeline.sources.postgresql import managed

TOKEN = "token-of-the-account"


class Account(Credentials):
    """Whoever the job runs as; its token is `login` when it is asked for with a scope of logins."""

    def __init__(self, login: str) -> None:
        super().__init__()
        self._login = login
        self.scopes: list[str] = []

    def refresh(self, request: object) -> None:
        self.token = self._login if any(scope.endswith(".login") for scope in self.scopes) else TOKEN


@dataclass
class AdminApi:
    """What the server answers, by path, and the paths it was asked for. A status alone is a refusal."""

    answers: dict[str, Mapping[str, Any] | int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def cloud_sql(self, project: str, instance: str, settings: Mapping[str, Any]) -> None:
        assert read_body("sqladmin.v1", "ConnectSettings", settings)[1] == []
        self.answers[f"/v1/projects/{project}/instances/{instance}/connectSettings"] = settings

    def alloydb(self, instance: str, information: Mapping[str, Any]) -> None:
        assert read_body("alloydb.v1", "ConnectionInfo", information)[1] == []
        self.answers[f"/v1/{instance}/connectionInfo"] = information


@contextmanager
def admin_api(monkeypatch: pytest.MonkeyPatch, login: str = "login") -> Iterator[AdminApi]:
    """Serve both APIs, and let the product find them and an account."""
    api = AdminApi()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            api.asked.append(self.path)
            authorised = self.headers["Authorization"] == f"Bearer {TOKEN}"
            answer = api.answers.get(self.path, 404) if authorised else 401
            body = b"{}" if isinstance(answer, int) else json.dumps(answer).encode()
            self.send_response(answer if isinstance(answer, int) else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    def default(scopes: list[str]) -> tuple[Account, None]:
        account = Account(login)
        account.scopes = scopes
        return account, None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    monkeypatch.setattr(managed, "CLOUD_SQL_API", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(managed, "ALLOYDB_API", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(google.auth, "default", default)
    managed.find_instance.cache_clear()
    try:
        yield api
    finally:
        managed.find_instance.cache_clear()
        server.shutdown()
        server.server_close()
        thread.join()
