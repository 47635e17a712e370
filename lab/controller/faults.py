# SPDX-License-Identifier: Apache-2.0
"""Misfortune at the REST boundary, and controllers that do not serve."""

from __future__ import annotations

import re
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any, Callable

FAIL_BEFORE = "fail_before"
LOSE_REPLY = "lose_reply"
HANG = "hang"
HANG_AFTER = "hang_after"
UNAVAILABLE = "unavailable"
UNAUTHORIZED = "unauthorized"
DELAY = "delay"
CALL_BEFORE = "call_before"
CALL_AFTER = "call_after"
_ACTIONS = (
    FAIL_BEFORE,
    LOSE_REPLY,
    HANG,
    HANG_AFTER,
    UNAVAILABLE,
    UNAUTHORIZED,
    DELAY,
    CALL_BEFORE,
    CALL_AFTER,
)

PROXY_PAGE = (
    b"<html><head><title>503 Service Unavailable</title></head>"
    b"<body><h1>503 Service Unavailable</h1>No server is available to handle this request.</body></html>"
)


@dataclass
class Fault:
    """What happens to some requests.

    ``fail_before``: connection reset, no effect. ``lose_reply``: effect, then reset. ``hang``/``hang_after``:
    silence before/after the effect. ``unavailable``: a proxy's 503 page. ``unauthorized``: 401.
    ``delay``: ``seconds`` more. ``call_before``/``call_after``: ``callback(method, path)`` before/after the
    effect. It applies from the ``nth`` matching request on, for ``times`` requests. ``path`` is a regular
    expression that is searched in the path without the query; ``method`` may be empty for all.
    """

    action: str
    method: str = ""
    path: str = ""
    nth: int = 1
    times: int = 1
    seconds: float = 0.0
    callback: Callable[[str, str], Any] | None = None
    seen: int = 0
    hits: int = 0

    def applies(self, method: str, path: str) -> bool:
        if (self.method and self.method != method) or not re.search(self.path, path):
            return False
        self.seen += 1
        if self.seen < self.nth or self.hits >= self.times:
            return False
        self.hits += 1
        return True


class Faults:
    """Plan of faults of one server. ``silent``: accept everything and answer nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._planned: list[Fault] = []
        self._released = threading.Event()
        self.silent = False
        self.latency = 0.0

    def add(self, action: str, **how: Any) -> Fault:
        """Plan a fault; the arguments are those of Fault."""
        if action not in _ACTIONS:
            raise ValueError(f"unknown fault {action}")
        fault = Fault(action, **how)
        with self._lock:
            self._planned.append(fault)
        return fault

    def clear(self) -> None:
        """Forget the plan and let go what hangs."""
        with self._lock:
            self._planned.clear()
        self.silent = False
        self.latency = 0.0
        self._released.set()
        self._released = threading.Event()

    def take(self, method: str, path: str) -> Fault | None:
        """The fault of this request."""
        with self._lock:
            hit = [fault for fault in self._planned if fault.applies(method, path)]
        return hit[0] if hit else None

    def hang(self, closing: threading.Event) -> None:
        """Return when the plan is cleared or the server closes."""
        released = self._released
        while not released.wait(0.02) and not closing.is_set():
            pass


class StandbyServer:
    """A controller host that does not serve.

    ``refuse``: nothing listens. ``unavailable``: a proxy answers 503. ``silent``: accepts and says nothing.
    """

    def __init__(self, mode: str = "refuse", host: str = "127.0.0.1") -> None:
        if mode not in ("refuse", "unavailable", "silent"):
            raise ValueError(f"unknown mode {mode}")
        self.mode = mode
        self._socket = socket.socket()
        self._socket.bind((host, 0))
        self.host, self.port = self._socket.getsockname()
        self._held: list[socket.socket] = []
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def start(self) -> StandbyServer:
        if self.mode != "refuse":
            self._socket.listen()
            self._socket.settimeout(0.05)
            self._thread = threading.Thread(target=self._serve, daemon=True)
            self._thread.start()
        return self

    def stop(self) -> None:
        self._closing.set()
        if self._thread:
            self._thread.join()
        for one in [self._socket, *self._held]:
            one.close()

    def _serve(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._socket.accept()
            except socket.timeout:
                continue
            self._held.append(connection)
            if self.mode == "unavailable":
                connection.settimeout(1)
                connection.recv(65536)
                head = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/html\r\n"
                head += f"Content-Length: {len(PROXY_PAGE)}"
                connection.sendall(head.encode() + b"\r\nConnection: close\r\n\r\n" + PROXY_PAGE)
                connection.shutdown(socket.SHUT_WR)

    def __enter__(self) -> StandbyServer:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()


def pause(seconds: float, closing: threading.Event) -> None:
    """Sleep, but not longer than the server lives."""
    end = time.monotonic() + seconds
    while not closing.is_set() and time.monotonic() < end:
        closing.wait(min(0.05, max(0.0, end - time.monotonic())))
