# SPDX-License-Identifier: Apache-2.0
"""The calls that a real oned 7.4.0 made for disks with snapshots, disks that were saved, and disks that grew."""

from __future__ import annotations

import pytest

from tests.actions.support import MIB, by_res, content, device_size, links, locks_left
from tests.actions.tm.disks import points
from tests.e2e.replaying import OS, Oned

COPY, PERSISTENT, VOLATILE = (
    "OpenNebula-Image-0-vm0-disk0",
    "OpenNebula-Image-6",
    "OpenNebula-Volatile-vm0-disk3",
)
NEW = b"what its guest has written"
LATER = b"what it has written later"


def write(oned: Oned, name: str, text: bytes) -> None:
    node = oned.cloud.cluster.rd(name).diskful[0].node
    with oned.cloud.hosts.open_disk(node, by_res(name)) as disk:
        disk.write(0, text)


def grown(oned: Oned, name: str, size_mib: int) -> bool:
    """The device is as large as that, and not much larger."""
    return 0 <= device_size(oned.cloud, name) - size_mib * MIB < 4 * MIB


@pytest.fixture
def deployed(stocked: Oned) -> Oned:
    """VM 0 where it was when its disks got snapshots: on host1, in datastore 102."""
    stocked.play("b01-instantiate-deploy")
    stocked.play("b24-suspended-migrate-other-ds")
    return stocked


def test_snapshots_copies_and_growth(deployed: Oned) -> None:
    cloud, play = deployed.cloud, deployed.play

    def holds(name: str, text: bytes) -> bool:
        return content(cloud, name, len(text)) == text

    play("e01-poweroff-disk-snapshot-create-nonpers")
    write(deployed, COPY, NEW)
    play("e02-poweroff-disk-snapshot-create-second")
    assert points(cloud, COPY) == [0, 1]
    play("e03-poweroff-disk-snapshot-revert")
    assert holds(COPY, OS)
    play("e04-poweroff-disk-snapshot-delete")
    assert points(cloud, COPY) == [0]
    write(deployed, PERSISTENT, OS)
    play("e06-poweroff-disk-snapshot-persistent")
    play("e07-poweroff-disk-resize-nonpers")
    play("e08-poweroff-disk-resize-volatile")
    assert grown(deployed, COPY, 2100)
    assert grown(deployed, VOLATILE, 150)
    write(deployed, COPY, NEW)
    play("e09-poweroff-disk-saveas")
    play("e10-poweroff-disk-saveas-of-snapshot")
    assert holds("OpenNebula-Image-15", NEW)
    assert holds("OpenNebula-Image-16", OS)
    assert grown(deployed, "OpenNebula-Image-15", 2100)
    write(deployed, PERSISTENT, NEW)
    play("d01-live-disk-saveas")
    play("d02-live-disk-saveas-persistent-disk-type")
    assert holds("OpenNebula-Image-18", NEW)
    assert holds("OpenNebula-Image-19", NEW)
    play("f01-live-disk-snapshot-create")
    play("f04-live-disk-snapshot-delete")
    assert points(cloud, COPY) == [3]
    play("f05-live-disk-snapshot-create-persistent")
    play("f06-live-disk-resize-nonpers")
    play("f07-live-disk-resize-volatile")
    play("f09-live-disk-resize-persistent-with-snaps")
    assert grown(deployed, COPY, 2500)
    assert grown(deployed, VOLATILE, 200)
    assert grown(deployed, PERSISTENT, 2500)
    assert points(cloud, PERSISTENT) == [0, 1]
    assert holds(COPY, NEW)
    write(deployed, PERSISTENT, LATER)
    play("e20-detach-persistent-with-snapshots")
    assert by_res(PERSISTENT) not in links(cloud)["bob"].values()
    play("e21-image-snapshot-revert")
    assert holds(PERSISTENT, OS)
    assert points(cloud, PERSISTENT) == [0, 1]
    play("e22-image-snapshot-delete")
    assert points(cloud, PERSISTENT) == [0]
    write(deployed, PERSISTENT, NEW)
    play("e24-image-snapshot-flatten")
    assert holds(PERSISTENT, OS)
    assert points(cloud, PERSISTENT) == []
    play("e25-attach-persistent-again-snapshot-then-delete-image-with-snapshots")
    assert by_res(PERSISTENT) in links(cloud)["bob"].values()
    assert points(cloud, COPY) == [3, 5]


@pytest.mark.parametrize(
    ("vm", "saved", "state"), [(3, 21, "i04-terminate-undeployed"), (4, 22, "i05-terminate-stopped")]
)
def test_a_vm_that_is_on_no_host(stocked: Oned, vm: int, saved: int, state: str) -> None:
    """OpenNebula names the front-end when it saves a disk, and the last host when a disk grows."""
    cloud, disk, image = stocked.cloud, f"OpenNebula-Image-0-vm{vm}-disk0", f"OpenNebula-Image-{saved}"
    stocked.play(state)
    size = device_size(cloud, disk)
    stocked.play(f"{state[:3]}-{state.rpartition('-')[2]}-saveas")
    assert content(cloud, image, len(OS)) == OS
    if vm == 3:
        stocked.play("i04-undeployed-resize")
        assert grown(stocked, disk, 2222)
    assert device_size(cloud, image) == size
    assert links(cloud) == {}
    stocked.play(f"{state}:go")
    assert stocked.of_vms() == set()
    assert content(cloud, image, len(OS)) == OS
    assert locks_left(cloud) == []
