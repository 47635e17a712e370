# SPDX-License-Identifier: Apache-2.0
"""The story: an image becomes VM disks, guests write, disks move on, everything goes away again."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable

from lab.cloud import Cloud
from lab.counting import Meter
from lab.demo.cluster_map import LEGEND, cluster_map, links
from lab.demo.telling import StoryEnded, Teller
from lab.hosts import Guest, loops
from lab.images import flat, write_qcow2
from lab.one import Image, ImageState, LcmState, OneError, VirtualMachine, VmState

MIB = 1 << 20
KIB = 1 << 10
SYSTEM_MIB = 64
LETTER = b"Dear alice, this was written on dave. "
EXT_MAGIC = (0x438, b"\x53\xef")
SWAP_MAGIC = (4086, b"SWAPSPACE2")


class Story:
    """Tells it once, on a fresh cloud."""

    def __init__(self, cloud: Cloud, teller: Teller) -> None:
        self._cloud = cloud
        self._one = cloud.one
        self._teller = teller
        self._meter = Meter(cloud)
        self._told = 0
        rng = random.Random(1)
        self._extents = {
            0: rng.randbytes(200 * KIB),
            20 * MIB: rng.randbytes(MIB // 2).hex().encode(),
            63 * MIB: b"the end",
        }
        self._content = flat(SYSTEM_MIB * MIB, self._extents)

    def tell(self) -> None:
        """Raises StoryEnded when something that the rest needs did not work."""
        system, letter = self._register(), self._make_datablock()
        first = self._clone(system)
        second = self._mixed(letter)
        self._write(system, first, second)
        self._pass_on(first, second, letter)
        self._mistake()
        self._terminate(first, second, letter)
        self._delete(system, letter)

    # -- steps ---------------------------------------------------------------------------------------

    def _register(self) -> Image:
        path = self._cloud.images_dir / "os.qcow2"
        write_qcow2(path, SYSTEM_MIB * MIB, self._extents, compressed=True)
        self._teller.step(
            f"A compressed qcow2 image of a {SYSTEM_MIB} MiB disk becomes a raw volume",
            f"oneimage create --name os --path {path} -d 100",
        )
        image = self._ready(self._create("os", path=path))
        self._told_calls(with_map=False)
        volume = self._volume(image.source)
        self._teller.check(
            f"the volume holds the bytes of the image: {_digest(self._content)}", volume == self._content
        )
        used = self._used_kib(image.source)
        stored = sum(map(len, self._extents.values())) // KIB
        self._teller.check(f"zeros take no space: {used} KiB for {stored} KiB of data", used <= stored + 256)
        return image

    def _make_datablock(self) -> Image:
        self._teller.step(
            "An empty persistent image",
            "oneimage create --name data --type datablock --persistent --size 32 -d 100",
        )
        image = self._ready(self._create("data", size=32, type="datablock", persistent=True))
        self._told_calls()
        self._teller.say(LEGEND)
        return image

    def _clone(self, system: Image) -> VirtualMachine:
        self._teller.step("A VM on alice gets a disk cloned from the image", "onevm deploy 0 alice 101")
        vm = self._running(self._one.vm_instantiate([system], host="alice"))
        self._told_calls(with_map=False)
        guest = self._guest(vm, 0).read(0, SYSTEM_MIB * MIB)
        self._teller.check(
            f"the guest reads the bytes of the image: {_digest(guest)}", guest == self._content
        )
        return vm

    def _mixed(self, letter: Image) -> VirtualMachine:
        self._teller.step(
            "A VM on dave, which has no storage: the persistent image, a volatile disk, swap",
            "onevm deploy 1 dave 101",
        )
        scratch: dict[str, str | int] = {"TYPE": "fs", "SIZE": 32, "FORMAT": "raw", "FS": "ext4"}
        vm = self._running(
            self._one.vm_instantiate([letter, scratch, {"TYPE": "swap", "SIZE": 16}], host="dave")
        )
        self._told_calls()
        for disk, what, (offset, magic) in (
            (1, "an ext4 file system", EXT_MAGIC),
            (2, "swap space", SWAP_MAGIC),
        ):
            found = self._guest(vm, disk).read(offset, len(magic))
            self._teller.check(f"disk {disk} holds {what}", found == magic, repr(found))
        return vm

    def _write(self, system: Image, first: VirtualMachine, second: VirtualMachine) -> None:
        self._teller.step("Both guests write")
        self._guest(first, 0).write(5 * MIB, b"mine alone")
        self._guest(second, 0).write(MIB, LETTER * 1000)
        self._teller.check(
            "the image is as it was, the clone is the VM's own", self._volume(system.source) == self._content
        )

    def _pass_on(self, first: VirtualMachine, second: VirtualMachine, letter: Image) -> None:
        self._teller.step(
            "The persistent image moves from the VM on dave to the one on alice, both run on",
            f"onevm disk-detach 1 0; onevm disk-attach 0 --image {letter.name}",
        )
        self._running(self._one.vm_detach(second, 0))
        self._running(self._one.vm_attach(first, letter))
        self._told_calls()
        attached = first.disks[-1]["DISK_ID"]
        read = self._guest(first, int(attached)).read(MIB, len(LETTER) * 1000)
        self._teller.check(f"alice reads what dave wrote: {_digest(read)}", read == LETTER * 1000)
        resources = self._cloud.cluster.rd(letter.source).resources.values()
        replicas = sum(not one.diskless for one in resources)
        self._teller.check("both replicas and the third vote stayed", (replicas, len(resources)) == (2, 3))

    def _mistake(self) -> None:
        before = set(self._cloud.cluster.rds)
        self._teller.step(
            "A mistake, as the user sees it: the datastore names a resource group that is not there",
            "oneimage create --name lost --size 16 -d 106",
        )
        options = {"LINSTOR_CONTROLLERS": self._cloud.controllers, "LINSTOR_RESOURCE_GROUP": "fast"}
        self._one.add_datastore(106, "with a typo", TYPE="IMAGE_DS", **options)
        image = self._create("lost", size=16, datastore=106)
        self._told_calls(with_map=False)
        self._teller.error(f'ERROR="{image.error}"')
        named = image.state is ImageState.ERROR and "fast" in image.error
        self._teller.check("the image is in ERROR, and the text names the cause", named, image.error)
        self._one.image_delete(image.id)
        self._teller.check("the attempt left nothing", set(self._cloud.cluster.rds) == before)

    def _terminate(self, first: VirtualMachine, second: VirtualMachine, letter: Image) -> None:
        self._teller.step("Both VMs end", "onevm terminate 0,1")
        for vm in (first, second):
            self._one.vm_terminate(vm)
            if vm.state is not VmState.DONE:
                raise StoryEnded(f"VM {vm.id} is {vm.lcm_state.name}: {vm.error}")
        self._told_calls()
        names = {rd.name for rd in self._cloud.cluster.rds.values()}
        self._teller.check(
            "clone, volatile disk and swap are gone, images stay", len(names) == 2, _listed(names)
        )
        kept = self._volume(letter.source)[MIB : MIB + len(LETTER)]
        self._teller.check("the persistent image kept what was written", kept == LETTER, repr(kept))

    def _delete(self, *images: Image) -> None:
        self._teller.step("The images are deleted", "oneimage delete os,data")
        for image in images:
            call = self._one.image_delete(image.id)
            if call is None or not call.ok:
                raise StoryEnded(f"image {image.name}: {image.error}")
        self._told_calls(with_map=False)
        self._nothing_left()

    def _nothing_left(self) -> None:
        cloud = self._cloud
        volumes = [rd.name for rd in cloud.cluster.rds.values()]
        self._teller.check("nothing left in LINSTOR: no resource definition", not volumes, _listed(volumes))
        files = [str(path) for host in cloud.hosts.names for path in _files(cloud, host)]
        left = [*(f"{host}:{path}" for host, path in links(cloud)), *files]
        self._teller.check(
            "nothing left on the hosts: no link, no directory of a VM", not left, _listed(left)
        )
        devices = loops.attached(cloud.hosts.layout.contents)
        self._teller.check("nothing left on this machine: no loop device", not devices, _listed(devices))

    # -- helpers -------------------------------------------------------------------------------------

    def _told_calls(self, *, with_map: bool = True) -> None:
        """Print the calls since the last time, and where the volumes are now."""
        self._teller.calls(self._meter.since(self._told))
        self._told = len(self._meter.taken)
        if with_map:
            self._teller.show(cluster_map(self._cloud, self._teller.console.width))

    def _create(self, name: str, **options: object) -> Image:
        try:
            return self._one.image_create(name, **options)  # type: ignore[arg-type]
        except OneError as refusal:
            raise StoryEnded(str(refusal)) from refusal

    def _ready(self, image: Image) -> Image:
        if image.state is not ImageState.READY:
            raise StoryEnded(f"image {image.name} is in {image.state.name}: {image.error}")
        return image

    def _running(self, vm: VirtualMachine) -> VirtualMachine:
        if vm.lcm_state is not LcmState.RUNNING or vm.error:
            raise StoryEnded(f"VM {vm.id} is {vm.lcm_state.name}: {vm.error}")
        return vm

    def _guest(self, vm: VirtualMachine, disk: int) -> Guest:
        return self._one.hypervisor.guest(vm.id, disk)  # type: ignore[return-value]

    def _volume(self, resource: str) -> bytes:
        """All bytes, as a process on a host with a replica reads them."""
        rd = self._cloud.cluster.rd(resource)
        with self._cloud.hosts.open_disk(
            rd.diskful[0].node, f"/dev/drbd/by-res/{resource}/0", write=False
        ) as disk:
            size = rd.volumes[0].size_kib * KIB
            return disk.read(0, size)

    def _used_kib(self, resource: str) -> int:
        return self._cloud.hosts.devices.allocated_kib(self._cloud.cluster.rd(resource).content_key(0))


def _files(cloud: Cloud, host: str) -> Iterable[object]:
    """What is left of VMs below the datastores of a host."""
    return cloud.hosts.layout.host_datastores(host).glob("*/*")


def _digest(data: bytes) -> str:
    return f"sha256 {hashlib.sha256(data).hexdigest()[:12]}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
