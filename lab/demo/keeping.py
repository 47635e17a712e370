# SPDX-License-Identifier: Apache-2.0
"""The part of the story in which content is kept: snapshots, growth, a revert that fails, copies, an export."""

from __future__ import annotations

import hashlib
import re

from lab.demo.stage import KIB, MIB, Stage, digest
from lab.demo.telling import StoryEnded
from lab.hosts import RUNNING
from lab.one import AppState, Image, VirtualMachine

PLACE = 3 * MIB
"""Where the guest writes in this part."""
DRAFT = b"typed, and not yet saved"
SECOND = b"a second version of the text"
SMALL, LARGE = 32, 48
"""MiB before and after the growth."""


class Keeping:
    """Works on one disk of a VM, that of a persistent image."""

    def __init__(self, stage: Stage, vm: VirtualMachine, disk: int, image: Image) -> None:
        self._stage = stage
        self._teller = stage.teller
        self._cloud = stage.cloud
        self._one = stage.cloud.one
        self._vm = vm
        self._disk = disk
        self._image = image
        self._second = b""
        """All of the disk at its second snapshot."""

    def snapshot(self) -> None:
        """The guest's agent freezes its file systems."""
        vm, domains = self._vm, self._cloud.hosts.domains
        domains.set_agent(vm.deploy_id, RUNNING)
        self._teller.step(
            "A snapshot while the VM runs; what its guest wrote last is only in its memory",
            f"onevm disk-snapshot-create {vm.id} {self._disk} draft",
        )
        self._guest_writes(DRAFT, cached=True)
        self._take("draft")
        self._stage.told_calls(with_map=False)
        self._show_log("consistent")
        done = [f"{call.action} {call.filesystems}" for call in domains.calls]
        frozen = self._cloud.hosts.frozen_domains()
        self._teller.check(
            "the guest was frozen meanwhile, and is not any more",
            done == ["freeze 2", "thaw 2"] and not frozen,
            f"{done} {frozen}",
        )

    def grow(self) -> None:
        """And a second snapshot."""
        vm = self._vm
        self._teller.step(
            f"The disk grows from {SMALL} to {LARGE} MiB, the guest writes on, a second snapshot",
            f"onevm disk-resize {vm.id} {self._disk} {LARGE}",
            f"onevm disk-snapshot-create {vm.id} {self._disk} second",
        )
        self._stage.running(self._one.vm_disk_resize(vm, self._disk, LARGE))
        guest = self._stage.guest(vm, self._disk)
        size, added = guest.size(), guest.read(SMALL * MIB, (LARGE - SMALL) * MIB)
        self._guest_writes(SECOND)
        self._take("second")
        self._stage.told_calls(with_map=False)
        self._second = guest.read(0, LARGE * MIB)
        self._teller.check(
            f"the running guest has the {LARGE} MiB, and zeros in the new ones",
            size >= LARGE * MIB and not any(added),
            f"{size // MIB} MiB",
        )

    def fail_to_revert(self) -> None:
        """LINSTOR has deleted the volume already when a storage pool refuses."""
        vm, rd = self._vm, self._cloud.cluster.rd(self._image.source)
        self._teller.step(
            "Back to the first snapshot; in the middle of it a storage pool is full",
            f"onevm poweroff {vm.id}",
            self._revert_command,
        )
        self._guest_writes(b"a mistake".ljust(len(SECOND)))
        self._one.vm_poweroff(vm)
        before = self._stage.volume(rd.name)
        self._cloud.cluster.satellites.fail(
            rd.diskful[0].node, "restore-refused", "No space left in the pool"
        )
        self._one.vm_disk_snapshot_revert(vm, self._disk, 0)
        self._stage.told_calls(with_map=False)
        self._teller.error(f'ERROR="{vm.error}"')
        self._show_log("has what it had before")
        after = self._stage.volume(rd.name)
        self._teller.check(
            f"the revert failed, the disk has what it had: {digest(after)}",
            bool(vm.error) and after == before,
            vm.error,
        )

    def revert(self) -> None:
        vm, rd = self._vm, self._cloud.cluster.rd(self._image.source)
        self._teller.step("There is room again", self._revert_command)
        self._one.vm_disk_snapshot_revert(vm, self._disk, 0)
        self._stage.told_calls(with_map=False)
        content = self._stage.volume(rd.name)
        self._teller.check(
            f"the disk has {SMALL} MiB, and what the guest had in its memory: {DRAFT.decode()!r}",
            (len(content), self._text(content, DRAFT)) == (SMALL * MIB, DRAFT),
            f"{len(content) // MIB} MiB, {self._text(content, DRAFT)!r}",
        )
        kept = sorted(one.name for one in rd.snapshots.values())
        self._teller.check(
            "both snapshots are there, the younger one too, and no other",
            kept == ["OpenNebula-Snap-0", "OpenNebula-Snap-1"],
            repr(kept),
        )

    def save(self) -> Image:
        """The younger snapshot."""
        vm = self._vm
        self._teller.step(
            "The younger snapshot becomes an image of its own",
            f"onevm disk-saveas {vm.id} {self._disk} second --snapshot 1",
        )
        saved = self._stage.ready(self._one.vm_disk_saveas(vm, self._disk, "second", 1))
        self._stage.told_calls(with_map=False)
        content = self._stage.volume(saved.source)
        self._teller.check(
            f"it holds all that the disk had then: {digest(content)}",
            content == self._second,
            digest(self._second),
        )
        return saved

    def flatten(self) -> None:
        """The VM is gone; the image has kept its snapshots."""
        rd = self._cloud.cluster.rd(self._image.source)
        self._teller.step(
            "The persistent image becomes its second snapshot for good",
            f"oneimage snapshot-flatten {self._image.name} 1",
        )
        self._one.image_snapshot_flatten(self._image.id, 1)
        self._stage.told_calls(with_map=False)
        content = self._stage.volume(rd.name)
        self._teller.check(
            f"it holds the bytes of that: {digest(content)}", content == self._second, self._image.error
        )
        self._teller.check("no snapshot is left", not rd.snapshots, repr(sorted(rd.snapshots)))

    def export(self) -> None:
        self._teller.step(
            "The image goes to a marketplace, as a qcow2 file that is gone from the host afterwards",
            f"onemarketapp create --name {self._image.name} --image {self._image.id} -m 0",
        )
        before = set(self._cloud.cluster.rds)
        app = self._one.marketapp_create(self._image)
        if app.state is not AppState.READY:
            raise StoryEnded(app.error)
        self._stage.told_calls(with_map=False)
        published = self._one.market.path(app).read_bytes()
        self._teller.check(
            f"the marketplace has {len(published) // KIB} KiB with the MD5 that the driver told",
            hashlib.md5(published).hexdigest() == app.md5,
            app.md5,
        )
        left = sorted(set(self._cloud.cluster.rds) ^ before) + self._exported_file()
        self._teller.check("the volume from which it was read and the file are gone", not left, repr(left))

    # -- parts ---------------------------------------------------------------------------------------

    def _exported_file(self) -> list[str]:
        """Where the marketplace got it from, if it is still there."""
        told = next(one.stdout for one in reversed(self._one.calls) if one.name.endswith("/export"))
        host, path = re.findall("<IMPORT_SOURCE>.*?ssh://(.*?):(.*?)[]<]", told)[0]
        return [path] if self._cloud.hosts.run(host, f"test -e {path}").returncode == 0 else []

    @property
    def _revert_command(self) -> str:
        return f"onevm disk-snapshot-revert {self._vm.id} {self._disk} 0"

    def _guest_writes(self, text: bytes, *, cached: bool = False) -> None:
        guest = self._stage.guest(self._vm, self._disk)
        (guest.write_cached if cached else guest.write)(PLACE, text)

    def _show_log(self, words: str) -> None:
        for line in self._stage.logged(words):
            self._teller.say(f"linstor.log: {line}")

    def _take(self, name: str) -> None:
        self._one.vm_disk_snapshot_create(self._vm, self._disk, name)
        self._stage.running(self._vm)

    @staticmethod
    def _text(content: bytes, text: bytes) -> bytes:
        return content[PLACE : PLACE + len(text)]
