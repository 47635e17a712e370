# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 server of a controller: keep-alive, gzip, TLS with redirect, a record of every request, faults."""

from __future__ import annotations

import contextlib
import gzip
import http.server
import itertools
import json
import socket
import socketserver
import struct
import threading
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from lab.controller import faults
from lab.controller.cluster import Cluster
from lab.controller.dying import ControllerDied
from lab.controller.props import is_true
from lab.controller.rest import Response, RestApi, Unanswered, unauthorized
from lab.controller.settings import AUTO_HTTPS
from lab.controller.tls import TlsFiles


@dataclass
class RequestRecord:
    """One request as it came in and what went out. ``status`` is 0 when nothing was answered."""

    method: str
    path: str
    query: str
    body: Any
    connection_id: int
    client_port: int
    status: int = 0
    bytes_sent: int = 0
    reply: bytes = b""
    seconds: float = 0.0
    headers: dict[str, str] | None = None


class ControllerServer:
    """Serves a cluster on loopback; ``requests`` is in order of arrival, ``connections`` counts those of TCP.

    With ``tls`` a second port speaks HTTPS, and plain HTTP redirects ``/v1`` there; with ``redirect`` False
    only after the controller property REST/AutoHTTPS was switched on.
    """

    def __init__(
        self,
        cluster: Cluster,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: TlsFiles | None = None,
        *,
        redirect: bool = True,
    ) -> None:
        self.cluster = cluster
        self.api = RestApi(cluster)
        self.faults = faults.Faults()
        self.host = host
        self.port = port
        self.https_port = 0
        self.tls = tls
        self.redirect = redirect
        self.requests: list[RequestRecord] = []
        self.connections = 0
        self.closing = threading.Event()
        self._connection_ids = itertools.count(1)
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._servers: list[_Listener] = []

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def https_url(self) -> str:
        return f"https://{self.host}:{self.https_port}"

    def start(self) -> ControllerServer:
        """Listen; may be called again after ``stop``, on the same port: a restarted controller."""
        self.closing.clear()
        plain = _Listener(self, self.port, None)
        self.port = plain.server_address[1]
        self._servers = [plain]
        if self.tls is not None:
            secure = _Listener(self, self.https_port, self.tls)
            self.https_port = secure.server_address[1]
            self._servers.append(secure)
        for one in self._servers:
            threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def stop(self) -> None:
        """Close the ports and all connections."""
        self.closing.set()
        for one in self._servers:
            one.shutdown()
            one.server_close()
        self._servers = []
        with self._lock:
            for connection in self._sockets:
                close_hard(connection)
            self._sockets.clear()

    def __enter__(self) -> ControllerServer:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def opened(self, connection: socket.socket) -> int:
        with self._lock:
            self.connections += 1
            self._sockets.add(connection)
            return next(self._connection_ids)

    def closed(self, connection: socket.socket) -> None:
        with self._lock:
            self._sockets.discard(connection)

    def must_redirect(self) -> bool:
        if self.tls is None:
            return False
        return self.redirect or is_true(self.cluster.settings.props.get(AUTO_HTTPS))


