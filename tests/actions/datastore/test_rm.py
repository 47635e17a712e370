# SPDX-License-Identifier: Apache-2.0
"""`rm`: deletes a volume with all that hangs on it, or says why it cannot."""

from __future__ import annotations

import time
from typing import Callable

import pytest

from lab.cloud import Cloud
from lab.one.model import Image, ImageState
from tests.actions.support import assert_nothing_left, by_res, content, is_complete, resources

from .support import CONTENT, SIZE, call, image_of, write_image

NAME = "OpenNebula-Image-0"


@pytest.fixture
def image(cloud: Cloud) -> Image:
    made = cloud.one.image_create("os", path=write_image(cloud.images_dir, "raw"))
    assert made.state is ImageState.READY
    return made


def test_the_volume_is_gone(cloud: Cloud, image: Image) -> None:
    done = cloud.one.image_delete(image.id)
    assert done is not None
    assert (done.rc, done.stdout, done.stderr) == (0, "", "")
    assert_nothing_left(cloud)


def test_its_snapshots_go_with_it(cloud: Cloud, image: Image) -> None:
    for name in ("first", "second"):
        cloud.cluster.snapshots.create(NAME, {"name": name})
    assert call(cloud, "rm", image).ok
    assert_nothing_left(cloud)


def test_a_volume_that_is_gone_already(cloud: Cloud, image: Image) -> None:
    assert call(cloud, "rm", image).ok
    assert call(cloud, "rm", image).ok
    assert_nothing_left(cloud)


def test_an_image_that_never_got_a_volume(cloud: Cloud) -> None:
    assert call(cloud, "rm", image_of(cloud)).ok
    assert cloud.controller.requests == []


def test_other_images_stay(cloud: Cloud, image: Image) -> None:
    cloud.one.image_create("other", path=write_image(cloud.images_dir, "raw"))
    assert call(cloud, "rm", image).ok
    assert resources(cloud) == {"OpenNebula-Image-1"}
    assert content(cloud, "OpenNebula-Image-1", SIZE) == CONTENT


def test_a_volume_in_use_stays_and_the_user_learns_where(cloud: Cloud, image: Image) -> None:
    cloud.one.inventory.datastores[100].template["LINSTOR_ATTACH_TIMEOUT"] = "1"
    node = cloud.cluster.rd(NAME).diskful[0].node
    with cloud.hosts.open_disk(node, by_res(NAME)):
        done = call(cloud, "rm", image)
        assert done.rc == 1
        assert NAME in done.user_error
        assert node in done.user_error
        assert done.seconds < 5
        assert is_complete(cloud, NAME)
        assert content(cloud, NAME, SIZE) == CONTENT
    assert call(cloud, "rm", image).ok
    assert_nothing_left(cloud)


def test_a_disk_that_is_closed_late_is_waited_for(make_cloud: Callable[..., Cloud]) -> None:
    """LINSTOR learns of a closed disk up to a second later."""
    cloud = make_cloud(in_use_lag=0.5)
    made = cloud.one.image_create("os", path=write_image(cloud.images_dir, "raw"))
    with cloud.hosts.open_disk(cloud.cluster.rd(NAME).diskful[0].node, by_res(NAME)):
        time.sleep(0.6)
    assert call(cloud, "rm", made).ok
    assert_nothing_left(cloud)


def test_an_offline_node_does_not_keep_an_image_from_being_deleted(cloud: Cloud, image: Image) -> None:
    """LINSTOR carries it out when the node comes back."""
    node = cloud.cluster.rd(NAME).diskful[0].node
    cloud.cluster.set_online(node, False)
    done = call(cloud, "rm", image)
    assert done.ok, done.stderr
    cloud.cluster.set_online(node, True)
    assert_nothing_left(cloud)


@pytest.mark.parametrize("source", ["a/../b", "x", "OpenNebula-Image-0?force=true", "ü" * 4, "-x", "a b"])
def test_a_source_that_is_no_name_reaches_no_controller(cloud: Cloud, image: Image, source: str) -> None:
    image.source = source
    before = len(cloud.controller.requests)
    assert call(cloud, "rm", image).rc == 1
    assert len(cloud.controller.requests) == before
    assert is_complete(cloud, NAME)


def test_a_lost_reply_is_no_failure(cloud: Cloud, image: Image) -> None:
    cloud.controller.faults.add("lose_reply", method="DELETE")
    first = call(cloud, "rm", image)
    assert first.ok or call(cloud, "rm", image).ok
    assert_nothing_left(cloud)


@pytest.mark.parametrize(("instance", "kept"), [("one", False), ("two", True)])
def test_only_what_no_other_opennebula_has_made(
    cloud: Cloud, image: Image, instance: str, kept: bool
) -> None:
    """Two may share a LINSTOR, and number their images alike; oned deletes also what it was refused."""
    cloud.cluster.definitions.modify(NAME, {"override_props": {"Aux/one/instance": instance}})
    assert call(cloud, "rm", image).ok
    assert resources(cloud) == ({NAME} if kept else set())
    if kept:
        assert content(cloud, NAME, SIZE) == CONTENT
        log = (cloud.one.tree.var / "linstor.log").read_text()
        assert f"{NAME} stays: it belongs to OpenNebula two" in log
