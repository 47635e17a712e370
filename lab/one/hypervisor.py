# SPDX-License-Identifier: Apache-2.0
"""The hypervisor driver of the stand-in: domains on hosts, and what kvm's scripts do to files and disks.

Source of the facts: ``src/vmm_mad/remotes/kvm`` of OpenNebula 7.4.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.devices_protocol import DeviceBusy
from lab.one import directories
from lab.one.hosts import Guest, HostAccess

CHECKPOINT = "checkpoint"
"""The file in the VM's directory that holds the memory of a suspended, stopped or moving VM."""


class HypervisorError(Exception):
    """A hypervisor action failed; the text is what virsh or ssh would say."""


@dataclass
class _Domain:
    """A running VM: what it has open. `disks` maps ids of disks to paths and whether they are read-only."""

    disks: dict[int, tuple[str, bool]] = field(default_factory=dict)
    guests: dict[int, Guest] = field(default_factory=dict)

    def close(self) -> None:
        for guest in self.guests.values():
            guest.close()


class Hypervisor:
    """Runs VMs as guests: a running VM holds its disks open, read-only ones for reading.

    Disks are given as path -> whether it is read-only; the number behind the last dot of a path is the disk's id.
    All actions raise HypervisorError.
    """

    def __init__(self, hosts: HostAccess) -> None:
        self._hosts = hosts
        self._domains: dict[tuple[str, int], _Domain] = {}
        self._memories: dict[int, Any] = {}
        self._faults: Counter[str] = Counter()

    def fail_next(self, action: str) -> None:
        """Let the next ``deploy``, ``save``, ``restore``, ``shutdown``, ``cancel``, ``resize`` or ``migrate`` fail.

        It fails before it did anything; a ``migrate`` when the disks are open on both hosts.
        """
        self._faults[action] += 1

    def prepare(self, host: str, directory: str, files: Mapping[str, str]) -> None:
        """Make the VM's directory on the host and put vm.xml and ds.xml there."""
        script = f"set -e -o pipefail\nmkdir -p '{directory}'\n"
        for name, text in files.items():
            encoded = base64.b64encode(text.encode()).decode()
            # dd, because a host without a namespace of its own can not redirect to its paths.
            script += f"base64 -d <<'EOF' | dd of='{directory}/{name}' status=none\n{encoded}\nEOF\n"
        self._run(host, script, f"cannot write {directory}")

    def deploy(self, vm_id: int, host: str, disks: Mapping[str, bool]) -> None:
        """Start the VM. When a disk can not be opened, none stays open."""
        self._reach(host)
        self._maybe_fail("deploy")
        self._start(vm_id, host, disks)

    def attach(self, vm_id: int, host: str, path: str, read_only: bool) -> None:
        """Open one more disk."""
        self._reach(host)
        self._open(self._running(vm_id, host), host, path, read_only)

    def detach(self, vm_id: int, host: str, disk_id: int) -> None:
        self._reach(host)
        domain = self._running(vm_id, host)
        domain.disks.pop(disk_id, None)
        guest = domain.guests.pop(disk_id, None)
        if guest is not None:
            guest.close()

    def resize(self, vm_id: int, host: str, disk_id: int, size: int, driver: str) -> None:
        """Tell the guest that the disk has `size` MiB now. qemu makes files larger, but no device.

        In a qcow2 image (`driver`) it writes the new size down, whether the device has room for it or not.
        """
        self._reach(host)
        self._maybe_fail("resize")
        domain = self._running(vm_id, host)
        path, _ = domain.disks[disk_id]
        wanted = size << 20
        complaint = f"Failed to resize disk {disk_id} on {_name(vm_id)}"
        if driver == "qcow2":
            try:
                domain.guests[disk_id].grow_qcow2(wanted)
            except (OSError, ValueError) as exc:
                raise HypervisorError(f"{complaint}: {exc}") from exc
            return
        self._run(host, f"readlink '{path}' >/dev/null || truncate -s {wanted} '{path}'", complaint)
        if domain.guests[disk_id].size() < wanted:
            raise HypervisorError(complaint)

    def shutdown(self, vm_id: int, host: str) -> None:
        """The guest powers itself off: all its disks are closed. A guest with frozen file systems can not."""
        self._reach(host)
        self._maybe_fail("shutdown")
        try:
            self._hosts.domains.shut_down(host, _name(vm_id))
        except OSError as exc:
            raise HypervisorError(f"Timed out shutting down {_name(vm_id)}") from exc
        self._stop(vm_id, host)

    def cancel(self, vm_id: int, host: str) -> None:
        """Power the guest off; that it does not run is no error."""
        self._reach(host)
        self._maybe_fail("cancel")
        self._stop(vm_id, host)

    def save(self, vm_id: int, host: str, directory: str) -> None:
        """Write the memory to the VM's directory and stop; an older checkpoint is moved aside."""
        self._reach(host)
        self._maybe_fail("save")
        self._running(vm_id, host)
        file = f"{directory}/{CHECKPOINT}"
        script = (
            f"set -e -o pipefail\nif [ -f '{file}' ]; then mv '{file}' '{file}.old'; fi\n"
            f"{{ echo one-{vm_id}; head -c 65536 /dev/zero; }} | dd of='{file}' status=none\n"
        )
        self._run(host, script, f"Could not save one-{vm_id} to {file}")
        self._memories[vm_id] = self._stop(vm_id, host)

    def restore(self, vm_id: int, host: str, directory: str, disks: Mapping[str, bool]) -> None:
        """Start from the checkpoint in the VM's directory, which is removed when the VM runs."""
        self._reach(host)
        self._maybe_fail("restore")
        file = f"{directory}/{CHECKPOINT}"
        complaint = f"Could not restore from {file}"
        if self._run(host, f"head -n 1 '{file}'", complaint) != f"one-{vm_id}\n":
            raise HypervisorError(complaint)
        self._start(vm_id, host, disks, self._memories.get(vm_id))
        self._run(host, f"rm '{file}'", complaint)

    def migrate(
        self, vm_id: int, source: str, target: str, directory: str, target_directory: str, shared: bool
    ) -> None:
        """Move a running VM: its disks are opened on `target` before they are closed on `source`.

        On one host, from one system datastore to another (`target_directory`), the disks stay open where they
        are. Without a `shared` system datastore files and links of the VM's directory are taken along, and a
        failure removes the directory at the target.
        """
        for host in (source, target):
            self._reach(host)
        domain = self._running(vm_id, source)
        moved = _Domain()
        try:
            if not shared:
                self._take_along(source, target, directory, target_directory, domain)
            if source != target:
                for path, read_only in domain.disks.values():
                    self._open(moved, target, path, read_only)
            self._maybe_fail("migrate")
        except HypervisorError:
            moved.close()
            if not shared:
                self._hosts.run(target, directories.remove(target_directory))
            raise
        if source != target:
            self._hosts.domains.start(target, _name(vm_id), moved.guests, self._stop(vm_id, source))
            self._domains[target, vm_id] = moved

    def is_running(self, vm_id: int, host: str | None = None) -> bool:
        """Whether the VM runs, on that host or anywhere."""
        return any(
            one == vm_id and host in (None, where) and self._alive(self._domains[where, one])
            for where, one in self._domains
        )

    def guest(self, vm_id: int, disk_id: int) -> Guest:
        """The guest's view of one disk where the VM was started last; KeyError without such a disk."""
        for (_, one), domain in reversed(list(self._domains.items())):
            if one == vm_id:
                return domain.guests[disk_id]
        raise KeyError(vm_id)

    def close(self) -> None:
        for host, vm_id in list(self._domains):
            self._stop(vm_id, host)

    # -- parts ---------------------------------------------------------------------------------------

    def _reach(self, host: str) -> None:
        self._run(host, ":", "no answer")

    def _run(self, host: str, script: str, complaint: str) -> str:
        done = self._hosts.run(host, script)
        if done.returncode != 0:
            raise HypervisorError(f"on {host}: {complaint}")
        return done.stdout

    def _maybe_fail(self, action: str) -> None:
        if self._faults[action]:
            self._faults[action] -= 1
            raise HypervisorError(f"Could not {action}")

    def _running(self, vm_id: int, host: str) -> _Domain:
        domain = self._domains.get((host, vm_id))
        if domain is None or not self._alive(domain):
            raise HypervisorError(f"failed to get domain 'one-{vm_id}' on {host}")
        return domain

    @staticmethod
    def _alive(domain: _Domain) -> bool:
        return all(guest.alive for guest in domain.guests.values())

    def _start(self, vm_id: int, host: str, disks: Mapping[str, bool], memory: Any = None) -> None:
        known = self._domains.pop((host, vm_id), None)
        if known is not None and self._alive(known):
            self._domains[host, vm_id] = known
            raise HypervisorError(f"domain 'one-{vm_id}' already runs on {host}")
        domain = _Domain()
        try:
            for path, read_only in disks.items():
                self._open(domain, host, path, read_only)
        except HypervisorError:
            domain.close()
            raise
        self._domains[host, vm_id] = domain
        self._hosts.domains.start(host, _name(vm_id), domain.guests, memory)

    def _open(self, domain: _Domain, host: str, path: str, read_only: bool) -> None:
        try:
            guest = self._hosts.open_disk(host, path, write=not read_only)
        except (OSError, DeviceBusy) as exc:
            raise HypervisorError(f"Could not open '{path}': {exc}") from exc
        disk_id = int(path.rpartition(".")[2])
        domain.disks[disk_id] = (path, read_only)
        domain.guests[disk_id] = guest

    def _stop(self, vm_id: int, host: str) -> Any:
        """Returns what the guest had in memory, which is lost unless somebody keeps it."""
        memory = self._hosts.domains.end(host, _name(vm_id))
        domain = self._domains.pop((host, vm_id), None)
        if domain is not None:
            domain.close()
        return memory

    def _take_along(
        self, source: str, target: str, directory: str, target_directory: str, domain: _Domain
    ) -> None:
        names = [path.rpartition("/")[2] for path, _ in domain.disks.values()]
        packed = self._run(source, directories.pack(directory, names), f"cannot read {directory}")
        # Links are looked for under their old names, so that a move within one host leaves them there.
        script = directories.unpack(directory, target_directory, packed)
        self._run(target, script, f"cannot write {target_directory}")


def _name(vm_id: int) -> str:
    """The domain's name, which oned knows as DEPLOY_ID."""
    return f"one-{vm_id}"
