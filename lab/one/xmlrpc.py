# SPDX-License-Identifier: Apache-2.0
"""The XML-RPC interface of oned, as far as a storage driver uses it.

Replies are arrays: ``[True, value, 0]``, or ``[False, message, code, object id, -1]`` for a refusal.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from socketserver import ThreadingMixIn
from typing import Any
from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer

from lab.one import documents
from lab.one.inventory import Inventory
from lab.one.version import OneVersion

AUTHENTICATION = 0x0100
NO_EXISTS = 0x0400
RPC_API = 0x1000

_KINDS = {"vm": "virtual machine", "datastore": "datastore", "image": "image", "host": "host"}


@dataclass
class RpcFaults:
    """What goes wrong at the interface.

    `delay` seconds before every answer; `reset`, `hang` and `proxy_page` count the next requests that
    are cut off without an answer, never answered, or answered by the error page of a proxy.
    """

    delay: float = 0.0
    reset: int = 0
    hang: int = 0
    proxy_page: int = 0


@dataclass(frozen=True)
class RpcRequest:
    method: str
    arguments: tuple[Any, ...]
    ok: bool


class _Server(ThreadingMixIn, SimpleXMLRPCServer):
    daemon_threads = True
    allow_reuse_address = True
    owner: XmlRpc


class _Handler(SimpleXMLRPCRequestHandler):
    protocol_version = "HTTP/1.1"
    rpc_paths = ("/RPC2",)
    server: _Server

    def do_POST(self) -> None:
        faults = self.server.owner.take_faults()
        if faults.hang:
            self.server.owner.stopping.wait()
        if faults.hang or faults.reset:
            self.close_connection = True
            return
        time.sleep(faults.delay)
        if faults.proxy_page:
            self.send_error(502, "Bad Gateway")
            self.close_connection = True
            return
        super().do_POST()

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet: requests are recorded, not printed."""


class XmlRpc:
    """The server; `start` before use, `url` is what ONE_XMLRPC holds.

    `session` is ``user:password``, which every call has to bring. `answers` overrides documents:
    (kind, id) -> XML, used when captured calls are replayed.
    """

    def __init__(self, inventory: Inventory, version: OneVersion, session: str) -> None:
        self._inventory = inventory
        self._version = version
        self.session = session
        self.faults = RpcFaults()
        self.answers: dict[tuple[str, int], str] = {}
        self.requests: list[RpcRequest] = []
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._port = 0
        self._server: _Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/RPC2"

    def start(self) -> None:
        """Listen; after a `stop` on the same port as before."""
        self.stopping.clear()
        server = _Server(("127.0.0.1", self._port), requestHandler=_Handler, allow_none=True)
        server.owner = self
        self._port = server.server_address[1]
        for kind in _KINDS:
            server.register_function(self._info(kind), f"one.{kind}.info")
        server.register_function(self._host_pool, "one.hostpool.info")
        server.register_function(self._system_version, "one.system.version")
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        self._server = server

    def stop(self) -> None:
        """Stop listening: connections are refused from now on."""
        self.stopping.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def take_faults(self) -> RpcFaults:
        """The faults for one request; the counters go down."""
        with self._lock:
            now = RpcFaults(self.faults.delay)
            for name in ("reset", "hang", "proxy_page"):
                left = getattr(self.faults, name)
                if left:
                    setattr(self.faults, name, left - 1)
                    setattr(now, name, 1)
                    break
            return now

    def _answer(self, method: str, arguments: tuple[Any, ...], make: Callable[[], list[Any]]) -> list[Any]:
        if not arguments or arguments[0] != self.session:
            text = f"[{method}] User couldn't be authenticated, aborting call."
            reply: list[Any] = [False, text, AUTHENTICATION, -1, -1]
        else:
            with self._inventory.lock:
                reply = make()
        with self._lock:
            self.requests.append(RpcRequest(method, arguments[1:], bool(reply[0])))
        return reply

    def _info(self, kind: str) -> Callable[..., list[Any]]:
        method = f"one.{kind}.info"

        def info(*arguments: Any) -> list[Any]:
            return self._answer(method, arguments, lambda: self._document(method, kind, arguments[1:]))

        return info

    def _document(self, method: str, kind: str, arguments: tuple[Any, ...]) -> list[Any]:
        if not arguments or type(arguments[0]) is not int:
            return [False, f"[{method}] the object id has to be an integer", RPC_API, -1, -1]
        wanted = arguments[0]
        xml = self.answers.get((kind, wanted)) or self._render(kind, wanted)
        if xml is None:
            text = f"[{method}] Error getting {_KINDS[kind]} [{wanted}]."
            return [False, text, NO_EXISTS, wanted, -1]
        return [True, xml, 0]

    def _render(self, kind: str, wanted: int) -> str | None:
        known = self._inventory
        if kind == "vm" and wanted in known.vms:
            return documents.virtual_machine(known.vms[wanted], self._version)
        if kind == "datastore" and wanted in known.datastores:
            return documents.datastore(known.datastores[wanted], self._version)
        if kind == "host" and wanted in known.hosts:
            host = known.hosts[wanted]
            return documents.host(host, known.vms_on(host))
        if kind == "image" and wanted in known.images:
            image = known.images[wanted]
            return documents.image(image, known.datastores[image.datastore_id], self._version)
        return None

    def _host_pool(self, *arguments: Any) -> list[Any]:
        known = self._inventory

        def pool() -> list[Any]:
            return [True, documents.host_pool((one, known.vms_on(one)) for one in known.hosts.values()), 0]

        return self._answer("one.hostpool.info", arguments, pool)

    def _system_version(self, *arguments: Any) -> list[Any]:
        return self._answer("one.system.version", arguments, lambda: [True, str(self._version), 0])
