# SPDX-License-Identifier: Apache-2.0
"""VMs on their way: moved from host to host, to the front-end and back, with their disks and directories."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable
from pathlib import Path

from lab.cloud import FRONT_END, Cloud
from lab.controller.windows import PROTOCOL, TWO_PRIMARIES
from lab.hosts import Guest
from lab.one import Call, Image, LcmState, VirtualMachine, VmState, documents
from lab.one.allocation import Allocator
from lab.one.disks import DiskTemplate
from tests.actions.tm.support import created, on_nodes, run, waiting

VOLATILE: DiskTemplate = {"TYPE": "fs", "SIZE": 8}


def impatient(cloud: Cloud, attach: int = 1, ssh: int = 1) -> Cloud:
    """What waits for a refusal waits that many seconds."""
    for store in cloud.one.inventory.datastores.values():
        store.template.update(LINSTOR_ATTACH_TIMEOUT=str(attach), LINSTOR_SSH_TIMEOUT=str(ssh))
    return cloud


def arrived(
    cloud: Cloud, *disks: Image | DiskTemplate, host: str = "alice", datastore: int = 101
) -> VirtualMachine:
    """A RUNNING VM whose disks the driver has made or attached; no hypervisor knows of it."""
    vm = waiting(cloud, *disks, host=host, datastore=datastore)
    for disk in vm.disks:
        created(cloud, vm, int(disk["DISK_ID"]))
    vm.set_state(VmState.ACTIVE, LcmState.RUNNING)
    return vm


def depart(
    cloud: Cloud, vm: VirtualMachine, host: str, state: LcmState | int, datastore: int | None = None
) -> VirtualMachine:
    """oned has decided that the VM goes to a host: it is in that state there, and no driver was called yet."""
    allocator = Allocator(cloud.one.inventory)
    system = cloud.one.inventory.datastores[vm.record.ds_id if datastore is None else datastore]
    allocator.move_volatile(vm, system)
    allocator.add_record(vm, host, system)
    vm.set_state(VmState.ACTIVE, state)  # type: ignore[arg-type]
    return vm


def run_all(cloud: Cloud, lines: Iterable[str]) -> list[Call]:
    """The lines of a transfer script, up to the first that fails."""
    calls: list[Call] = []
    for line in lines:
        calls.append(run(cloud, line))
        if not calls[-1].ok:
            break
    return calls


def moved(cloud: Cloud, lines: Iterable[str]) -> None:
    """As ``run_all``, and all of them have to work."""
    for call in run_all(cloud, lines):
        assert (call.rc, call.stdout, call.stderr) == (0, "", ""), call.argv


def live(cloud: Cloud, vm: VirtualMachine, hook: str, *more: str) -> Call:
    """PRE, POST or FAIL of a live migration to the VM's newest host, ``more`` arguments behind the usual ones."""
    arguments = cloud.one.lines.live_migration(vm, hook).split()[2:]
    return cloud.call(f"tm/{hook.lower()}migrate", *arguments, *more, stdin=payload(cloud, vm))


def payload(cloud: Cloud, vm: VirtualMachine) -> str:
    """The VM as the steps of a live migration get it on standard input."""
    return base64.b64encode(documents.driver_virtual_machine(vm, cloud.one.version).encode()).decode()


def migrating(cloud: Cloud, vm: VirtualMachine, host: str) -> VirtualMachine:
    """A live migration to the host has begun, and no driver was called yet."""
    return depart(cloud, vm, host, LcmState.MIGRATE)


def directory(cloud: Cloud, vm: VirtualMachine, host: str, datastore: int | None = None) -> Path:
    """Where the VM's directory is, or would be, on a host or on the front-end."""
    store = vm.record.ds_id if datastore is None else datastore
    return cloud.hosts.path(host, cloud.one.tree.datastores / str(store) / str(vm.id))


def entries(place: Path) -> dict[str, str]:
    """Everything in a directory: links with their text, files with their content in Latin-1."""
    found = {}
    for path in sorted(place.rglob("*")):
        name = str(path.relative_to(place))
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        else:
            found[name] = "directory" if path.is_dir() else path.read_bytes().decode("latin-1")
    return found


def places(cloud: Cloud, vm: VirtualMachine) -> list[str]:
    """The hosts, the front-end among them, on which the VM has a directory in its newest system datastore."""
    return [host for host in (*cloud.hosts.names, FRONT_END) if directory(cloud, vm, host).exists()]


def clients(cloud: Cloud, name: str) -> list[str]:
    """The nodes that have the volume without a disk, tie-breakers left out."""
    return sorted(node for node, role in on_nodes(cloud, name).items() if role == "diskless")


def windows(cloud: Cloud, name: str) -> set[frozenset[str]]:
    """Pairs of nodes that may have the volume open for writing together, as DRBD has it."""
    rd = cloud.cluster.rd(name)
    return {frozenset(node.lower() for node in pair) for pair in rd.windows}


def assert_closed(cloud: Cloud, *names: str) -> None:
    """Neither DRBD nor any property of LINSTOR lets two nodes write."""
    for name in names:
        rd = cloud.cluster.rd(name)
        assert windows(cloud, name) == set(), name
        settings = [rd.props, *rd.connections.values()]
        assert [one for one in settings if {TWO_PRIMARIES, PROTOCOL, "Aux/one/migration"} & one.keys()] == []


class Domain:
    """A VM as the hypervisors run it: its disks are open where it runs, on two hosts while it migrates."""

    def __init__(self, cloud: Cloud, vm: VirtualMachine, *hosts: str) -> None:
        self._cloud = cloud
        self._vm = vm
        self._guests: dict[str, list[Guest]] = {}
        for host in hosts:
            self.start(host)

    def start(self, host: str) -> None:
        """Raises OSError or DeviceBusy when a disk cannot be opened there."""
        held = self._guests.setdefault(host, [])
        for disk in self._vm.disks:
            path = os.path.normpath(self._cloud.one.lines.disk_path(self._vm, disk))
            held.append(self._cloud.hosts.open_disk(host, path, write=disk.get("READONLY") != "YES"))

    def stop(self, host: str) -> None:
        for guest in self._guests.pop(host):
            guest.close()

    def move(self, source: str, target: str) -> None:
        """What the hypervisors do in a live migration."""
        self.start(target)
        self.stop(source)

    def write(self, host: str, data: bytes) -> None:
        """To the first disk."""
        self._guests[host][0].write(0, data)

    def read(self, host: str, length: int) -> bytes:
        return self._guests[host][0].read(0, length)

    def __enter__(self) -> Domain:
        return self

    def __exit__(self, *_: object) -> None:
        for host in list(self._guests):
            self.stop(host)
