# SPDX-License-Identifier: Apache-2.0
"""What users do with disks, snapshots and images."""

from __future__ import annotations

from random import Random
from typing import Callable

from tests.e2e.snapshot_stage import GROUPS, Stage
from tests.e2e.stored import Version, Volume

LARGEST = 20
"""MiB of a disk."""

MOST_SNAPSHOTS, MOST_IMAGES, MOST_COPIES = 3, 5, 2

Operation = Callable[["Play", Random], None]


class Play(Stage):
    """What is done, and how, is chosen by chance."""

    def possible(self) -> list[Operation]:
        """What can be done now."""
        able = [Play.plug_or_unplug, Play.plug_or_unplug_copy]
        if self.disks:
            able += [Play.grow, Play.shrink]
        if self._with_room():
            able.append(Play.take)
        if self._snapshotted():
            able += [Play.revert, Play.drop]
        if len(self.images) < MOST_IMAGES:
            able.append(Play.clone)
            if self.disks:
                able.append(Play.save)
            if self._snapshotted():
                able.append(Play.save_snapshot)
        if self.own.disk is None and self.own.snapshots:
            able += [Play.revert_image, Play.flatten, Play.drop_of_image]
        if self._unused():
            able.append(Play.forget)
        return able

    def step(self, operation: Operation, chance: Random) -> None:
        """One of the possible operations, after the guest wrote something, and a look at everything."""
        if chance.randrange(5) == 0:
            self.restart_controller()
        if self.disks:
            self.write(chance, *self._disk(chance))
        self.story.append(operation.__name__)
        operation(self, chance)
        self.check()

    # -- operations ----------------------------------------------------------------------------------

    def take(self, chance: Random) -> None:
        number, volume = chance.choice(self._with_room())
        running = self.power(chance)
        self.take_snapshot(chance, number, volume, running, self.fault(chance))

    def revert(self, chance: Random) -> None:
        number, volume, snapshot = self._snapshot(chance)
        self.power(chance, False)
        fault, stage = self.fault(chance), self.death(chance)
        self.tell(number, snapshot, fault, stage)
        self.do(lambda: self.one.vm_disk_snapshot_revert(self.vm, number, snapshot), fault)
        volume.present = volume.snapshots[snapshot]

    def drop(self, chance: Random) -> None:
        number, volume, snapshot = self._snapshot(chance)
        self.power(chance)
        fault = self.fault(chance)
        self.tell(number, snapshot, fault)
        self.do(lambda: self.one.vm_disk_snapshot_delete(self.vm, number, snapshot), fault)
        del volume.snapshots[snapshot]

    def save(self, chance: Random) -> None:
        number, volume = self._disk(chance)
        running = self.power(chance)
        image, group = self.save_as(chance, number, -1)
        if running and self.agent:
            self.sync()
        self.adopt(image, volume.present, group)

    def save_snapshot(self, chance: Random) -> None:
        number, volume, snapshot = self._snapshot(chance)
        self.power(chance)
        image, group = self.save_as(chance, number, snapshot)
        # oned takes the size that the disk has now for that of the snapshot.
        image.size_mb = volume.snapshots[snapshot].size_mb
        self.adopt(image, volume.snapshots[snapshot], group)

    def grow(self, chance: Random) -> None:
        number, volume = self._disk(chance)
        size = volume.present.size_mb + chance.randrange(1, 6)
        if size > LARGEST:
            return
        running = self.power(chance)
        if self.snapshots_keep_size and volume.snapshots:
            self.refused(lambda: self.one.vm_disk_resize(self.vm, number, size), "has snapshots")
            return
        fault = self.fault(chance)
        self.tell(number, size, fault)
        self.do(lambda: self.one.vm_disk_resize(self.vm, number, size), fault)
        length = self.cloud.cluster.rd(volume.name).volumes[0].usable_kib * 1024
        assert length >= len(volume.present.data)
        volume.present = Version(volume.present.data.ljust(length, b"\0"), size)
        if running:
            assert self.one.hypervisor.guest(self.vm.id, number).size() == length

    def shrink(self, chance: Random) -> None:
        """Is refused, and nothing changes."""
        number, volume = self._disk(chance)
        self.power(chance)
        self.tell(number)
        less = volume.present.size_mb - 1
        self.refused(lambda: self.one.vm_disk_resize_unchecked(self.vm, number, less), "shrink")

    def plug_or_unplug(self, chance: Random) -> None:
        """The persistent image."""
        self.power(chance)
        if self.own.disk is None:
            self.plug(chance, self.persistent)
        else:
            self.unplug(chance, self.own.disk)

    def plug_or_unplug_copy(self, chance: Random) -> None:
        """A copy of an image, while there is room for one."""
        self.power(chance)
        copies = [disk for disk, volume in self.disks.items() if volume is not self.own]
        if len(copies) < MOST_COPIES:
            self.plug(chance, self.one.image(chance.choice(self._not_persistent())))
        else:
            self.unplug(chance, chance.choice(copies))

    def revert_image(self, chance: Random) -> None:
        snapshot = chance.choice(sorted(self.own.snapshots))
        fault, stage = self.fault(chance), self.death(chance)
        self.tell(snapshot, fault, stage)
        self.do(lambda: self.one.image_snapshot_revert(self.persistent.id, snapshot), fault)
        self.own.present = self.own.snapshots[snapshot]

    def flatten(self, chance: Random) -> None:
        snapshot = chance.choice(sorted(self.own.snapshots))
        fault, stage = self.fault(chance), self.death(chance)
        self.tell(snapshot, fault, stage)
        self.do(lambda: self.one.image_snapshot_flatten(self.persistent.id, snapshot), fault)
        self.own.present = self.own.snapshots[snapshot]
        self.own.snapshots, self.own.flattened = {}, True
        # oned leaves the image's SIZE as it was.
        self.persistent.size_mb = self.own.present.size_mb

    def drop_of_image(self, chance: Random) -> None:
        snapshot = chance.choice(sorted(self.own.snapshots))
        fault = self.fault(chance)
        self.tell(snapshot, fault)
        self.do(lambda: self.one.image_snapshot_delete(self.persistent.id, snapshot), fault)
        del self.own.snapshots[snapshot]

    def clone(self, chance: Random) -> None:
        """Of an image that no VM writes to, and that has no snapshots: oned wants it so."""
        original = chance.choice(self._clonable())
        datastore, fault = chance.choice(sorted(GROUPS)), self.fault(chance)
        self.tell(original, datastore, fault)
        made = self.make(lambda name: self.one.image_clone(original, name, datastore), fault)
        self.adopt(made, self.images[original].present, GROUPS[datastore], *self.images[original].groups)

    def forget(self, chance: Random) -> None:
        """Delete an image."""
        number, fault = chance.choice(self._unused()), self.fault(chance)
        self.tell(number, fault)
        self.do(lambda: self.one.image_delete(number), fault)
        self.expected.volumes.remove(self.images.pop(number))

    # -- what there is to choose from ----------------------------------------------------------------

    def _disk(self, chance: Random) -> tuple[int, Volume]:
        return chance.choice(sorted(self.disks.items(), key=lambda item: item[0]))

    def _with_room(self) -> list[tuple[int, Volume]]:
        return [one for one in self.disks.items() if len(one[1].snapshots) < MOST_SNAPSHOTS]

    def _snapshotted(self) -> list[tuple[int, Volume]]:
        return [one for one in self.disks.items() if one[1].snapshots]

    def _snapshot(self, chance: Random) -> tuple[int, Volume, int]:
        number, volume = chance.choice(self._snapshotted())
        return number, volume, chance.choice(sorted(volume.snapshots))

    def _not_persistent(self) -> list[int]:
        return [one for one in self.images if one != self.persistent.id]

    def _clonable(self) -> list[int]:
        return [one for one, volume in self.images.items() if volume.disk is None and not volume.snapshots]

    def _unused(self) -> list[int]:
        """Images that may go; one stays to make disks of."""
        known = self._not_persistent()
        return [one for one in known if not self.one.image(one).vms] if len(known) > 1 else []


OPERATIONS: tuple[Operation, ...] = (
    Play.plug_or_unplug,
    Play.plug_or_unplug_copy,
    Play.grow,
    Play.shrink,
    Play.take,
    Play.revert,
    Play.drop,
    Play.clone,
    Play.save,
    Play.save_snapshot,
    Play.revert_image,
    Play.flatten,
    Play.drop_of_image,
    Play.forget,
)
