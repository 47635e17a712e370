# SPDX-License-Identifier: Apache-2.0
"""``tm/linstor/monitor``: the capacity of a system datastore."""

from __future__ import annotations

from lab.cloud import Cloud
from tests.actions.tm.support import CloudMaker

GIB_IN_MIB = 1024


def test_a_system_datastore_shows_what_its_group_can_hold(make_cloud: CloudMaker) -> None:
    cloud = make_cloud(pool_gib=10)
    call = cloud.one.ds_monitor(101, vm_disks=True)
    assert (call.rc, call.stderr) == (0, "")
    store = cloud.one.inventory.datastores[101]
    # Three pools of 10 GiB and two replicas: no volume can be larger than one pool, 15 GiB fit in all.
    assert 0 < store.free_mb <= store.total_mb <= 15 * GIB_IN_MIB
    assert store.total_mb > 9 * GIB_IN_MIB
    assert store.used_mb == store.total_mb - store.free_mb
    three = cloud.one.ds_monitor(102, vm_disks=True)
    assert three.ok
    assert cloud.one.inventory.datastores[102].total_mb <= 10 * GIB_IN_MIB


def test_a_controller_that_is_not_there(cloud: Cloud) -> None:
    cloud.controller.stop()
    call = cloud.one.ds_monitor(101)
    assert call.rc == 1
    assert "No LINSTOR controller serves" in call.user_error[:100]
