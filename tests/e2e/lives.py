# SPDX-License-Identifier: Apache-2.0
"""A VM with a disk of each kind, what its guest wrote, and what has to be true wherever the VM is."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterable
from pathlib import Path

from lab.cloud import HOSTS, Cloud
from lab.controller.model import ResourceDefinition
from lab.one import Call, Image, LcmState, VmState
from tests.actions.support import MIB, by_res, locks_left, resources
from tests.actions.tm.support import bare_volume, on_nodes

LINSTOR, SSH, SHARED = 101, 103, 105
"""System datastores of a cloud, by their transfer drivers."""

KINDS = ("copy", "persistent", "cdrom", "immutable", "volatile", "swap")
"""One disk each, in the order of their ids."""

FRONT_END = "front-end"
_ON_FRONT_END = (VmState.STOPPED, VmState.UNDEPLOYED)
_QUORUM = "DrbdOptions/Resource/quorum"
_TWO_PRIMARIES = "DrbdOptions/Net/allow-two-primaries"
_WINDOW = "Aux/one/migration"
_IMAGE_KINDS = {
    "copy": {},
    "persistent": {"persistent": True},
    "cdrom": {"type": "CDROM"},
    "immutable": {"persistent": True, "PERSISTENT_TYPE": "IMMUTABLE"},
}
VOLATILE = {"volatile": {"TYPE": "fs", "SIZE": 8, "FS": "ext4"}, "swap": {"TYPE": "swap", "SIZE": 8}}


class Life:
    """Makes images and a running VM of them; ``vm`` is its record.

    ``check`` fails for whatever is not as it has to be in the VM's present state: guest's data, links, LINSTOR's
    resources, windows of live migrations, files.
    """

    def __init__(
        self, cloud: Cloud, datastore: int = LINSTOR, host: str = "dave", kinds: Iterable[str] = KINDS
    ) -> None:
        self.cloud = cloud
        self.kinds = tuple(kinds)
        for store in cloud.one.inventory.datastores.values():
            store.template["LINSTOR_ATTACH_TIMEOUT"] = "3"
        self.stored: set[str] = set()
        self.images = {kind: self.image(kind) for kind in self.kinds if kind in _IMAGE_KINDS}
        self._random = random.Random(1)
        self._contents: dict[int, bytearray] = {}
        self._replicas: dict[str, set[str]] = {}
        self._calls_before = 0
        self.born(host, datastore)

    # -- the VM --------------------------------------------------------------------------------------

    def born(self, host: str, datastore: int) -> None:
        """Instantiate a VM, the first or the next one."""
        disks = [self.images[kind] if kind in self.images else VOLATILE[kind] for kind in self.kinds]
        self.vm = self.cloud.one.vm_instantiate(disks, host, datastore=datastore)
        self.adopt_anew()

    def adopt_anew(self) -> None:
        """The VM has been deployed, and begins with what its images hold."""
        self._contents = {}
        self.adopt()
        for number, held in self._contents.items():
            kind = self.kinds[number]
            assert kind not in self.images or _text(kind) in held or kind == "persistent", f"disk {number}"

    def adopt(self) -> None:
        """What is on the running VM's new disks, and where all are, is right from now on."""
        vm = self.vm
        assert vm.lcm_state is LcmState.RUNNING, vm.error
        guests = {disk: self.cloud.one.hypervisor.guest(vm.id, disk) for disk in self.disks()}
        self._contents = {
            disk: self._contents.get(disk) or bytearray(guest.read(0, guest.size()))
            for disk, guest in guests.items()
        }
        self.placed()
        self.check("new")

    def placed(self) -> None:
        """The replicas that the VM's volumes have now are the right ones."""
        self._replicas = {name: self.replicas(name) for name in self.volumes().values()}

    def disks(self) -> list[int]:
        return [int(disk["DISK_ID"]) for disk in self.vm.disks]

    def volumes(self) -> dict[int, str]:
        """Resources of the disks that are volumes."""
        found = {}
        for disk in self.vm.disks:
            number = int(disk["DISK_ID"])
            if "IMAGE_ID" not in disk:
                if disk["TM_MAD"] == "linstor":
                    found[number] = f"OpenNebula-Volatile-vm{self.vm.id}-disk{number}"
            elif disk["CLONE"] == "YES":
                found[number] = f"{disk['SOURCE']}-vm{self.vm.id}-disk{number}"
            else:
                found[number] = disk["SOURCE"]
        return found

    def write(self) -> None:
        """The guest writes something new to each disk that it may write to."""
        for disk in self.vm.disks:
            if disk.get("READONLY") == "YES":
                continue
            number = int(disk["DISK_ID"])
            held = self._contents[number]
            data = self._random.randbytes(700)
            offset = self._random.randrange(len(held) - len(data))
            self.cloud.one.hypervisor.guest(self.vm.id, number).write(offset, data)
            held[offset : offset + len(data)] = data

    def failures(self) -> list[Call]:
        """Calls that have failed since the last question."""
        calls = self.cloud.one.calls[self._calls_before :]
        self._calls_before = len(self.cloud.one.calls)
        return [call for call in calls if not call.ok]

    # -- what has to be true -------------------------------------------------------------------------

    def expect(self, state: LcmState | VmState, host: str, step: str) -> None:
        """The VM is in this state on this host, no call has failed, and all is well."""
        failed = [(call.name, call.argv, call.stderr) for call in self.failures()]
        assert not failed, f"{step}: {failed}"
        vm = self.vm
        now = vm.lcm_state if vm.state is VmState.ACTIVE else vm.state
        assert (now, vm.host) == (state, host), f"{step}: {vm.error}"
        self.check(step)

    def check(self, step: str) -> None:
        if self.vm.lcm_state is LcmState.RUNNING:
            self.check_contents(step)
        self.check_links(step)
        self._check_resources(step)
        self._check_files(step)
        assert locks_left(self.cloud) == [], step

    def check_gone(self, step: str) -> None:
        """Nothing is left of the VM but the images."""
        assert self.vm.state is VmState.DONE, f"{step}: {self.vm.error}"
        assert resources(self.cloud) == self.stored, step
        assert self.directories() == {}, step
        for name in self.stored:
            check_windows(self.cloud, name, step)
            assert "diskless" not in on_nodes(self.cloud, name).values(), f"{step}: {name}"
            self._check_votes(name, step)
            openers = self.cloud.hosts.devices.openers(self.cloud.cluster.rd(name).content_key(0))
            assert openers == set(), f"{step}: {name}"
        assert locks_left(self.cloud) == [], step

    def at(self) -> str | None:
        """The host on which the VM's disks have to be."""
        return None if self.vm.state in _ON_FRONT_END else self.vm.host

    def directories(self) -> dict[str, set[str]]:
        """The VM's files by place and datastore, wherever there are any."""
        return {place: set(os.listdir(path)) for place, path in self._places().items() if path.is_dir()}

    def _places(self) -> dict[str, Path]:
        tops = {host: self.cloud.hosts.layout.host_datastores(host) for host in HOSTS}
        tops[FRONT_END] = self.cloud.one.tree.datastores
        return {
            f"{place} {store}": top / str(store) / str(self.vm.id)
            for place, top in tops.items()
            for store in self.cloud.one.inventory.datastores
        }

    def _place(self) -> str:
        """Where the directory has to be; a shared one is the front-end's."""
        store = self.vm.record.ds_id
        return f"{FRONT_END if store == SHARED else self.at() or FRONT_END} {store}"

    def check_contents(self, step: str) -> None:
        for number, held in self._contents.items():
            found = self.cloud.one.hypervisor.guest(self.vm.id, number).sha256()
            assert found == hashlib.sha256(held).hexdigest(), f"{step}: content of disk {number}"

    def check_links(self, step: str) -> None:
        found = {
            f"{place}/{path.name}": os.readlink(path)
            for place, directory in self._places().items()
            if directory.is_dir()
            for path in directory.iterdir()
            if path.is_symlink()
        }
        # Of a stopped VM only datastores of other drivers have links: they move the directory as it is.
        linked = self.at() is not None or self.vm.record.tm_mad != "linstor"
        volumes = self.volumes() if linked else {}
        wanted = {f"{self._place()}/disk.{disk}": by_res(name) for disk, name in volumes.items()}
        assert found == wanted, f"{step}: links"

    def _check_resources(self, step: str) -> None:
        host = self.at()
        for name in self.volumes().values():
            roles = on_nodes(self.cloud, name)
            with_disk = self.replicas(name)
            assert with_disk == self._replicas[name], f"{step}: replicas of {name}: {roles}"
            clients = {node for node, role in roles.items() if role == "diskless"}
            assert clients == ({host} - with_disk if host else set()), f"{step}: clients of {name}: {roles}"
            self._check_votes(name, step)
            check_windows(self.cloud, name, step)

    def _check_votes(self, name: str, step: str) -> None:
        rd = self.cloud.cluster.rd(name)
        tie_breakers = [one for one in rd.resources.values() if one.tie_breaker]
        assert len(tie_breakers) == self.cloud.cluster.tie_breaker.wanted(rd), (
            f"{step}: {name}: {rd.resources}"
        )
        assert rd.props[_QUORUM] == "majority", f"{step}: {name}"

    def _check_files(self, step: str) -> None:
        directories = self.directories()
        assert list(directories) == [self._place()], f"{step}: directories {directories}"
        found = directories[self._place()]
        wanted = set() if self.vm.record.tm_mad == "linstor" else {f"disk.{disk}" for disk in self.disks()}
        if self.at() is not None:
            wanted |= {f"disk.{disk}" for disk in self.disks()}
        if self.vm.lcm_state is LcmState.RUNNING:
            assert self.vm.context is not None
            wanted.add(f"disk.{self.vm.context['DISK_ID']}")
        assert found >= wanted, f"{step}: files {found}"
        saved = self.vm.state in (VmState.SUSPENDED, VmState.STOPPED)
        assert ("checkpoint" in found) == saved, f"{step}: files {found}"
        context = f"disk.{self.vm.context['DISK_ID']}" if self.vm.context else ""
        strange = found - wanted - {context, "checkpoint", "vm.xml", "ds.xml"}
        assert not strange, f"{step}: files {strange}"

    def replicas(self, name: str) -> set[str]:
        return {node for node, role in on_nodes(self.cloud, name).items() if role == "disk"}

    def image(self, kind: str) -> Image:
        """An image that addon-linstor made, with content; no driver is called for it."""
        name = bare_volume(self.cloud, f"image-{kind}")
        self.stored.add(name)
        node = self.cloud.cluster.rd(name).diskful[0].node
        with self.cloud.hosts.open_disk(node, by_res(name)) as disk:
            disk.write(3 * MIB, _text(kind))
        return self.cloud.one.image_create(kind, size=8, source=name, **_IMAGE_KINDS[kind])


def _text(kind: str) -> bytes:
    return f"an image of kind {kind}".encode() * 40


def check_windows(cloud: Cloud, name: str, step: str) -> None:
    """No two nodes may have the volume open for writing."""
    rd: ResourceDefinition = cloud.cluster.rd(name)
    traces = [*filter(None, rd.connections.values()), *rd.windows, *filter(None, [rd.migration])]
    assert not traces, f"{step}: {name}: {traces}"
    assert not {_TWO_PRIMARIES, _WINDOW} & set(rd.props), f"{step}: {name}: {rd.props}"
