# SPDX-License-Identifier: Apache-2.0
"""What tests of several transfer actions ask for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.cloud import Cloud
from lab.controller import Cluster, ControllerServer
from lab.controller.standard import GIB
from tests.actions.tm.datastores import ELSEWHERE, Elsewhere


@pytest.fixture
def elsewhere(cloud: Cloud) -> Iterator[ControllerServer]:
    """Another LINSTOR cluster, of dave alone, with a system datastore."""
    cluster = Cluster(Elsewhere(cloud))  # type: ignore[arg-type]
    for _ in range(200):
        cluster.numbers.minors.take()
    cluster.add_node("dave", pools=[("thin", "LVM_THIN", 100 * GIB)])
    cluster.groups.create({"name": "one", "select_filter": {"place_count": 1, "storage_pool_list": ["thin"]}})
    cluster.groups.create_volume_group("one", {})
    with ControllerServer(cluster) as server:
        cloud.one.add_datastore(
            ELSEWHERE,
            "elsewhere",
            TYPE="SYSTEM_DS",
            LINSTOR_CONTROLLERS=f"127.0.0.1:{server.port}",
            LINSTOR_RESOURCE_GROUP="one",
            DISK_TYPE="BLOCK",
        )
        yield server
