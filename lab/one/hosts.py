# SPDX-License-Identifier: Apache-2.0
"""What the stand-in needs from hosts and guests; `lab.hosts.Hosts` provides it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from typing import Any, Protocol


class Guest(Protocol):
    """A process on a host that holds a disk open."""

    @property
    def alive(self) -> bool:
        """False when the process is gone, perhaps with its host."""
        ...

    def write(self, offset: int, data: bytes) -> object: ...

    def read(self, offset: int, length: int) -> bytes: ...

    def size(self) -> int:
        """Bytes that the disk has now."""
        ...

    def grow_qcow2(self, size: int) -> None:
        """Write down `size` (bytes) in the qcow2 image on the disk. Raises OSError, ValueError."""
        ...

    def close(self) -> object: ...


class Domains(Protocol):
    """What libvirt on the hosts is told about guests; a guest agent works on what runs."""

    def start(self, host: str, name: str, guests: Mapping[int, Any], memory: Any = None) -> None:
        """The domain runs with these disks, by their ids; the mapping may change later. `memory` is what ``end``
        returned, unless the guest boots anew."""
        ...

    def shut_down(self, host: str, name: str) -> None:
        """The guest's system writes back what it has in memory. Raises OSError when it can not."""
        ...

    def end(self, host: str, name: str) -> Any:
        """The domain does not run there any more, if it did. Returns what the guest had in memory."""
        ...


class HostAccess(Protocol):
    """The part of the hosts that a hypervisor driver uses."""

    @property
    def domains(self) -> Domains: ...

    def run(self, name: str, script: str) -> subprocess.CompletedProcess[str]:
        """Run a bash script of any length; status 255 when the host can not be reached."""
        ...

    def open_disk(self, name: str, path: str, *, write: bool) -> Guest:
        """Raises OSError or DeviceBusy when the disk can not be opened there."""
        ...
