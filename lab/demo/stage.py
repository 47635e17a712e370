# SPDX-License-Identifier: Apache-2.0
"""What the parts of the story share: the cloud, its calls, and looks at what became of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from lab.cloud import Cloud
from lab.counting import Meter
from lab.demo.cluster_map import cluster_map
from lab.demo.telling import StoryEnded, Teller
from lab.hosts import Guest
from lab.one import Image, ImageState, LcmState, OneError, VirtualMachine

KIB = 1 << 10
MIB = 1 << 20


class Stage:
    """Looks raise StoryEnded when something that the rest of the story needs did not work."""

    def __init__(self, cloud: Cloud, teller: Teller) -> None:
        self.cloud = cloud
        self.teller = teller
        self._meter = Meter(cloud)
        self._told = 0

    def told_calls(self, *, with_map: bool = True) -> None:
        """Print the calls since the last time, and where the volumes are now."""
        self.teller.calls(self._meter.since(self._told))
        self._told = len(self._meter.taken)
        if with_map:
            self.show_map()

    def show_map(self) -> None:
        self.teller.show(cluster_map(self.cloud, self.teller.console.width))

    def create(self, name: str, **options: object) -> Image:
        try:
            return self.cloud.one.image_create(name, **options)  # type: ignore[arg-type]
        except OneError as refusal:
            raise StoryEnded(str(refusal)) from refusal

    @staticmethod
    def ready(image: Image) -> Image:
        if image.state is not ImageState.READY:
            raise StoryEnded(f"image {image.name} is in {image.state.name}: {image.error}")
        return image

    @staticmethod
    def running(vm: VirtualMachine) -> VirtualMachine:
        if vm.lcm_state is not LcmState.RUNNING or vm.error:
            raise StoryEnded(f"VM {vm.id} is {vm.state_name}: {vm.error}")
        return vm

    def guest(self, vm: VirtualMachine, disk: int) -> Guest:
        return self.cloud.one.hypervisor.guest(vm.id, disk)  # type: ignore[return-value]

    def volume(self, resource: str) -> bytes:
        """All bytes, as a process on a host with a replica reads them."""
        rd = self.cloud.cluster.rd(resource)
        with self.cloud.hosts.open_disk(
            rd.diskful[0].node, f"/dev/drbd/by-res/{resource}/0", write=False
        ) as disk:
            return disk.read(0, rd.volumes[0].size_kib * KIB)

    def logged(self, words: str) -> list[str]:
        """What the driver has told administrators with these words, without time and id of the action."""
        lines = (self.cloud.one.tree.var / "linstor.log").read_text().splitlines()
        return [line.split(" ", 4)[-1] for line in lines if words in line]

    def used_kib(self, resource: str) -> int:
        return self.cloud.hosts.devices.allocated_kib(self.cloud.cluster.rd(resource).content_key(0))


def digest(data: bytes) -> str:
    return f"sha256 {hashlib.sha256(data).hexdigest()[:12]}"


def listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