def close_hard(connection: socket.socket) -> None:
    """Reset instead of an orderly end."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        # the peer was faster
        pass
    connection.close()


class _Listener(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, owner: ControllerServer, port: int, tls: TlsFiles | None) -> None:
        self.owner = owner
        self.secure = tls is not None
        self._context = tls.context() if tls else None
        super().__init__((owner.host, port), _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context is not None:
            # the handshake is made by the connection's own thread, at its first read
            connection = self._context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that vanish are part of the game."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Listener

    def setup(self) -> None:
        super().setup()
        self.owner = self.server.owner
        self.connection_id = self.owner.opened(self.connection)

    def finish(self) -> None:
        self.owner.closed(self.connection)
        # a connection that was reset on purpose has nothing to flush
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, *_args: Any) -> None:
        """The record of requests is the log."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _serve(self) -> None:
        started = time.monotonic()
        split = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        record = RequestRecord(
            self.command,
            unquote(split.path),
            split.query,
            _decoded(body),
            self.connection_id,
            self.client_address[1],
            headers={name.lower(): value for name, value in self.headers.items()},
        )
        self.owner.requests.append(record)
        try:
            self._answer(record, body)
        except (Unanswered, _Dropped):
            self.close_connection = True
            close_hard(self.connection)
        finally:
            record.seconds = time.monotonic() - started

    def _answer(self, record: RequestRecord, body: bytes) -> None:
        plan, closing = self.owner.faults, self.owner.closing
        if plan.silent:
            plan.hang(closing)
            raise _Dropped
        fault = plan.take(record.method, record.path)
        action = fault.action if fault else ""
        faults.pause(plan.latency + (fault.seconds if fault else 0.0), closing)
        if fault and action == faults.CALL_BEFORE and fault.callback:
            fault.callback(record.method, record.path)
        if action == faults.FAIL_BEFORE:
            raise _Dropped
        if action == faults.HANG:
            plan.hang(closing)
            raise _Dropped
        if action == faults.UNAVAILABLE:
            self._send(record, Response(503, faults.PROXY_PAGE, "text/html"))
            return
        if action == faults.UNAUTHORIZED:
            self._send(record, unauthorized())
            return
        response = self._respond(record, body)
        self.owner.cluster.satellites.wait(closing)
        if fault and action == faults.CALL_AFTER and fault.callback:
            fault.callback(record.method, record.path)
        if action == faults.HANG_AFTER:
            plan.hang(closing)
        if action in (faults.LOSE_REPLY, faults.HANG_AFTER) or closing.is_set():
            raise _Dropped
        self._send(record, response)

    def _respond(self, record: RequestRecord, body: bytes) -> Response:
        if not self.server.secure and self.owner.must_redirect() and record.path.startswith("/v1"):
            location = f"{self.owner.https_url}{self.path}"
            return Response(302, b"", "text/plain", {"Location": location})
        try:
            return self.owner.api.handle(
                record.method, record.path, record.query, body, record.headers or {}, self.client_address[0]
            )
        except Unanswered:
            self.owner.faults.hang(self.owner.closing)
            raise
        except ControllerDied:
            self.owner.cluster.dying.start_again()
            raise _Dropped from None

    def _send(self, record: RequestRecord, response: Response) -> None:
        payload = response.body
        record.status, record.reply = response.status, payload
        if response.stream is not None:
            self._send_stream(record, response)
            return
        headers = {"Content-Type": response.content_type, **response.headers}
        if payload and "gzip" in self.headers.get("Accept-Encoding", ""):
            payload = gzip.compress(payload, 1)
            headers["Content-Encoding"] = "gzip"
        headers["Content-Length"] = str(len(payload))
        head = self._head(response.status, headers)
        message = head + (b"" if self.command == "HEAD" else payload)
        # the record is complete before the client can act on the reply
        record.bytes_sent = len(message)
        try:
            self.wfile.write(message)
        except OSError:
            record.bytes_sent = 0
            raise _Dropped from None

    def _head(self, status: int, headers: dict[str, str]) -> bytes:
        phrase = self.responses.get(status, ("", ""))[0]
        lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
        if self.close_connection:
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def _send_stream(self, record: RequestRecord, response: Response) -> None:
        head = self._head(200, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"})
        assert response.stream is not None
        events = response.stream.events
        try:
            self.wfile.write(head)
            for event in events:
                if self.owner.closing.is_set():
                    break
                # a comment keeps the line open and finds out whether the client is still there
                data = event or b":\n\n"
                self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                record.bytes_sent += len(data)
        except OSError:
            # the client has gone
            pass
        finally:
            events.close()  # type: ignore[attr-defined]
        raise _Dropped


class _Dropped(Exception):
    """End the connection without (more of) an answer."""


def _decoded(body: bytes) -> Any:
    if not body:
        return None
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")
