# SPDX-License-Identifier: Apache-2.0
"""`cp`: whatever an image is and wherever it comes from, the volume has its content, and nothing else."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Callable

import pytest

from lab.cloud import Cloud
from lab.hosts.faults import SshFault
from lab.images import compress
from lab.one.model import ImageState, ImageType
from tests.actions.support import (
    allocated_kib,
    assert_nothing_left,
    content,
    device_size,
    is_complete,
    nodes_of,
    properties,
    resources,
)

from .conftest import Web
from .support import CONTENT, EXTENTS, MIB, SIZE, call, cp, image_of, resource_of, write_image

FORMATS = ("raw", "qcow2", "qcow2-compressed", "vmdk", "vmdk-stream", "vhdx")


def test_registering_an_image_makes_a_complete_volume_of_it(cloud: Cloud) -> None:
    image = cloud.one.image_create("os", path=write_image(cloud.images_dir, "raw"))

    assert (image.state, image.source, image.format) == (ImageState.READY, "OpenNebula-Image-0", "raw")
    assert image.size_mb == SIZE // MIB
    # LINSTOR rounds up to what its storage can do
    size = device_size(cloud, image.source)
    assert SIZE <= size < SIZE + 8 * MIB
    assert content(cloud, image.source, size) == CONTENT.ljust(size, b"\0")
    assert properties(cloud, image.source) == {
        "instance": "one",
        "datastore": "100",
        "image": "0",
        "complete": "OpenNebula-Image-0",
    }
    replicas = cloud.cluster.rd(image.source).diskful
    assert len(replicas) == 2
    assert all(volume.up_to_date for one in replicas for volume in one.volumes.values())
    assert_nothing_left(cloud, image.source)


@pytest.mark.parametrize("remote", [False, True], ids=["local", "http"])
@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_becomes_raw(cloud: Cloud, web: Web, kind: str, remote: bool) -> None:
    path = write_image(cloud.images_dir, kind)
    made = cp(cloud, web.put(path.name, path.read_bytes()) if remote else path)

    assert made.stdout == "OpenNebula-Image-0 raw\n"
    assert content(cloud, "OpenNebula-Image-0", SIZE) == CONTENT
    # 300 KB at an odd place, three short pieces, and what LINSTOR itself keeps is not part of the device
    assert allocated_kib(cloud, "OpenNebula-Image-0") < 600
    assert_nothing_left(cloud, "OpenNebula-Image-0")


@pytest.mark.parametrize("remote", [False, True], ids=["local", "http"])
@pytest.mark.parametrize("packing", ["gz", "bz2", "xz"])
@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_compressed_files_are_unpacked(cloud: Cloud, web: Web, kind: str, packing: str, remote: bool) -> None:
    path = compress(write_image(cloud.images_dir, kind), packing)
    name = resource_of(cp(cloud, web.put(path.name, path.read_bytes()) if remote else path))
    assert content(cloud, name, SIZE) == CONTENT


@pytest.mark.parametrize("remote", [False, True], ids=["local", "http"])
def test_no_decompress_keeps_the_bytes(cloud: Cloud, web: Web, remote: bool) -> None:
    cloud.one.inventory.datastores[100].template["NO_DECOMPRESS"] = "yes"
    path = compress(write_image(cloud.images_dir, "raw"), "gz")
    packed = path.read_bytes()
    name = resource_of(cp(cloud, web.put(path.name, packed) if remote else path))
    assert content(cloud, name, len(packed)) == packed


@pytest.mark.parametrize("remote", [False, True], ids=["local", "http"])
def test_a_cdrom_keeps_its_bytes_even_when_they_look_like_an_image(
    cloud: Cloud, web: Web, remote: bool
) -> None:
    path = write_image(cloud.images_dir, "qcow2")
    stored = path.read_bytes()
    source = web.put(path.name, stored) if remote else path
    name = resource_of(cp(cloud, source, kind=ImageType.CDROM))
    assert content(cloud, name, len(stored)) == stored


@pytest.mark.parametrize("remote", [False, True], ids=["local", "http"])
@pytest.mark.parametrize("algorithm", ["MD5", "SHA1"])
@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_a_right_checksum_is_accepted(
    cloud: Cloud, web: Web, kind: str, algorithm: str, remote: bool
) -> None:
    path = write_image(cloud.images_dir, kind)
    digest = hashlib.new(algorithm.lower(), path.read_bytes()).hexdigest()
    source = web.put(path.name, path.read_bytes()) if remote else path
    name = resource_of(cp(cloud, source, **{algorithm: digest}))
    assert content(cloud, name, SIZE) == CONTENT


@pytest.mark.parametrize("remote", [False, True], ids=["local", "http"])
def test_an_image_whose_file_ends_with_zeros(cloud: Cloud, web: Web, remote: bool) -> None:
    """The file must keep its length wherever it is staged: for qemu-img a shorter one is damaged."""
    zeros = {**EXTENTS, SIZE - 2 * MIB: bytes(MIB)}
    path = write_image(cloud.images_dir, "qcow2", SIZE, {at: zeros[at] for at in zeros if at < SIZE - MIB})
    assert path.read_bytes().endswith(bytes(MIB))
    name = resource_of(cp(cloud, web.put("disk", path.read_bytes()) if remote else path))
    assert content(cloud, name, SIZE - MIB) == CONTENT[: SIZE - MIB]


def test_the_bandwidth_of_a_download_is_limited(cloud: Cloud, web: Web) -> None:
    cloud.one.inventory.datastores[100].template["LIMIT_TRANSFER_BW"] = "512k"
    started = time.monotonic()
    resource_of(cp(cloud, web.put("disk", b"x" * 400_000), 1))
    assert time.monotonic() - started > 400_000 / (512 << 10)


def test_a_file_name_may_hold_anything(cloud: Cloud) -> None:
    strange = cloud.images_dir / 'it\'s $(touch pwned); a "disk", file.filename=x&<b> é'
    write_image(cloud.images_dir, "qcow2").rename(strange)
    name = resource_of(cp(cloud, strange))
    assert content(cloud, name, SIZE) == CONTENT
    assert not (cloud.one.tree.var / "pwned").exists()


def test_an_image_smaller_than_its_declared_size_leaves_zeros_behind_it(cloud: Cloud) -> None:
    name = resource_of(cp(cloud, write_image(cloud.images_dir, "raw"), SIZE // MIB + 5))
    assert content(cloud, name, SIZE + 5 * MIB) == CONTENT + bytes(5 * MIB)


def test_a_file_whose_size_is_odd(cloud: Cloud) -> None:
    path = cloud.images_dir / "odd"
    path.write_bytes(b"odd" * 333_333)
    name = resource_of(cp(cloud, path, 1))
    assert content(cloud, name, MIB) == (b"odd" * 333_333).ljust(MIB, b"\0")


@pytest.mark.parametrize("provider", ["LVM_THIN", "LVM", "ZFS_THIN", "ZFS", "FILE_THIN"])
@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_every_provider_holds_the_image_and_zeros_around_it(
    make_cloud: Callable[..., Cloud], kind: str, provider: str
) -> None:
    cloud = make_cloud(provider=provider)
    name = resource_of(cp(cloud, write_image(cloud.images_dir, kind), SIZE // MIB + 1))
    size = device_size(cloud, name)
    assert size >= SIZE + MIB
    assert content(cloud, name, size) == CONTENT.ljust(size, b"\0")


@pytest.mark.parametrize("rest_version", ["1.25.0", "1.28.0", "1.29.0"])
@pytest.mark.parametrize("bridge", ["bob", "dave"])
def test_a_bridge_writes_the_image_and_has_nothing_of_it_afterwards(
    make_cloud: Callable[..., Cloud], bridge: str, rest_version: str
) -> None:
    cloud = make_cloud(rest_version=rest_version)
    cloud.one.inventory.datastores[100].template["BRIDGE_LIST"] = bridge
    # the group's nodes are chosen by free space: with this the volume is on alice and charlie
    cloud.cluster.set_pool_free("bob", "thin", 1 << 20)
    name = resource_of(cp(cloud, write_image(cloud.images_dir, "raw")))
    assert {one["host"] for one in cloud.hosts.calls} == {bridge}
    assert content(cloud, name, SIZE) == CONTENT
    definition = cloud.cluster.rd(name)
    clients = {one.node for one in definition.resources.values() if one.diskless}
    # the tie-breaker, at most: it is LINSTOR's, wherever it put it
    assert len(clients) <= 1
    assert all("TIE_BREAKER" in definition.resources[node.upper()].flags for node in clients)


def test_consecutive_images_are_written_through_different_hosts(cloud: Cloud) -> None:
    cloud.one.inventory.datastores[100].template["BRIDGE_LIST"] = "alice bob charlie"
    cloud.cluster.groups.modify("one", {"select_filter": {"place_count": 3}})
    path = write_image(cloud.images_dir, "raw")
    for _ in range(3):
        resource_of(cp(cloud, path))
    assert sorted(one["host"] for one in cloud.hosts.calls) == ["alice", "bob", "charlie"]


def test_the_resource_group_of_the_datastore_decides_the_replicas(cloud: Cloud) -> None:
    name = resource_of(cp(cloud, write_image(cloud.images_dir, "raw"), datastore=104))
    assert nodes_of(cloud, name) == {"alice", "bob", "charlie"}
    assert properties(cloud, name)["datastore"] == "104"


@pytest.mark.parametrize(
    ("version", "answer"),
    [("5.12.0", "OpenNebula-Image-0\n"), ("6.10.5", "OpenNebula-Image-0 raw\n")],
)
def test_the_answer_is_what_the_installed_opennebula_reads(
    make_cloud: Callable[..., Cloud], version: str, answer: str
) -> None:
    cloud = make_cloud(one_version=version)
    made = cp(cloud, write_image(cloud.images_dir, "raw"))
    assert made.stdout == answer
    assert is_complete(cloud, "OpenNebula-Image-0")


@pytest.mark.parametrize("rest_version", ["1.25.0", "1.26.0", "1.29.0"])
def test_every_supported_linstor_takes_an_image(make_cloud: Callable[..., Cloud], rest_version: str) -> None:
    cloud = make_cloud(rest_version=rest_version)
    name = resource_of(cp(cloud, write_image(cloud.images_dir, "qcow2")))
    assert is_complete(cloud, name)
    assert content(cloud, name, SIZE) == CONTENT


def test_a_second_run_leaves_the_finished_image_alone(cloud: Cloud) -> None:
    image = image_of(cloud, write_image(cloud.images_dir, "raw"))
    name = resource_of(call(cloud, "cp", image))
    with cloud.hosts.open_disk(cloud.cluster.rd(name).diskful[0].node, f"/dev/drbd/by-res/{name}/0") as disk:
        disk.write(0, b"used since")
    assert resource_of(call(cloud, "cp", image)) == name
    assert content(cloud, name, 10) == b"used since"


def test_an_unfinished_image_of_an_earlier_run_is_made_anew(cloud: Cloud) -> None:
    image = image_of(cloud, write_image(cloud.images_dir, "raw"))
    cloud.hosts.faults.add(SshFault("kill_driver", "midway", at_byte=200_000))
    assert call(cloud, "cp", image).rc == -9
    assert not is_complete(cloud, "OpenNebula-Image-0")

    name = resource_of(call(cloud, "cp", image))
    assert is_complete(cloud, name)
    assert content(cloud, name, SIZE) == CONTENT
    assert resources(cloud) == {name}


@pytest.mark.parametrize("kind", ["qcow2", "raw"])
def test_nothing_is_left_in_the_staging_directory(cloud: Cloud, web: Web, tmp_path: Path, kind: str) -> None:
    cloud.one.inventory.datastores[100].template["STAGING_DIR"] = str(tmp_path)
    path = write_image(cloud.images_dir, kind)
    resource_of(cp(cloud, web.put("disk", path.read_bytes())))
    assert list(tmp_path.iterdir()) == []
