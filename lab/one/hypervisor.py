# SPDX-License-Identifier: Apache-2.0
"""What the stand-in needs from hosts and guests; `lab.hosts.Hosts` provides it."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Mapping
from typing import Protocol

from lab.devices_protocol import DeviceBusy
from lab.one.disks import is_read_only


class Guest(Protocol):
    """A process on a host that holds a disk open."""

    def write(self, offset: int, data: bytes) -> object: ...

    def read(self, offset: int, length: int) -> bytes: ...

    def close(self) -> object: ...


class HostAccess(Protocol):
    """The part of the hosts that a hypervisor driver uses."""

    def run(self, name: str, script: str) -> subprocess.CompletedProcess[str]:
        """Run a bash script; status 255 when the host can not be reached."""
        ...

    def open_disk(self, name: str, path: str, *, write: bool) -> Guest:
        """Raises OSError or DeviceBusy when the disk can not be opened there."""
        ...


class HypervisorError(Exception):
    """A hypervisor action failed; the text is what virsh would say."""


class Hypervisor:
    """Runs VMs as guests: a deployed VM holds its disks open, CDROMs for reading only."""

    def __init__(self, hosts: HostAccess) -> None:
        self._hosts = hosts
        self._guests: dict[int, dict[int, Guest]] = {}

    def prepare(self, host: str, directory: str, files: Mapping[str, str]) -> None:
        """Make the VM's directory on the host and put vm.xml and ds.xml there; raises HypervisorError."""
        script = f"set -e -o pipefail\nmkdir -p '{directory}'\n"
        for name, text in files.items():
            encoded = base64.b64encode(text.encode()).decode()
            # dd, because a host without a namespace of its own can not redirect to its paths.
            script += f"base64 -d <<'EOF' | dd of='{directory}/{name}' status=none\n{encoded}\nEOF\n"
        done = self._hosts.run(host, script)
        if done.returncode != 0:
            raise HypervisorError(f"on {host}: cannot write {directory}")

    def deploy(self, vm_id: int, host: str, disks: Mapping[str, Mapping[str, str]]) -> None:
        """Open all disks, given as path -> DISK vector.

        Raises HypervisorError; then none stays open.
        """
        self._guests.setdefault(vm_id, {})
        try:
            for path, disk in disks.items():
                self.attach(vm_id, host, path, disk)
        except HypervisorError:
            self.cancel(vm_id)
            raise

    def attach(self, vm_id: int, host: str, path: str, disk: Mapping[str, str]) -> None:
        """Open one more disk; raises HypervisorError."""
        try:
            guest = self._hosts.open_disk(host, path, write=not is_read_only(disk))
        except (OSError, DeviceBusy) as exc:
            raise HypervisorError(f"Could not open '{path}': {exc}") from exc
        self._guests.setdefault(vm_id, {})[int(disk["DISK_ID"])] = guest

    def detach(self, vm_id: int, disk_id: int) -> None:
        guest = self._guests.get(vm_id, {}).pop(disk_id, None)
        if guest is not None:
            guest.close()

    def cancel(self, vm_id: int) -> None:
        """Power the guest off: all its disks are closed."""
        for guest in self._guests.pop(vm_id, {}).values():
            guest.close()

    def is_running(self, vm_id: int) -> bool:
        return vm_id in self._guests

    def guest(self, vm_id: int, disk_id: int) -> Guest:
        """The guest's view of one disk; KeyError when the VM does not run or lacks the disk."""
        return self._guests[vm_id][disk_id]

    def close(self) -> None:
        for vm_id in list(self._guests):
            self.cancel(vm_id)
