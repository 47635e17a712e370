# SPDX-License-Identifier: Apache-2.0
"""What the stand-in needs from hosts and guests; `lab.hosts.Hosts` provides it."""

from __future__ import annotations

import subprocess
from typing import Protocol


class Guest(Protocol):
    """A process on a host that holds a disk open."""

    @property
    def alive(self) -> bool:
        """False when the process is gone, perhaps with its host."""
        ...

    def write(self, offset: int, data: bytes) -> object: ...

    def read(self, offset: int, length: int) -> bytes: ...

    def close(self) -> object: ...


class HostAccess(Protocol):
    """The part of the hosts that a hypervisor driver uses."""

    def run(self, name: str, script: str) -> subprocess.CompletedProcess[str]:
        """Run a bash script of any length; status 255 when the host can not be reached."""
        ...

    def open_disk(self, name: str, path: str, *, write: bool) -> Guest:
        """Raises OSError or DeviceBusy when the disk can not be opened there."""
        ...
