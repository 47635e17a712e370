# SPDX-License-Identifier: Apache-2.0
"""What the contract is tested on, and what the tests say often."""

from __future__ import annotations

import itertools
import os
import re
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from lab.controller import ControllerServer
from lab.controller.names import key
from lab.devices_protocol import NoDevices
from linstor_helper.linstor_api import LinstorController
from linstor_helper.units import Size

REST_VERSIONS = ("1.25.0", "1.26.0", "1.28.0", "1.29.1")
OWNER = {"Aux/one/instance": "one", "Aux/one/datastore": "100"}
SIZE = Size.of_mib(8)
_numbers = itertools.count(1)


def open_controller(*urls: str, **options: Any) -> LinstorController:
    return LinstorController(urls, **{"connect_timeout": 2.0, "timeout": 5.0, **options})


class Subject:
    """A controller of the port and the names of what was made with it."""

    def __init__(self, controller: LinstorController, group: str) -> None:
        self.controller = controller
        self.group = group
        self.made: list[str] = []

    def name(self) -> str:
        self.made.append(f"OneTest-{os.getpid()}-{next(_numbers)}")
        return self.made[-1]

    def spawn(self, size: Size = SIZE) -> str:
        name = self.name()
        self.controller.spawn(self.group, name, size, OWNER)
        return name

    def diskful(self, name: str) -> set[str]:
        return {one.node for one in self.controller.resources(name) if not one.diskless}

    def other_node(self, name: str) -> str:
        """An online node without any resource of that name."""
        taken = {one.node for one in self.controller.resources(name)}
        return next(
            one.name for one in self.controller.nodes() if one.status == "ONLINE" and one.name not in taken
        )


def calls(server: ControllerServer, since: int = 0) -> list[str]:
    """``METHOD path?query`` of the requests, without /v1."""
    return [
        f"{one.method} {one.path[len('/v1') :]}{'?' + one.query if one.query else ''}"
        for one in server.requests[since:]
    ]


def open_device(server: ControllerServer, name: str, node: str) -> None:
    """A process on the node opens volume 0 for writing."""
    devices = server.cluster.devices
    assert isinstance(devices, NoDevices)
    devices.open(f"{key(name)}/0", node)


def flags(server: ControllerServer, name: str) -> dict[str, set[str]]:
    """Node -> flags, as the cluster has them."""
    return {one.node: set(one.flags) for one in server.cluster.rd(name).resources.values()}


def changes(server: ControllerServer) -> Sequence[str]:
    """The requests that may have changed something."""
    return [one for one in calls(server) if not one.startswith("GET")]


def json_reply(body: bytes, status: bytes = b"200 OK") -> bytes:
    head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    return head % (status, len(body)) + body


@dataclass
class Speaker:
    """``heard`` are the requests, one of each connection."""

    url: str
    heard: list[bytes] = field(default_factory=list)

    @property
    def asked(self) -> int:
        return len(self.heard)


def _request(connection: socket.socket) -> bytes:
    """Head and body."""
    data = connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\nContent-Length: (\d+)", head)
    while length and len(body) < int(length.group(1)):
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


@contextmanager
def speaking(*replies: bytes) -> Iterator[Speaker]:
    """A service that answers each connection with the next bytes, the last for ever, and ends it."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.05)
    ending = threading.Event()
    speaker = Speaker(f"127.0.0.1:{listener.getsockname()[1]}")

    def serve() -> None:
        while not ending.is_set():
            try:
                connection, _ = listener.accept()
            except socket.timeout:
                continue
            with connection:
                connection.settimeout(1)
                request = _request(connection)
                connection.sendall(replies[min(speaker.asked, len(replies) - 1)])
                speaker.heard.append(request)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield speaker
    finally:
        ending.set()
        thread.join()
        listener.close()
