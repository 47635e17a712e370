# SPDX-License-Identifier: Apache-2.0
"""``snap_delete``, ``snap_revert`` and ``snap_flatten`` of images that no VM has."""

from __future__ import annotations

import base64

import pytest

from lab.cloud import Cloud
from lab.controller.codes import ApiError
from lab.one import Call, Image
from tests.actions.support import assert_nothing_left, by_res, content, properties, resources
from tests.actions.tm.disks import (
    COPIES,
    KINDS,
    done,
    family,
    log,
    points,
    ready_image,
    refused,
    resource_of,
    snapshot,
)
from tests.actions.tm.journeys import arrived, clients
from tests.actions.tm.support import (
    CONTENT,
    SIZE,
    CloudMaker,
    bare_image,
    bare_volume,
    disk_bytes,
    on_nodes,
    waiting,
    write_disk,
)

from .support import call


def snap(cloud: Cloud, action: str, image: Image, number: int) -> Call:
    """``delete``, ``revert`` or ``flatten``."""
    image.target_snapshot = number
    try:
        return call(cloud, f"snap_{action}", image)
    finally:
        image.target_snapshot = -1


def with_history(cloud: Cloud, image: Image, *texts: bytes) -> Image:
    """A VM has written the texts, with a snapshot after each but the last, and has given the image back."""
    node = cloud.cluster.rd(image.source).diskful[0].node
    for number, text in enumerate(texts):
        with cloud.hosts.open_disk(node, by_res(image.source)) as disk:
            disk.write(0, text)
        if number < len(texts) - 1:
            try:
                cloud.cluster.snapshots.create(image.source, {"name": f"OpenNebula-Snap-{number}"})
            except ApiError:
                done(
                    snapshot(cloud, cloud.one.inventory.vms.get(0) or waiting(cloud, image), "CREATE", number)
                )
    return image


def text_of(cloud: Cloud, image: Image, length: int = 6) -> bytes:
    """The beginning of the image, after a look at the rest of it; nobody has it attached."""
    found = content(cloud, image.source, SIZE)
    assert found[length:] == CONTENT[length:]
    assert clients(cloud, image.source) == []
    return found[:length]


@pytest.mark.parametrize("kind", ["LVM_THIN", "FILE", "LVM-1.28"])
def test_content_comes_back(make_cloud: CloudMaker, kind: str) -> None:
    cloud = make_cloud(**KINDS[kind])
    image = with_history(
        cloud, ready_image(cloud, persistent=True), b"first.", b"second", b"third.", b"fourth"
    )
    before = properties(cloud, image.source), sorted(on_nodes(cloud, image.source).values())
    done(snap(cloud, "revert", image, 0))
    assert text_of(cloud, image) == b"first."
    assert points(cloud, image.source) == [0, 1, 2]
    for _ in range(2):
        done(snap(cloud, "delete", image, 1))
        assert points(cloud, image.source) == [0, 2]
    assert sorted(on_nodes(cloud, image.source).values()) == before[1]
    for _ in range(2):
        # Once it is done, a repetition has nothing to do.
        done(snap(cloud, "flatten", image, 2))
        assert text_of(cloud, image) == b"third."
        assert points(cloud, image.source) == []
    after = properties(cloud, image.source)
    assert after.pop("flattened").split()[0] == "2"
    before[0].pop("companions", None)
    assert after == before[0]
    assert_nothing_left(cloud, image.source)


def test_ids_begin_anew_after_flattening(cloud: Cloud) -> None:
    image = ready_image(cloud, persistent=True)
    for text in (b"first.", b"second"):
        with_history(cloud, image, text, b"later.")
        done(snap(cloud, "flatten", image, 0))
        assert text_of(cloud, image) == text


def test_snapshots_of_others_stay(cloud: Cloud) -> None:
    image = ready_image(cloud, persistent=True)
    cloud.cluster.snapshots.create(image.source, {"name": "backup-of-monday"})
    with_history(cloud, image, b"first.", b"second")
    done(snap(cloud, "flatten", image, 0))
    assert [one.name for one in cloud.cluster.rd(image.source).snapshots.values()] == ["backup-of-monday"]
    assert text_of(cloud, image) == b"first."


@pytest.mark.parametrize("options", [{}, COPIES])
def test_images_of_addon_linstor(make_cloud: CloudMaker, options: dict[str, object]) -> None:
    cloud = make_cloud(**options)
    image = bare_image(cloud, "OpenNebula-Image-77", persistent=True)
    with_history(cloud, image, b"first.", b"second", b"third.")
    for action, number, text in (("revert", 1, b"second"), ("flatten", 0, b"first.")):
        done(snap(cloud, action, image, number))
        assert content(cloud, image.source, 6) == text
    assert_nothing_left(cloud, image.source)
    assert call(cloud, "rm", image).ok
    assert_nothing_left(cloud)


