# SPDX-License-Identifier: Apache-2.0
"""Replaying the calls that a real oned 7.4.0 made."""

from __future__ import annotations

from pathlib import Path

from lab.cloud import Cloud
from lab.images import write_raw
from lab.one import Call
from lab.one.captures import CapturedCall, load
from tests.actions.support import MIB, links, locks_left, resources

CAPTURED = load(Path(__file__).resolve().parents[1] / "data" / "captures")
OS = b"an operating system"
CD = b"an installation medium"
IMAGES = {f"OpenNebula-Image-{number}" for number in (0, 1, 2, 3, 4, 6, 7)}


def scenario(name: str) -> list[CapturedCall]:
    found = [call for call in CAPTURED if call.scenario == name and call.driver != "vmm"]
    assert found, name
    return found


class Oned:
    """Replays scenarios in the cloud; its images are those of the captured cloud."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        for name, text in (("os.img", OS), ("cd.iso", CD)):
            write_raw(cloud.images_dir / name, 1024 * MIB, {0: text, 700 * MIB: text})
        for number in range(8):
            # What drivers ask one.image.info for.
            cloud.one.image_create(f"image {number}", size=1024, source=f"OpenNebula-Image-{number}")
        for vm in {call.argv[-2] for call in CAPTURED if call.action == "context"}:
            directory = cloud.one.tree.vms / vm
            directory.mkdir(parents=True, exist_ok=True)
            (directory / "context.sh").write_text(f"VMID='{vm}'\n")

    def play(self, name: str) -> list[Call]:
        """All calls of a scenario; each has to work, also where oned's recorder was told to fail."""
        made = []
        for captured in scenario(name):
            call = self.cloud.replay(captured)
            assert (call.rc, call.stderr) == (0, ""), f"{captured.seq} {captured.name} {captured.argv}"
            if captured.rc == 0 and captured.action not in ("monitor", "context"):
                assert call.stdout.split() == captured.stdout.split(), captured.seq
            made.append(call)
        assert locks_left(self.cloud) == []
        return made

    def of_vms(self) -> set[str]:
        """Volumes that belong to VMs, without the beginnings of their names."""
        return {name.partition("-vm")[2] for name in resources(self.cloud) if "-vm" in name}

    def linked(self, host: str, vm: int) -> set[str]:
        """Disks of a VM that are linked on a host."""
        found = [path.split("/") for path in links(self.cloud).get(host, {})]
        return {disk for _, number, disk in found if int(number) == vm}

    def iso(self, host: str, datastore: int, vm: int, disk: int) -> bytes:
        top = self.cloud.hosts.layout.host_datastores(host)
        return (top / str(datastore) / str(vm) / f"disk.{disk}").read_bytes()
