# SPDX-License-Identifier: Apache-2.0
"""A VM with disks and the images around it, on which anything may be done, also while the controller fails."""

from __future__ import annotations

import itertools
import os
from random import Random
from typing import Callable, NamedTuple, TypeVar

from lab.cloud import Cloud
from lab.controller.dying import STAGES
from lab.hosts.domains import RUNNING as AGENT
from lab.one import Image, VmState
from tests.actions.support import MIB, by_res
from tests.e2e.stored import Expected, Version, Volume

SIZE = 5
"""MiB of a new image: less than the device has on LVM, whose extents are of 4 MiB."""

GROUPS = {100: "one", 104: "one-three"}
"""Of the image datastores."""


class Fault(NamedTuple):
    """Something that goes wrong at the ``nth`` request of that method, or of any."""

    action: str
    method: str
    nth: int


FAULTS = [
    Fault(action, method, nth)
    for action in ("lose_reply", "fail_before")
    for method in ("POST", "PUT", "DELETE", "")
    for nth in (1, 2, 3)
]

_Result = TypeVar("_Result")


class Stage:
    """Cloud, VM and images, and what is expected of them.

    A call that fails after a request went wrong is repeated, as users do, and has to work then. Whatever is not as
    expected raises AssertionError. ``story`` tells what has happened.
    """

    def __init__(self, provider: str, rest_version: str, chance: Random) -> None:
        self.cloud = Cloud(provider=provider, rest_version=rest_version)
        self.cloud.start()
        self.one = self.cloud.one
        thick, new = provider == "LVM", rest_version >= "1.29"
        self.expected = Expected(self.cloud, copies=thick and not new)
        self.snapshots_keep_size = thick and new
        self.images: dict[int, Volume] = {}
        self.disks: dict[int, Volume] = {}
        self._numbers = itertools.count()
        self._doomed = False
        """Whether the controller is to die in some rollback."""
        self.story: list[str] = []
        for store in self.one.inventory.datastores.values():
            store.template.update(LINSTOR_ATTACH_TIMEOUT="5", LINSTOR_TIMEOUT="5")
        self._begin(chance, chance.choice(("dave", "alice")), chance.choice((True, False)))

    def close(self) -> None:
        self.cloud.stop()

    def end(self) -> None:
        """All is deleted, and leaves nothing behind."""
        self.do(lambda: self.one.vm_terminate(self.vm), None)
        for number in list(self.images):
            self.do(lambda number=number: self.one.image_delete(number), None)  # type: ignore[misc]
        self.expected.check_nothing()

    def check(self) -> None:
        for number, volume in self.images.items():
            image = self.one.image(number)
            assert (image.source, image.size_mb) == (volume.name, volume.present.size_mb)
        for number, volume in self.disks.items():
            assert int(self.vm.disk(number)["SIZE"]) == volume.present.size_mb
            record = self.vm.snapshots.get(number)
            assert sorted(record.records if record else ()) == sorted(volume.snapshots)
        self.expected.check(self.vm.id, self.vm.host, self.vm.record.ds_id)

    # -- for operations ------------------------------------------------------------------------------

    def take_snapshot(
        self, chance: Random, number: int, volume: Volume, running: bool, fault: Fault | None
    ) -> None:
        """A snapshot, from which the disk soon differs."""
        self.tell(number, fault)
        taken = self.do(lambda: self.one.vm_disk_snapshot_create(self.vm, number), fault)
        if running and self.agent:
            self.sync()
        volume.snapshots[taken] = volume.present
        self.write(chance, number, volume)

    def _begin(self, chance: Random, host: str, agent: bool) -> None:
        golden = self._new_image("golden")
        self.persistent = self._new_image("own", persistent=True)
        self.own = self.images[self.persistent.id]
        self.vm = self.one.vm_instantiate([golden, self.persistent], host, context=False)
        assert not self.vm.error, self.vm.error
        self._plugged(self.vm.disks[0], golden)
        self._plugged(self.vm.disks[1], self.persistent)
        self.agent = agent
        if agent:
            self.cloud.hosts.domains.set_agent(self.vm.deploy_id, AGENT)
        self.tell(f"on {host}", "with an agent" if agent else "")
        for number in (0, 1, 1, 1):
            self.take_snapshot(chance, number, self.disks[number], True, None)
        self.check()

    def _new_image(self, name: str, **options: bool) -> Image:
        """With something at both ends."""
        image = self.one.image_create(name, size=SIZE, **options)
        assert not image.error, image.error
        node = self.cloud.cluster.rd(image.source).diskful[0].node
        with self.cloud.hosts.open_disk(node, by_res(image.source)) as device:
            for offset in (0, device.size() - 9000):
                device.write(offset, Random(f"{name} {offset}").randbytes(9000))
        self.adopt(image, Version(self.expected.device(image.source), SIZE), GROUPS[100])
        return image

    def write(self, chance: Random, number: int, volume: Volume) -> None:
        """At the border is over the end of what OpenNebula takes for the size of the disk."""
        place, length = chance.choice(("begin", "middle", "border", "end")), chance.choice((1, 700, 5000))
        cached = self.runs and chance.choice((True, False))
        data = Random(chance.randrange(10_000)).randbytes(length)
        last = len(volume.present.data) - length
        offset = {
            "begin": 0,
            "middle": last * chance.randrange(100) // 100,
            "border": min(volume.present.size_mb * MIB - length // 2, last),
            "end": last,
        }[place]
        self.tell("write", number, place, length, "cached" if cached else "")
        if not self.runs:
            path = os.path.normpath(self.one.disk_path(self.vm, number))
            with self.cloud.hosts.open_disk(self.vm.host, path) as device:
                device.write(offset, data)
            volume.write(offset, data)
            return
        guest = self.one.hypervisor.guest(self.vm.id, number)
        volume.cached.append((offset, data))
        if cached:
            guest.write_cached(offset, data)
        else:
            guest.write(offset, data)
            volume.sync()

    def tell(self, *words: object) -> None:
        state = "running" if self.runs else "off"
        self.story.append(" ".join(["  ", state, *(str(word) for word in words if word not in ("", None))]))

    @property
    def runs(self) -> bool:
        return self.vm.state is VmState.ACTIVE

    def power(self, chance: Random, running: bool | None = None) -> bool:
        """Whether the VM runs now; chance says whether it shall."""
        running = chance.choice((True, False)) if running is None else running
        if running and not self.runs:
            self.one.vm_resume(self.vm)
        elif self.runs and not running:
            self.one.vm_poweroff(self.vm)
            self.sync()
        assert self.runs == running, self.vm.error
        return running

    def sync(self) -> None:
        """All that the guest has in memory is on its disks."""
        for volume in self.disks.values():
            volume.sync()

    def fault(self, chance: Random) -> Fault | None:
        return chance.choice((None, None, chance.choice(FAULTS)))

    def death(self, chance: Random) -> str | None:
        """Let the controller die when a rollback reaches a stage, which native ones do not."""
        stage = chance.choice((None, None, None, *STAGES))
        if stage is not None:
            self.cloud.cluster.dying.at(stage)
            self._doomed = True
        return stage

    def do(self, act: Callable[[], _Result], fault: Fault | None) -> _Result:
        """Its result when all driver calls of it were successful; it may fail once, when something went wrong."""
        before, faults = len(self.one.calls), self.cloud.controller.faults
        if fault is not None:
            faults.add(fault.action, method=fault.method, nth=fault.nth)
        result = act()
        faults.clear()
        failed = [call for call in self.one.calls[before:] if not call.ok]
        if not failed:
            return result
        self.tell(*(f"{call.name}: {call.stderr}" for call in failed))
        assert fault or self._doomed, failed
        self._doomed = False
        return self.do(act, None)

    def refused(self, act: Callable[[], object], why: str) -> None:
        """It makes one driver call, which fails and says why."""
        before = len(self.one.calls)
        act()
        (call,) = self.one.calls[before:]
        assert not call.ok, call
        assert why in call.user_error

    def restart_controller(self) -> None:
        self.cloud.controller.stop()
        self.cloud.controller.start()

    def make(self, make: Callable[[str], Image], fault: Fault | None) -> Image:
        """A new image; what failed is deleted."""
        failed: list[Image] = []

        def act() -> Image:
            for image in failed:
                self.one.image_delete(image.id)
            failed.append(make(f"image {next(self._numbers)}"))
            return failed[-1]

        image = self.do(act, fault)
        assert not image.error, image.error
        return image

    def save_as(self, chance: Random, disk: int, snapshot: int) -> tuple[Image, str]:
        """Into the group of the disk or into another one."""
        group, fault = chance.choice(sorted(GROUPS.values())), self.fault(chance)
        self.tell(disk, snapshot, group, fault)
        origin = self.one.image(int(self.vm.disk(disk)["IMAGE_ID"]))
        template = self.one.inventory.datastores[origin.datastore_id].template
        before, template["LINSTOR_RESOURCE_GROUP"] = template["LINSTOR_RESOURCE_GROUP"], group
        image = self.make(lambda name: self.one.vm_disk_saveas(self.vm, disk, name, snapshot), fault)
        template["LINSTOR_RESOURCE_GROUP"] = before
        return image, group

    def adopt(self, image: Image, content: Version, *groups: str) -> None:
        """The image is there, and has that content."""
        owner = {"instance": "one", "datastore": str(image.datastore_id), "image": str(image.id)}
        volume = Volume(image.source, owner, set(groups), content)
        self.images[image.id] = volume
        self.expected.volumes.append(volume)

    def plug(self, chance: Random, image: Image) -> None:
        fault = self.fault(chance)
        self.tell("plug", image.id, fault)
        self.do(lambda: self.one.vm_attach(self.vm, image), fault)
        self._plugged(self.vm.disks[-1], image)

    def _plugged(self, disk: dict[str, str], image: Image) -> None:
        number, origin = int(disk["DISK_ID"]), self.images[image.id]
        volume = origin
        if not image.persistent:
            owner = {**origin.owner, "vm": str(self.vm.id), "disk": str(number)}
            name = f"{origin.name}-vm{self.vm.id}-disk{number}"
            groups = {*origin.groups, GROUPS[image.datastore_id]}
            volume = Volume(name, owner, groups, origin.present)
            self.expected.volumes.append(volume)
        volume.disk = number
        self.disks[number] = volume

    def unplug(self, chance: Random, number: int) -> None:
        volume, fault = self.disks[number], self.fault(chance)
        self.tell("unplug", number, fault)
        if self.runs:
            # As one who unmounts it.
            self.one.hypervisor.guest(self.vm.id, number).sync()
            volume.sync()
        self.do(lambda: self.one.vm_detach(self.vm, number), fault)
        del self.disks[number]
        volume.disk = None
        if volume is not self.own:
            self.expected.volumes.remove(volume)
