# SPDX-License-Identifier: Apache-2.0
"""`monitor`: what a datastore can hold, with replicas, constraints and dead nodes taken into account."""

from __future__ import annotations

from typing import Callable

import pytest

from lab.cloud import Cloud
from lab.one import Call
from tests.actions.support import MIB, assert_nothing_left

GIB_MB = 1024
GIB_KIB = 1 << 20


def figures(done: Call) -> dict[str, int]:
    """In MiB, by the names that oned knows."""
    assert done.ok, done.stderr
    return {name: int(number) for name, number in (line.split("=") for line in done.stdout.splitlines())}


@pytest.mark.parametrize("version", ["5.12.0", "6.10.5", "7.4.0"])
def test_oned_gets_the_figures(make_cloud: Callable[..., Cloud], version: str) -> None:
    cloud = make_cloud(one_version=version)
    done = cloud.one.ds_monitor(100)
    assert figures(done) == {"USED_MB": 0, "TOTAL_MB": 100 * GIB_MB, "FREE_MB": 100 * GIB_MB}
    store = cloud.one.inventory.datastores[100]
    assert (store.total_mb, store.free_mb, store.used_mb) == (100 * GIB_MB, 100 * GIB_MB, 0)
    assert_nothing_left(cloud)


@pytest.mark.parametrize(("count", "total"), [(1, 300), (2, 100), (3, 100)])
def test_replicas_divide_the_space(cloud: Cloud, count: int, total: int) -> None:
    cloud.cluster.groups.modify("one", {"select_filter": {"place_count": count}})
    assert figures(cloud.one.ds_monitor(100))["TOTAL_MB"] == total * GIB_MB


def test_what_is_written_counts_as_used(cloud: Cloud) -> None:
    path = cloud.images_dir / "disk"
    path.write_bytes(b"x" * (6 * MIB))
    # On all three nodes: with a pool to spare LINSTOR finds room for as large a volume as before.
    cloud.one.image_create("os", path=path, datastore=104)
    told = figures(cloud.one.ds_monitor(104))
    assert 6 <= told["USED_MB"] <= 8
    assert told["FREE_MB"] + told["USED_MB"] == told["TOTAL_MB"]


def test_uneven_pools(cloud: Cloud) -> None:
    cloud.cluster.set_pool_free("alice", "thin", 10 * GIB_KIB)
    cloud.cluster.set_pool_free("bob", "thin", 20 * GIB_KIB)
    told = figures(cloud.one.ds_monitor(100))
    # 20 GiB on bob and charlie, then 10 GiB on alice and charlie; what is left on charlie has no second place.
    assert told == {"USED_MB": 70 * GIB_MB, "TOTAL_MB": 100 * GIB_MB, "FREE_MB": 30 * GIB_MB}


def test_a_node_that_is_offline_has_no_space(cloud: Cloud) -> None:
    cloud.cluster.set_online("alice", False)
    assert figures(cloud.one.ds_monitor(100))["TOTAL_MB"] == 100 * GIB_MB


def test_more_replicas_than_nodes(cloud: Cloud) -> None:
    cloud.cluster.set_online("alice", False)
    told = figures(cloud.one.ds_monitor(104))
    assert told["FREE_MB"] <= told["TOTAL_MB"]
    assert_nothing_left(cloud)


def test_the_age_of_the_figures_is_a_setting(cloud: Cloud) -> None:
    template = cloud.one.inventory.datastores[100].template
    before = figures(cloud.one.ds_monitor(100))
    for node in ("alice", "bob", "charlie"):
        cloud.cluster.set_pool_free(node, "thin", 10 * GIB_KIB)
    assert figures(cloud.one.ds_monitor(100)) == before
    template["LINSTOR_CAPACITY_CACHE"] = "0"
    assert figures(cloud.one.ds_monitor(100))["FREE_MB"] == 10 * GIB_MB


def test_an_unknown_resource_group_is_told(cloud: Cloud) -> None:
    """LINSTOR answers with HTTP status 200 here."""
    cloud.one.inventory.datastores[100].template["LINSTOR_RESOURCE_GROUP"] = "nowhere"
    done = cloud.one.ds_monitor(100)
    assert (done.rc, done.stdout) == (1, "")
    assert "'nowhere' not found" in done.user_error
    assert "LINSTOR_RESOURCE_GROUP" in done.user_error
