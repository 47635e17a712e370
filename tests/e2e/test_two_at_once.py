# SPDX-License-Identifier: Apache-2.0
"""Two actions on one disk at once: the second one waits for the first."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Callable

from lab.cloud import Cloud
from lab.controller.faults import CALL_BEFORE
from lab.one import Call, VirtualMachine
from tests.actions.support import MIB, device_size, locks_left
from tests.actions.tm.disks import done, grow, placed, points, resource_of, save, snapshot
from tests.e2e.disk_scenes import DIGESTS, with_past
from tests.e2e.kills import digest_of_snapshot, readable

SAVED = "OpenNebula-Image-77"


def together(cloud: Cloud, first: Callable[[], Call], second: Callable[[], Call]) -> tuple[Call, Call]:
    """The second one begins when the first one is about to change something for the first time."""
    reached, released = threading.Event(), threading.Event()

    def hold(method: str, _path: str) -> None:
        if method != "GET" and not reached.is_set():
            reached.set()
            assert released.wait(20)

    cloud.controller.faults.add(CALL_BEFORE, times=10**6, callback=hold)
    with ThreadPoolExecutor() as pool:
        one = pool.submit(first)
        assert reached.wait(20)
        writes = [request for request in cloud.controller.requests if request.method != "GET"]
        other = pool.submit(second)
        time.sleep(0.8)
        assert not other.done()
        assert [request for request in cloud.controller.requests if request.method != "GET"] == writes
        released.set()
        calls = one.result(), other.result()
    assert locks_left(cloud) == []
    return calls


def with_snapshots(cloud: Cloud) -> tuple[VirtualMachine, str]:
    vm = placed(cloud, with_past(cloud, copies=False), host="dave")
    return vm, resource_of(vm)


def test_a_snapshot_and_growth(cloud: Cloud) -> None:
    """The snapshot is one of the size before."""
    vm, name = with_snapshots(cloud)
    size = device_size(cloud, name)
    for call in together(cloud, partial(snapshot, cloud, vm, "CREATE", 2), partial(grow, cloud, vm, 12)):
        done(call)
    assert points(cloud, name) == [0, 1, 2]
    assert digest_of_snapshot(cloud, name, 2) == DIGESTS[2]
    assert device_size(cloud, name) >= 12 * MIB
    done(snapshot(cloud, vm, "REVERT", 2))
    assert device_size(cloud, name) == size
    assert readable(cloud, name) == DIGESTS[2]


def test_a_revert_and_the_deletion_of_its_snapshot(cloud: Cloud) -> None:
    vm, name = with_snapshots(cloud)
    for call in together(
        cloud, partial(snapshot, cloud, vm, "REVERT", 0), partial(snapshot, cloud, vm, "DELETE", 0)
    ):
        done(call)
    assert points(cloud, name) == [1]
    assert readable(cloud, name) == DIGESTS[0]


def test_the_deletion_of_a_snapshot_and_a_revert_to_it(cloud: Cloud) -> None:
    vm, name = with_snapshots(cloud)
    first, second = together(
        cloud, partial(snapshot, cloud, vm, "DELETE", 0), partial(snapshot, cloud, vm, "REVERT", 0)
    )
    done(first)
    assert "has no snapshot OpenNebula-Snap-0" in second.user_error
    assert points(cloud, name) == [1]
    assert readable(cloud, name) == DIGESTS[2]


def test_a_saved_snapshot_and_its_deletion(cloud: Cloud) -> None:
    vm, name = with_snapshots(cloud)
    for call in together(
        cloud, partial(save, cloud, vm, SAVED, 0), partial(snapshot, cloud, vm, "DELETE", 0)
    ):
        done(call)
    assert points(cloud, name) == [1]
    assert readable(cloud, SAVED) == DIGESTS[0]
