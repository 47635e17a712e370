# SPDX-License-Identifier: Apache-2.0
"""The story: an image becomes VM disks, guests write, VMs and disks move on, everything goes away again."""

from __future__ import annotations

import random
from collections.abc import Iterable

from lab.cloud import Cloud
from lab.demo.cluster_map import LEGEND, links
from lab.demo.keeping import Keeping
from lab.demo.moves import Moves
from lab.demo.stage import KIB, MIB, Stage, digest, listed
from lab.demo.telling import StoryEnded, Teller
from lab.hosts import loops
from lab.images import flat, write_qcow2
from lab.one import Image, ImageState, VirtualMachine, VmState

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
        self._stage = Stage(cloud, teller)
        rng = random.Random(1)
        self._extents = {
            0: rng.randbytes(200 * KIB),
            20 * MIB: rng.randbytes(MIB // 2).hex().encode(),
            63 * MIB: b"the end",
        }
        self._content = flat(SYSTEM_MIB * MIB, self._extents)

    def tell(self) -> None:
        """Raises StoryEnded when something that the rest needs did not work."""
        system = self._register()
        letter, disc = self._more_images()
        first = self._clone(system)
        second = self._mixed(letter, system, disc)
        self._write(system, first, second)
        moves = Moves(self._stage, second)
        moves.lose_host("bob")
        moves.return_host("dave")
        moves.migrate_live("dave")
        disk = self._pass_on(first, second, letter)
        self._mistake()
        keeping = Keeping(self._stage, first, disk, letter)
        keeping.snapshot()
        keeping.grow()
        keeping.fail_to_revert()
        keeping.revert()
        saved = keeping.save()
        self._terminate(first, second, letter)
        keeping.flatten()
        keeping.export()
        self._delete(system, letter, disc, saved)

    # -- steps ---------------------------------------------------------------------------------------

    def _register(self) -> Image:
        path = self._cloud.images_dir / "os.qcow2"
        write_qcow2(path, SYSTEM_MIB * MIB, self._extents, compressed=True)
        self._teller.step(
            f"A compressed qcow2 image of a {SYSTEM_MIB} MiB disk becomes a raw volume",
            f"oneimage create --name os --path {path} -d 100",
        )
        image = self._stage.ready(self._stage.create("os", path=path))
        self._stage.told_calls(with_map=False)
        volume = self._stage.volume(image.source)
        self._teller.check(
            f"the volume holds the bytes of the image: {digest(self._content)}", volume == self._content
        )
        used = self._stage.used_kib(image.source)
        stored = sum(map(len, self._extents.values())) // KIB
        self._teller.check(f"zeros take no space: {used} KiB for {stored} KiB of data", used <= stored + 256)
        return image

    def _more_images(self) -> tuple[Image, Image]:
        path = self._cloud.images_dir / "cd.iso"
        path.write_bytes(b"\0" * 0x8001 + b"CD001".ljust(MIB))
        self._teller.step(
            "An empty persistent image, and a CD",
            "oneimage create --name data --type datablock --persistent --size 32 -d 100",
            f"oneimage create --name cd --type cdrom --path {path} -d 100",
        )
        letter = self._stage.create("data", size=32, type="datablock", persistent=True)
        disc = self._stage.create("cd", path=path, type="CDROM")
        made = self._stage.ready(letter), self._stage.ready(disc)
        self._stage.told_calls()
        self._teller.say(LEGEND)
        return made

    def _clone(self, system: Image) -> VirtualMachine:
        self._teller.step("A VM on alice gets a disk cloned from the image", "onevm deploy 0 alice 101")
        vm = self._stage.running(self._one.vm_instantiate([system], host="alice"))
        self._stage.told_calls(with_map=False)
        guest = self._stage.guest(vm, 0).read(0, SYSTEM_MIB * MIB)
        self._teller.check(f"the guest reads the bytes of the image: {digest(guest)}", guest == self._content)
        return vm

    def _mixed(self, *images: Image) -> VirtualMachine:
        self._teller.step(
            "A VM on dave, which has no storage, gets disks of all kinds",
            "onevm deploy 1 dave 101",
        )
        scratch: dict[str, str | int] = {"TYPE": "fs", "SIZE": 32, "FORMAT": "raw", "FS": "ext4"}
        vm = self._stage.running(
            self._one.vm_instantiate([*images, scratch, {"TYPE": "swap", "SIZE": 16}], host="dave")
        )
        self._stage.told_calls()
        for disk, what, (offset, magic) in (
            (3, "an ext4 file system", EXT_MAGIC),
            (4, "swap space", SWAP_MAGIC),
        ):
            found = self._stage.guest(vm, disk).read(offset, len(magic))
            self._teller.check(f"disk {disk} holds {what}", found == magic, repr(found))
        return vm

    def _write(self, system: Image, first: VirtualMachine, second: VirtualMachine) -> None:
        self._teller.step("Both guests write")
        self._stage.guest(first, 0).write(5 * MIB, b"mine alone")
        self._stage.guest(second, 0).write(MIB, LETTER * 1000)
        self._teller.check(
            "the image is as it was, the clone is the VM's own",
            self._stage.volume(system.source) == self._content,
        )

    def _pass_on(self, first: VirtualMachine, second: VirtualMachine, letter: Image) -> int:
        """The id of the disk that it becomes."""
        self._teller.step(
            "The persistent image moves from the VM on dave to the one on alice, both run on",
            f"onevm disk-detach 1 0; onevm disk-attach 0 --image {letter.name}",
        )
        self._stage.running(self._one.vm_detach(second, 0))
        self._stage.running(self._one.vm_attach(first, letter))
        self._stage.told_calls(with_map=False)
        attached = int(first.disks[-1]["DISK_ID"])
        read = self._stage.guest(first, attached).read(MIB, len(LETTER) * 1000)
        self._teller.check(f"alice reads what dave wrote: {digest(read)}", read == LETTER * 1000)
        resources = self._cloud.cluster.rd(letter.source).resources.values()
        replicas = sum(not one.diskless for one in resources)
        self._teller.check("both replicas and the third vote stayed", (replicas, len(resources)) == (2, 3))
        return attached

    def _mistake(self) -> None:
        before = set(self._cloud.cluster.rds)
        self._teller.step(
            "A mistake, as the user sees it: the datastore names a resource group that is not there",
            "oneimage create --name lost --size 16 -d 106",
        )
        options = {"LINSTOR_CONTROLLERS": self._cloud.controllers, "LINSTOR_RESOURCE_GROUP": "fast"}
        self._one.add_datastore(106, "with a typo", TYPE="IMAGE_DS", **options)
        image = self._stage.create("lost", size=16, datastore=106)
        self._stage.told_calls(with_map=False)
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
        self._stage.told_calls()
        names = {rd.name for rd in self._cloud.cluster.rds.values()}
        self._teller.check(
            "clones, volatile disk and swap are gone, images stay", len(names) == 4, listed(names)
        )
        kept = self._stage.volume(letter.source)[MIB : MIB + len(LETTER)]
        self._teller.check("the persistent image kept what was written", kept == LETTER, repr(kept))

    def _delete(self, *images: Image) -> None:
        self._teller.step("The images are deleted", "oneimage delete os,data,cd,second")
        for image in images:
            call = self._one.image_delete(image.id)
            if call is None or not call.ok:
                raise StoryEnded(f"image {image.name}: {image.error}")
        self._stage.told_calls(with_map=False)
        self._nothing_left()

    def _nothing_left(self) -> None:
        cloud = self._cloud
        volumes = [rd.name for rd in cloud.cluster.rds.values()]
        self._teller.check("nothing left in LINSTOR: no resource definition", not volumes, listed(volumes))
        files = [str(path) for host in cloud.hosts.names for path in _files(cloud, host)]
        left = [*(f"{host}:{path}" for host, path in links(cloud)), *files]
        self._teller.check("nothing left on the hosts: no link, no directory of a VM", not left, listed(left))
        devices = loops.attached(cloud.hosts.layout.contents)
        self._teller.check("nothing left on this machine: no loop device", not devices, listed(devices))


def _files(cloud: Cloud, host: str) -> Iterable[object]:
    """What is left of VMs below the datastores of a host."""
    return cloud.hosts.layout.host_datastores(host).glob("*/*")
