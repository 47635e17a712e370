# SPDX-License-Identifier: Apache-2.0
"""Where the hosts of a lab keep their state, below the lab's root directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PROGRAMS = Path(__file__).resolve().parent / "programs"
CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Layout:
    """Paths of the lab. ``datastores`` is the absolute path at which every host sees its own datastores;
    those of its directories that are named in ``shared`` are the front-end's, for all hosts."""

    root: Path
    datastores: Path
    shared: tuple[str, ...] = ()

    @property
    def contents(self) -> Path:
        return self.root / "contents"

    @property
    def bin(self) -> Path:
        """Commands for the front-end, first in the PATH of whatever stands for the driver."""
        return self.root / "bin"

    @property
    def host_bin(self) -> Path:
        """Commands that the lab adds on hosts."""
        return self.root / "host-bin"

    @property
    def shims(self) -> Path:
        """Commands that translate paths, where hosts have no mount namespace."""
        return self.root / "shims"

    @property
    def calls(self) -> Path:
        return self.root / "ssh.jsonl"

    @property
    def faults(self) -> Path:
        return self.root / "faults"

    def host(self, name: str) -> Path:
        return self.root / "hosts" / name

    def dev(self, name: str) -> Path:
        """The host's /dev, as seen from outside."""
        return self.host(name) / "dev"

    def host_datastores(self, name: str) -> Path:
        return self.host(name) / "datastores"

    def home(self, name: str) -> Path:
        return self.host(name) / "home"

    def session(self, name: str) -> Path:
        """How the lab's ssh starts a process there; see ``session.write_session``."""
        return self.host(name) / "session"

    def link(self, name: str) -> Path:
        """``up``, ``down`` (packets vanish) or ``refused`` (nothing listens)."""
        return self.host(name) / "link"

    def delay(self, name: str) -> Path:
        """Seconds before a connection to the host is there."""
        return self.host(name) / "delay"

    def client_alive(self, name: str) -> Path:
        """Seconds after which the host's sshd gives up a client that is silent."""
        return self.host(name) / "client-alive"
