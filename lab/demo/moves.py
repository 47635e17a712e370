# SPDX-License-Identifier: Apache-2.0
"""The part of the story in which a VM changes its host: because that dies, and while it runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from lab.controller.model import ResourceDefinition
from lab.demo.stage import MIB, Stage, listed
from lab.demo.telling import StoryEnded
from lab.devices_protocol import DeviceBusy
from lab.one import Call, HostState, VirtualMachine

PLACE = 2 * MIB
"""Where the guest writes in this part, on each disk."""
BEFORE_THE_END = b"written on a host that then died"
ON_THE_WAY = b"written while the VM moved"


class Moves:
    """Takes one VM to another host and back."""

    def __init__(self, stage: Stage, vm: VirtualMachine) -> None:
        self._stage = stage
        self._teller = stage.teller
        self._cloud = stage.cloud
        self._one = stage.cloud.one
        self._vm = vm

    def lose_host(self, new: str) -> None:
        """OpenNebula's host hook moves the VM."""
        vm, cloud, lost = self._vm, self._cloud, self._vm.host
        self._teller.step(
            f"{lost} loses power; OpenNebula's host hook starts its VM on {new}",
            f"onevm migrate {vm.id} {new}",
        )
        self._write(BEFORE_THE_END)
        cloud.cluster.set_online(lost, False)
        cloud.hosts.set_power(lost, False)
        self._one.host_error(lost)
        calls = len(cloud.hosts.calls)
        self._stage.running(self._one.vm_migrate(vm, new))
        self._stage.told_calls()
        self._teller.say(f"deleting: LINSTOR has noted that it must go, and does it when {lost} is back.")
        self._check_written(BEFORE_THE_END)
        asked = [call for call in cloud.hosts.calls[calls:] if call["host"] == lost]
        self._teller.check(f"nothing was asked of {lost}", not asked)

    def return_host(self, lost: str) -> None:
        noted = self._deleting()
        self._teller.step(f"{lost} is back")
        self._cloud.hosts.set_power(lost, True)
        self._cloud.cluster.set_online(lost, True)
        self._one.host_state(lost, HostState.MONITORED)
        self._stage.show_map()
        self._teller.say(f"- VM {self._vm.id}: a link of the VM's old directory; {lost} has no such device.")
        left = self._deleting()
        self._teller.check(
            f"LINSTOR has removed from {lost} what it had noted: {len(noted)} resources",
            bool(noted) and not left,
            listed(left),
        )

    def migrate_live(self, new: str) -> None:
        """The guest writes when both hosts have its disks open."""
        vm, old = self._vm, self._vm.host
        self._teller.step(
            f"The VM moves back to {new} while it runs and its guest writes",
            f"onevm migrate --live {vm.id} {new}",
        )
        self._check_alone()
        watchers = self._one.executor.watchers

        def between(call: Call) -> None:
            if call.ok and call.name.endswith("/premigrate"):
                self._stage.told_calls(with_map=False)
                self._open_twice(old, new)

        watchers.append(between)
        try:
            self._one.vm_migrate(vm, new, live=True)
        finally:
            watchers.remove(between)
        self._stage.told_calls()
        self._stage.running(vm)
        self._check_alone()
        self._check_written(ON_THE_WAY)

    # -- parts ---------------------------------------------------------------------------------------

    def _open_twice(self, old: str, new: str) -> None:
        """What the hypervisor does next, stretched for a look at it."""
        with contextlib.ExitStack() as opened:
            try:
                for disk in self._disks():
                    path = self._one.disk_path(self._vm, disk)
                    opened.enter_context(self._cloud.hosts.open_disk(new, path))
            except (OSError, DeviceBusy) as refusal:
                raise StoryEnded(f"{new} can not open disk {disk}: {refusal}") from refusal
            self._write(ON_THE_WAY)
            self._stage.show_map()
            holders = [
                self._cloud.hosts.devices.openers(self._volume(disk).content_key(0)) for disk in self._disks()
            ]
        self._teller.check(
            f"in between {old} and {new} have {len(holders)} disks open for writing",
            holders == [{old, new}] * len(holders),
            repr(holders),
        )

    def _disks(self) -> list[int]:
        """Those that can be written."""
        return [int(disk["DISK_ID"]) for disk in self._vm.disks if disk.get("READONLY") != "YES"]

    def _write(self, text: bytes) -> None:
        for disk in self._disks():
            self._stage.guest(self._vm, disk).write(PLACE, text)

    def _check_written(self, text: bytes) -> None:
        disks = self._disks()
        read = [self._stage.guest(self._vm, disk).read(PLACE, len(text)) for disk in disks]
        self._teller.check(
            f"the guest on {self._vm.host} reads on {len(disks)} disks {text.decode()!r}",
            read == [text] * len(disks),
            repr(read),
        )

    def _check_alone(self) -> None:
        here, others = self._vm.host, set(self._second_writers())
        self._teller.check(f"only {here} can open the VM's disks for writing", not others, listed(others))

    def _second_writers(self) -> Iterator[str]:
        """Hosts that can open a disk of the VM besides its own host."""
        for disk in self._disks():
            device = self._device(disk)
            for resource in list(self._volume(disk).resources.values()):
                if resource.node != self._vm.host:
                    with (
                        contextlib.suppress(OSError, DeviceBusy),
                        self._cloud.hosts.open_disk(resource.node, device),
                    ):
                        yield resource.node

    def _device(self, disk: int) -> str:
        path = self._one.disk_path(self._vm, disk)
        return self._cloud.hosts.readlink(self._vm.host, path)

    def _volume(self, disk: int) -> ResourceDefinition:
        return self._cloud.cluster.rd(self._device(disk).split("/")[-2])

    def _deleting(self) -> list[str]:
        return [
            rd.name
            for rd in self._cloud.cluster.rds.values()
            for resource in rd.resources.values()
            if resource.deleting
        ]
