# SPDX-License-Identifier: Apache-2.0
"""A large cluster: quick to make, and filtered requests stay small and cheap."""

from __future__ import annotations

import time
from typing import Callable

import pytest

from lab.controller import Cluster, ControllerServer, populate

from .support import Rest

MANY = 10_000


def test_filtered_requests_do_not_grow(
    cluster: Cluster, serve: Callable[..., ControllerServer], connect: Callable[..., Rest]
) -> None:
    server = serve(cluster)
    rest = connect(server)
    populate(cluster, 10)
    paths = [
        "resource-definitions/bulk-7/resources",
        "resource-definitions?resource_definitions=bulk-7&with_volume_definitions=true",
        "view/resources?resources=bulk-7",
        "view/snapshots?resources=bulk-7",
        "view/storage-pools?cached=true",
        "resource-definitions/bulk-7/sync-status",
    ]

    def bytes_of_all() -> list[int]:
        start = len(server.requests)
        for path in paths:
            rest.get(path)
        return [one.bytes_sent for one in server.requests[start:]]

    few = bytes_of_all()
    begin = time.process_time()
    populate(cluster, MANY - 10, prefix="more")
    made = time.process_time() - begin
    begin = time.process_time()
    many = bytes_of_all()
    spent = time.process_time() - begin
    # capacities in the pools' view get a digit more or less
    assert many == pytest.approx(few, abs=16)
    assert spent < 0.5
    assert made < 10
    assert rest.get("stats/resource-definitions")["count"] == MANY
    assert len(rest.get("resource-definitions?limit=5&offset=9990")) == 5


def test_populated_definitions_work(cluster: Cluster, rest: Rest) -> None:
    populate(cluster, 3)
    assert rest.volume("bulk-1", "bob")["device_path"] == "/dev/drbd1001"
    assert rest.get("resource-definitions?props=Aux/one/ds_id=2")[0]["name"] == "bulk-2"
    rest.finished_clone("bulk-1", "copy")
    assert rest.make_available("bulk-1", "dave").status == 200
    assert (
        rest.put("resource-definitions/bulk-1/volume-definitions/0", {"size_kib": 128 * 1024}).status == 200
    )
    assert rest.delete("resource-definitions/bulk-1").status == 200
    assert rest.spawn("vm-1").status == 201