@pytest.mark.parametrize("options", [{}, COPIES])
def test_somebody_has_it_open(make_cloud: CloudMaker, options: dict[str, object]) -> None:
    cloud = make_cloud(**options)
    cloud.one.inventory.datastores[100].template["LINSTOR_ATTACH_TIMEOUT"] = "1"
    image = with_history(cloud, ready_image(cloud, persistent=True), b"first.", b"second")
    node = cloud.cluster.rd(image.source).diskful[0].node
    before = resources(cloud)
    with cloud.hosts.open_disk(node, by_res(image.source)) as disk:
        for action in ("revert", "flatten"):
            refused(snap(cloud, action, image, 0), image.source, node)
        assert disk.read(0, 6) == b"second"
        disk.write(0, b"alive!")
    assert text_of(cloud, image) == b"alive!"
    assert points(cloud, image.source) == [0]
    assert resources(cloud) == before
    done(snap(cloud, "revert", image, 0))
    assert text_of(cloud, image) == b"first."


@pytest.mark.parametrize(("linstor_version", "works"), [("1.32.2", False), ("1.32.3", True)])
def test_a_linstor_that_empties_what_it_rolls_back(
    make_cloud: CloudMaker, linstor_version: str, works: bool
) -> None:
    cloud = make_cloud(**KINDS["ZFS"], rest_version="1.26.0", linstor_version=linstor_version)
    image = with_history(cloud, ready_image(cloud, persistent=True), b"first.", b"second", b"third.")
    attempt = snap(cloud, "revert", image, 0)
    if works:
        done(attempt)
        assert text_of(cloud, image) == b"first."
    else:
        refused(attempt, f"LINSTOR {linstor_version} can leave {image.source} empty")
        assert "update LINSTOR to 1.32.3 or newer" in attempt.user_error
        assert text_of(cloud, image) == b"third."
    assert points(cloud, image.source) == [0, 1]


# --- deletion


@pytest.mark.parametrize("options", [{}, COPIES])
def test_an_image_goes_with_its_snapshots(make_cloud: CloudMaker, options: dict[str, object]) -> None:
    cloud = make_cloud(**options)
    image = with_history(cloud, ready_image(cloud, persistent=True), b"first.", b"second", b"third.")
    # Its name begins like theirs, and it is somebody else's.
    bare_volume(cloud, f"{image.source}-snap5")
    assert call(cloud, "rm", image).ok
    assert family(cloud, image.source) == {"-snap5"}


@pytest.mark.parametrize("strategy", ["", "Delete"])
def test_zfs_and_what_depends_on_it(make_cloud: CloudMaker, strategy: str) -> None:
    """A VM's disk and an image that was saved of it share blocks with the image that they come from."""
    cloud = make_cloud(**KINDS["ZFS"])
    cloud.one.inventory.datastores[100].template["LINSTOR_CLONE_MODE"] = "dependent"
    image = ready_image(cloud)
    if strategy:
        cloud.cluster.rd(image.source).props["StorDriver/Zfs/DeleteStrategy"] = strategy
    vm = arrived(cloud, image)
    assert call(cloud, "rm", image).ok
    assert disk_bytes(cloud, vm) == CONTENT
    done(snapshot(cloud, vm, "CREATE"))
    write_disk(cloud, vm, 0, b"later.")
    done(snapshot(cloud, vm, "REVERT"))
    done(snapshot(cloud, vm, "DELETE"))
    assert disk_bytes(cloud, vm) == CONTENT
    assert resources(cloud) == {resource_of(vm)}


# --- wrong calls


def test_calls_that_oned_never_makes(cloud: Cloud) -> None:
    image = with_history(cloud, ready_image(cloud, persistent=True), b"first.", b"second")
    for action in ("delete", "revert", "flatten"):
        refused(call(cloud, f"snap_{action}", image), "TARGET_SNAPSHOT")
        encoded = base64.b64encode(b"<DS_DRIVER_ACTION_DATA/>").decode()
        refused(cloud.call(f"datastore/snap_{action}", "0", stdin=encoded))
    for action in ("revert", "flatten"):
        refused(snap(cloud, action, image, 7), image.source, "OpenNebula-Snap-7")
    done(snap(cloud, "delete", image, 7))
    assert "has no snapshot OpenNebula-Snap-7 any more" in log(cloud)
    assert text_of(cloud, image) == b"second"
    assert points(cloud, image.source) == [0]
