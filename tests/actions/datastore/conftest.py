# SPDX-License-Identifier: Apache-2.0
"""Images to register, and a web server to fetch them from."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest


class Web:
    """Serves bytes under names. `declared` is a Content-Length that is not the truth."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[bytes, int]] = {}
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self._files))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def put(self, name: str, data: bytes, declared: int | None = None) -> str:
        """Answers the URL."""
        self._files[f"/{name}"] = (data, len(data) if declared is None else declared)
        return f"http://127.0.0.1:{self._server.server_port}/{name}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(files: dict[str, tuple[bytes, int]]) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._serve(body=True)

        def do_HEAD(self) -> None:
            self._serve(body=False)

        def _serve(self, *, body: bool) -> None:
            data, declared = files.get(self.path, (b"", -1))
            self.send_response(404 if declared < 0 else 200)
            self.send_header("Content-Length", str(max(declared, 0)))
            self.end_headers()
            if body:
                self._send(data)

        def _send(self, data: bytes) -> None:
            try:
                self.wfile.write(data)
            except ConnectionError:
                # who asks for the head of an image only leaves before its end
                self.close_connection = True

        def log_message(self, *_args: Any) -> None:
            """Tests look at what arrived."""

    return Handler


@pytest.fixture
def web() -> Iterator[Web]:
    server = Web()
    yield server
    server.close()
