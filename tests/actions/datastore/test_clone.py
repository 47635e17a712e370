# SPDX-License-Identifier: Apache-2.0
"""`clone`: copies of images, made by LINSTOR where it can, and by way of the front-end elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Callable

import pytest

from lab.cloud import Cloud
from lab.controller import Cluster, ControllerServer, StandbyServer, standard_cluster
from lab.one.model import Image, ImageState
from tests.actions.support import (
    assert_nothing_left,
    by_res,
    content,
    device_size,
    is_complete,
    nodes_of,
    properties,
    resources,
)

from .support import CONTENT, SIZE, call, write_image

ORIGINAL, COPY = "OpenNebula-Image-0", "OpenNebula-Image-1"
REST_VERSIONS = ["1.25.0", "1.26.0", "1.29.0"]


def original(cloud: Cloud) -> Image:
    """An image in datastore 100."""
    image = cloud.one.image_create("os", path=write_image(cloud.images_dir, "raw"))
    assert image.state is ImageState.READY, image.error
    return image


def assert_refused(cloud: Cloud, image: Image, *words: str) -> None:
    assert image.state is ImageState.ERROR
    for word in ("Error cloning from Image 0", *words):
        assert word in image.error
    assert_nothing_left(cloud, ORIGINAL)


@pytest.mark.parametrize("rest_version", REST_VERSIONS)
def test_a_copy_in_the_same_datastore(make_cloud: Callable[..., Cloud], rest_version: str) -> None:
    cloud = make_cloud(rest_version=rest_version)
    image = cloud.one.image_clone(original(cloud).id, "copy")

    assert (image.state, image.source, image.format) == (ImageState.READY, COPY, "raw")
    assert content(cloud, COPY, SIZE) == CONTENT
    assert properties(cloud, COPY) == {"instance": "one", "datastore": "100", "image": "1", "complete": COPY}
    with cloud.hosts.open_disk(cloud.cluster.rd(COPY).diskful[0].node, by_res(COPY)) as disk:
        disk.write(0, b"mine")
    assert content(cloud, ORIGINAL, SIZE) == CONTENT
    # LINSTOR did it
    assert len(cloud.hosts.calls) == 1
    assert_nothing_left(cloud, ORIGINAL, COPY)


@pytest.mark.parametrize("rest_version", REST_VERSIONS)
def test_a_copy_in_another_resource_group(make_cloud: Callable[..., Cloud], rest_version: str) -> None:
    cloud = make_cloud(rest_version=rest_version)
    original(cloud)
    image = cloud.one.image_clone(0, "copy", 104)
    assert image.state is ImageState.READY, image.error
    assert content(cloud, COPY, SIZE) == CONTENT
    assert cloud.cluster.rd(COPY).group == "one-three"
    assert nodes_of(cloud, COPY) == {"alice", "bob", "charlie"}
    assert len(cloud.cluster.rd(COPY).diskful) == 3
    assert properties(cloud, COPY)["datastore"] == "104"
    assert_nothing_left(cloud, ORIGINAL, COPY)


@pytest.mark.parametrize("provider", ["FILE_THIN", "ZFS_THIN", "ZFS", "LVM"])
def test_every_provider_makes_copies(make_cloud: Callable[..., Cloud], provider: str) -> None:
    """LINSTOR does not clone volumes in files: these are copied."""
    # thick replicas are in sync at once: LINSTOR clones none that is still being filled
    cloud = make_cloud(provider=provider, sync_seconds=0)
    original(cloud)
    image = cloud.one.image_clone(0, "copy")
    assert image.state is ImageState.READY, image.error
    size = device_size(cloud, COPY)
    assert content(cloud, COPY, size) == CONTENT.ljust(size, b"\0")
    assert is_complete(cloud, COPY)
    assert_nothing_left(cloud, ORIGINAL, COPY)


@pytest.fixture
def other_cluster(cloud: Cloud) -> Iterator[Cluster]:
    """A second LINSTOR cluster on the same hosts, with datastore 200."""
    cluster = standard_cluster(cloud.hosts.devices)
    for _ in range(100):
        cluster.numbers.minors.take()
    with ControllerServer(cluster) as server:
        cloud.one.add_datastore(
            200,
            "elsewhere",
            TYPE="IMAGE_DS",
            LINSTOR_CONTROLLERS=f"127.0.0.1:{server.port}",
            LINSTOR_RESOURCE_GROUP="one",
        )
        yield cluster


def test_a_copy_in_another_cluster(cloud: Cloud, other_cluster: Cluster) -> None:
    original(cloud)
    image = cloud.one.image_clone(0, "copy", 200)
    assert image.state is ImageState.READY, image.error
    assert resources(cloud) == {ORIGINAL}
    assert [rd.name for rd in other_cluster.rds.values()] == [COPY]
    made = other_cluster.rd(COPY)
    assert made.props["Aux/one/complete"] == COPY
    with cloud.hosts.open_disk(made.diskful[0].node, by_res(COPY), write=False) as disk:
        assert disk.read(0, SIZE) == CONTENT
    assert cloud.hosts.devices.allocated_kib(made.content_key(0)) < 600
    assert_nothing_left(cloud, ORIGINAL)


def test_the_original_of_a_failed_copy_in_another_cluster_is_released(
    cloud: Cloud, other_cluster: Cluster
) -> None:
    original(cloud)
    cloud.one.inventory.datastores[100].template["BRIDGE_LIST"] = "dave"
    before = nodes_of(cloud, ORIGINAL)
    for node in ("alice", "bob", "charlie"):
        other_cluster.satellites.fail(node, "create", "vgs found nothing")
    image = cloud.one.image_clone(0, "copy", 200)
    assert_refused(cloud, image, "vgs found nothing")
    assert other_cluster.rds == {}
    assert nodes_of(cloud, ORIGINAL) == before


def test_the_other_cluster_does_not_answer(cloud: Cloud) -> None:
    original(cloud)
    with StandbyServer("refuse") as server:
        cloud.one.add_datastore(
            200,
            "elsewhere",
            TYPE="IMAGE_DS",
            LINSTOR_CONTROLLERS=f"127.0.0.1:{server.port}",
            LINSTOR_RESOURCE_GROUP="one",
        )
        image = cloud.one.image_clone(0, "copy", 200)
        assert_refused(cloud, image, f"127.0.0.1:{server.port}", "refused")


def test_the_original_is_gone(cloud: Cloud) -> None:
    image = original(cloud)
    cloud.cluster.deletion.delete_definition(ORIGINAL)
    done = cloud.one.image_clone(image.id, "copy")
    assert done.state is ImageState.ERROR
    assert f"{ORIGINAL}' not found" in done.error
    assert_nothing_left(cloud)


def test_a_replica_of_the_original_is_offline(cloud: Cloud) -> None:
    image = original(cloud)
    node = cloud.cluster.rd(ORIGINAL).diskful[0].node
    cloud.cluster.set_online(node, False)
    assert_refused(cloud, cloud.one.image_clone(image.id, "copy"), "not UpToDate", node)


def test_a_satellite_fails_while_it_copies(cloud: Cloud) -> None:
    image = original(cloud)
    node = cloud.cluster.rd(ORIGINAL).diskful[0].node
    cloud.cluster.satellites.fail(node, "clone", "thin_send broke")
    assert_refused(cloud, cloud.one.image_clone(image.id, "copy"), ORIGINAL, COPY)


def test_a_copy_that_takes_its_time(make_cloud: Callable[..., Cloud]) -> None:
    cloud = make_cloud(clone_seconds=0.6)
    original(cloud)
    image = cloud.one.image_clone(0, "copy")
    assert image.state is ImageState.READY
    assert "CLONING" not in cloud.cluster.rd(COPY).flags
    assert content(cloud, COPY, SIZE) == CONTENT


def test_a_copy_that_takes_too_long(make_cloud: Callable[..., Cloud]) -> None:
    cloud = make_cloud(clone_seconds=60)
    original(cloud)
    cloud.one.inventory.datastores[100].template["LINSTOR_CLONE_TIMEOUT"] = "1"
    assert_refused(cloud, cloud.one.image_clone(0, "copy"), COPY, "LINSTOR_CLONE_TIMEOUT")


@pytest.mark.parametrize("rest_version", ["1.25.0", "1.28.0"])
def test_a_second_run_accepts_the_copy(make_cloud: Callable[..., Cloud], rest_version: str) -> None:
    cloud = make_cloud(rest_version=rest_version)
    made = cloud.one.image_clone(original(cloud).id, "copy")
    with cloud.hosts.open_disk(cloud.cluster.rd(COPY).diskful[0].node, by_res(COPY)) as disk:
        disk.write(0, b"used since")
    again = replace(made, path=ORIGINAL, cloning_id=0, source="")
    assert call(cloud, "clone", again).ok
    assert content(cloud, COPY, 10) == b"used since"
