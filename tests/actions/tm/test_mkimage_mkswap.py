# SPDX-License-Identifier: Apache-2.0
"""``tm/linstor/mkimage`` and ``mkswap``: a VM's disk that comes from no image."""

from __future__ import annotations

import pytest

from lab.cloud import Cloud
from lab.one.disks import DiskTemplate
from tests.actions.support import MIB, assert_nothing_left, by_res, device_size, properties
from tests.actions.tm.support import (
    CloudMaker,
    create,
    created,
    disk_bytes,
    link_of,
    on_nodes,
    waiting,
    write_disk,
)

NAME = "OpenNebula-Volatile-vm0-disk0"
SWAP = {"TYPE": "swap", "SIZE": 8}
EXT4_MAGIC = b"\x53\xef"
SWAP_MAGIC = b"SWAPSPACE2"


def volatile(**attributes: object) -> DiskTemplate:
    return {"TYPE": "fs", "SIZE": 8, **attributes}  # type: ignore[dict-item]


@pytest.mark.parametrize("provider", ["LVM_THIN", "LVM"])
@pytest.mark.parametrize("host", ["alice", "dave"])
def test_a_raw_disk_reads_as_zeros(make_cloud: CloudMaker, provider: str, host: str) -> None:
    cloud = make_cloud(provider=provider, sync_seconds=0.0)
    vm = waiting(cloud, volatile(), host=host)
    created(cloud, vm)
    assert link_of(cloud, vm) == by_res(NAME)
    assert disk_bytes(cloud, vm, 8 * MIB) == bytes(8 * MIB)
    assert device_size(cloud, NAME) >= 8 * MIB
    assert properties(cloud, NAME) == {
        "instance": "one", "datastore": "101", "vm": "0", "disk": "0", "complete": NAME,
    }  # fmt: skip
    write_disk(cloud, vm, 8 * MIB - 4, b"full")


@pytest.mark.parametrize("host", ["alice", "dave"])
def test_a_file_system(cloud: Cloud, host: str) -> None:
    vm = waiting(cloud, volatile(FS="ext4"), host=host)
    created(cloud, vm)
    assert disk_bytes(cloud, vm, 2048)[1080:1082] == EXT4_MAGIC
    done = cloud.hosts.run(host, f"e2fsck -fn {by_res(NAME)}")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("host", ["alice", "dave"])
def test_swap(cloud: Cloud, host: str) -> None:
    vm = waiting(cloud, SWAP, host=host)
    created(cloud, vm)
    assert disk_bytes(cloud, vm, 4096)[4086:] == SWAP_MAGIC


def test_the_volume_is_raw_whatever_the_format(cloud: Cloud) -> None:
    vm = waiting(cloud, volatile(FORMAT="qcow2"))
    created(cloud, vm)
    assert disk_bytes(cloud, vm, 4096) == bytes(4096)


def test_the_system_datastore_says_where(cloud: Cloud) -> None:
    vm = waiting(cloud, volatile(), datastore=102)
    created(cloud, vm)
    assert list(on_nodes(cloud, NAME).values()).count("disk") == 3
    assert properties(cloud, NAME)["datastore"] == "102"


def test_again_keeps_what_the_guest_wrote(cloud: Cloud) -> None:
    vm = waiting(cloud, volatile(FS="ext4"))
    created(cloud, vm)
    write_disk(cloud, vm, 0, b"the guest's")
    created(cloud, vm)
    assert disk_bytes(cloud, vm, 11) == b"the guest's"


def test_a_file_system_that_is_not_on_offer(cloud: Cloud) -> None:
    call = create(cloud, waiting(cloud, volatile(FS="zzfs")))
    assert call.rc == 1
    assert "zzfs" in call.user_error[:100]
    assert_nothing_left(cloud)


def test_a_host_that_cannot_format_leaves_nothing(cloud: Cloud) -> None:
    """8 MiB are too few for btrfs, if the host has its mkfs at all."""
    call = create(cloud, waiting(cloud, volatile(FS="btrfs"), host="dave"))
    assert call.rc == 1
    assert_nothing_left(cloud)


def test_no_space(cloud: Cloud) -> None:
    call = create(cloud, waiting(cloud, volatile(SIZE=5000 * 1024)))
    assert call.rc == 1
    assert "OpenNebula-Volatile-vm0-disk0" in call.user_error[:100]
    assert_nothing_left(cloud)
