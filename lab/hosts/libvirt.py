# SPDX-License-Identifier: Apache-2.0
"""libvirt's daemon on the lab's hosts: answers the ``virsh`` there (``programs/virsh.py``).

The address is one in Linux's abstract name space, which every mount namespace sees and which vanishes with the lab.
A request is ``host NUL command NUL domain``, ended by the client's shutdown; the answer ``status NUL stdout NUL
stderr``. A command goes on when the client that asked for it is gone.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socketserver
import threading

from lab.hosts.domains import DomainError, Domains

_numbers = itertools.count()
_COMPLAINTS = {
    "domfsfreeze": "error: Unable to freeze filesystems",
    "domfsthaw": "error: Unable to thaw filesystems",
}


class Libvirt:
    """The daemon of all hosts, in threads of this process. ``address``: for the environment of hosts."""

    def __init__(self, domains: Domains) -> None:
        self.address = f"lab-libvirt-{os.getpid()}-{next(_numbers)}"
        self._server = _Server(f"\0{self.address}", _Request)
        self._server.domains = domains
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """May be called again."""
        self._server.shutdown()
        self._server.server_close()


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 32
    domains: Domains


class _Request(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Server)
        host, command, domain = self.rfile.read().decode().split("\0")
        status, output, complaints = answer(self.server.domains, host, command, domain)
        with contextlib.suppress(OSError):
            self.wfile.write(f"{status}\0{output}\0{complaints}".encode())


def answer(domains: Domains, host: str, command: str, name: str) -> tuple[int, str, str]:
    """Exit status, output and complaints of a virsh."""
    try:
        if command == "domfsfreeze":
            return 0, f"Froze {domains.freeze(host, name)} filesystem(s)\n\n", ""
        if command == "domfsthaw":
            return 0, f"Thawed {domains.thaw(host, name)} filesystem(s)\n\n", ""
        if command == "domid":
            return 0, f"{domains.number(host, name) or '-'}\n\n", ""
        return 0, f"{domains.state(host, name)}\n\n", ""
    except KeyError:
        complaint = f"error: Domain not found: no domain with matching name '{name}'"
        return 1, "\n", f"error: failed to get domain '{name}'\n{complaint}\n"
    except DomainError as error:
        return 1, "\n", f"{_COMPLAINTS[command]}\nerror: {error}\n"
