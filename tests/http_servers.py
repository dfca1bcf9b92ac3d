"""Servers of HTTP on this machine, each as a test needs it."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

# What answers a request: it gets method, path and body, and returns the status and a body, as bytes or for JSON.
Answer = Callable[[str, str, bytes], tuple[int, Any]]


@contextlib.contextmanager
def answering(answer: Answer) -> Iterator[str]:
    """Run a server, and yield its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def _answer(self) -> None:
            given = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body = answer(self.command, self.path, given)
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = _answer  # noqa: N815 - http.server's names

        def log_message(self, *_words: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        # By default the end waits for half a second.
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def refusing() -> Iterator[tuple[str, list[Any]]]:
    """Run a server that refuses every request; yield its URL, and the method, path and body of each request."""
    sent: list[Any] = []

    def refuse(method: str, path: str, body: bytes) -> tuple[int, Any]:
        sent.append((method, path.partition("?")[0], json.loads(body or b"{}")))
        return 400, {"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}}

    with answering(refuse) as url:
        yield url, sent
