# SPDX-License-Identifier: Apache-2.0
"""`mkfs`: empty images, with and without a file system."""

from __future__ import annotations

import shutil
from typing import Callable

import pytest

from lab.cloud import Cloud
from lab.hosts.faults import SshFault
from lab.one.model import ImageState, ImageType
from tests.actions.support import (
    allocated_kib,
    assert_nothing_left,
    by_res,
    content,
    device_size,
    is_complete,
    nodes_of,
    properties,
)

from .support import MIB, call, image_of

NAME = "OpenNebula-Image-0"
FILE_SYSTEMS = [kind for kind in ("ext2", "ext3", "ext4", "xfs") if shutil.which(f"mkfs.{kind}")]


def kind_on_device(cloud: Cloud, resource: str) -> str:
    """The file system that blkid sees on a node of the resource."""
    node = cloud.cluster.rd(resource).diskful[0].node
    return cloud.hosts.run(node, f"blkid -p -o value -s TYPE {by_res(resource)}").stdout.strip()


def test_a_datablock_reads_as_zeros_and_needs_no_host(cloud: Cloud) -> None:
    image = cloud.one.image_create("data", size=20, type=ImageType.DATABLOCK)
    assert (image.state, image.source) == (ImageState.READY, NAME)
    size = device_size(cloud, NAME)
    assert size >= 20 * MIB
    assert content(cloud, NAME, size) == bytes(size)
    assert allocated_kib(cloud, NAME) == 0
    assert cloud.hosts.calls == []
    assert properties(cloud, NAME) == {"instance": "one", "datastore": "100", "image": "0", "complete": NAME}
    assert_nothing_left(cloud, NAME)


@pytest.mark.parametrize("fs", ["", "ext4"])
def test_what_thick_storage_held_before_is_gone(make_cloud: Callable[..., Cloud], fs: str) -> None:
    cloud = make_cloud(provider="LVM")
    assert call(cloud, "mkfs", image_of(cloud, size_mb=20, fs=fs)).ok
    size = device_size(cloud, NAME)
    assert b"\xde" * 512 not in content(cloud, NAME, size)
    if not fs:
        assert content(cloud, NAME, size) == bytes(size)


@pytest.mark.parametrize("fs", FILE_SYSTEMS)
def test_a_file_system_is_made(cloud: Cloud, fs: str) -> None:
    size_mb = 400 if fs == "xfs" else 20
    image = cloud.one.image_create("data", size=size_mb, fs=fs)
    assert image.state is ImageState.READY
    assert kind_on_device(cloud, NAME) == fs
    assert allocated_kib(cloud, NAME) < size_mb * 1024 / 4
    assert is_complete(cloud, NAME)
    assert_nothing_left(cloud, NAME)


def test_the_options_of_opennebula_s_configuration_are_used(cloud: Cloud) -> None:
    conf = cloud.one.tree.remotes / "etc" / "datastore" / "datastore.conf"
    conf.write_text('SUPPORTED_FS="ext4,btrfs"\nFS_OPTS_ext4="-L a;b>c -m 7 -b 1024"\n')
    done = call(cloud, "mkfs", image_of(cloud, size_mb=20, fs="ext4"))
    assert done.ok, done.stderr
    node = cloud.cluster.rd(NAME).diskful[0].node
    told = cloud.hosts.run(node, f"dumpe2fs -h {by_res(NAME)}").stdout
    assert "Block size:               1024" in told
    # options are words, whatever shell they look like
    assert "Filesystem volume name:   a;b>c" in told


@pytest.mark.parametrize("fs", ["ntfs4", "ext4; touch pwned", "$(touch pwned)", "-V"])
def test_a_file_system_that_is_not_offered_is_refused(cloud: Cloud, fs: str) -> None:
    done = call(cloud, "mkfs", image_of(cloud, size_mb=20, fs=fs))
    assert done.rc == 1
    assert "is not offered" in done.user_error
    assert "ext4" in done.user_error
    assert cloud.hosts.calls == []
    assert_nothing_left(cloud)


def test_a_failing_mkfs_leaves_nothing(cloud: Cloud) -> None:
    done = call(cloud, "mkfs", image_of(cloud, size_mb=1, fs="xfs"))
    assert done.rc == 1
    # with mkfs.xfs too small a device, without it the command is not there
    assert done.user_error.startswith(f"formatting {by_res(NAME)} on host alice failed")
    assert "larger than" in done.user_error or "mkfs.xfs" in done.user_error
    assert_nothing_left(cloud)


def test_a_host_that_dies_while_formatting_leaves_nothing(cloud: Cloud) -> None:
    cloud.hosts.faults.add(SshFault("lose", "after"))
    done = call(cloud, "mkfs", image_of(cloud, size_mb=20, fs="ext4"))
    assert done.rc == 1
    assert_nothing_left(cloud)


def test_a_second_run_does_not_format_again(cloud: Cloud) -> None:
    image = image_of(cloud, size_mb=20, fs="ext4")
    assert call(cloud, "mkfs", image).ok
    with cloud.hosts.open_disk(cloud.cluster.rd(NAME).diskful[0].node, by_res(NAME)) as disk:
        disk.write(MIB, b"used since")
    assert call(cloud, "mkfs", image).ok
    assert content(cloud, NAME, MIB + 10)[MIB:] == b"used since"


def test_a_bridge_formats_and_has_nothing_of_it_afterwards(cloud: Cloud) -> None:
    cloud.one.inventory.datastores[100].template["BRIDGE_LIST"] = "dave"
    cloud.one.inventory.datastores[100].template["LINSTOR_RESOURCE_GROUP"] = "one-three"
    assert call(cloud, "mkfs", image_of(cloud, size_mb=20, fs="ext4")).ok
    assert {one["host"] for one in cloud.hosts.calls} == {"dave"}
    assert nodes_of(cloud, NAME) == {"alice", "bob", "charlie"}
    assert kind_on_device(cloud, NAME) == "ext4"


@pytest.mark.parametrize("version", ["5.12.0", "6.10.5", "7.4.0"])
def test_the_target_of_a_save_as_is_a_name_only(make_cloud: Callable[..., Cloud], version: str) -> None:
    cloud = make_cloud(one_version=version)
    done = call(cloud, "mkfs", image_of(cloud, size_mb=20, format="save_as"))
    assert (done.rc, done.stdout) == (0, f"{NAME}\n")
    assert cloud.controller.requests == []
    assert_nothing_left(cloud)


@pytest.mark.parametrize("version", ["5.12.0", "6.10.5"])
def test_the_answer_is_a_name_only(make_cloud: Callable[..., Cloud], version: str) -> None:
    """OpenNebula 6 and 7 store the whole line as SOURCE."""
    cloud = make_cloud(one_version=version)
    assert cloud.one.image_create("data", size=20).source == NAME


def test_not_enough_space(cloud: Cloud) -> None:
    done = call(cloud, "mkfs", image_of(cloud, size_mb=1 << 30))
    assert done.rc == 1
    assert NAME in done.user_error
    assert_nothing_left(cloud)
