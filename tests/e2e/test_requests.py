# SPDX-License-Identifier: Apache-2.0
"""What an action costs the controller: few requests on one connection, the same in a large cluster."""

from __future__ import annotations

from typing import Callable

import pytest

from lab.cloud import Cloud
from lab.controller import populate
from lab.devices_protocol import Devices, NoDevices
from lab.one import Call, LcmState
from tests.actions.datastore.support import call as image_call
from tests.actions.support import MIB, requests_of
from tests.actions.tm.disks import grow, placed, save, snapshot
from tests.actions.tm.journeys import Domain, arrived, depart, live, migrating
from tests.actions.tm.support import (
    CloudMaker,
    bare_volume,
    clean,
    create,
    created,
    hosts_without,
    new_image,
    remove,
    run,
    waiting,
)

BULK = 10_000


class ManyDevices:
    """The hosts' devices, and volumes ``bulk-...`` in memory: nobody looks into these."""

    def __init__(self, real: Devices) -> None:
        self._real = real
        self._bulk = NoDevices()

    def __getattr__(self, name: str) -> Callable[..., object]:
        def act(key: str, *arguments: object, **options: object) -> object:
            devices = self._bulk if key.startswith("BULK-") else self._real
            result: object = getattr(devices, name)(key, *arguments, **options)
            return result

        return act


class Bill:
    """Runs calls and keeps what each of them cost."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self.requests: dict[str, int] = {}
        self.bytes: dict[str, int] = {}

    def add(self, name: str, call: Callable[[], object]) -> None:
        with requests_of(self._cloud) as seen:
            assert call().ok, name  # type: ignore[attr-defined]
        assert len({one.connection_id for one in seen}) == 1, name
        self.requests[name] = len(seen)
        # Numbers of ports and minors grow with the cluster, and with them the length of some replies.
        self.bytes[name] = sum(one.bytes_sent for one in seen) // 128


def bill(cloud: Cloud) -> Bill:
    image = new_image(cloud)
    # With three replicas there is no tie-breaker, which costs LINSTOR 1.35 one question more.
    data = cloud.one.image_create(
        "data", size=8, source=bare_volume(cloud, "data", group="one-three"), persistent=True
    )
    made = Bill(cloud)
    for host in ("dave", next(iter({"alice", "bob", "charlie"} - set(hosts_without(cloud, image.source))))):
        vm = waiting(cloud, image, host=host)
        where = "diskless" if host == "dave" else "local"
        made.add(f"clone {where}", lambda vm=vm: create(cloud, vm))
        made.add(f"delete clone {where}", lambda vm=vm: clean(cloud, vm))
    for host in ("dave", "alice"):
        vm = waiting(cloud, data, host=host)
        where = "diskless" if host == "dave" else "local"
        made.add(f"ln {where}", lambda vm=vm: create(cloud, vm))
        made.add(f"mvds {where}", lambda vm=vm: remove(cloud, vm))
        cloud.one.vm_recover(vm, "delete")
    vm = waiting(cloud, {"TYPE": "fs", "SIZE": 8}, host="dave", datastore=102)
    made.add("mkimage diskless", lambda: create(cloud, vm))
    near = waiting(cloud, {"TYPE": "fs", "SIZE": 8}, host="alice", datastore=102)
    made.add("mkimage local", lambda: create(cloud, near))
    return made


@pytest.mark.parametrize(
    ("rest_version", "clone", "release", "end"),
    [("1.25.0", 5, 5, 4), ("1.28.0", 4, 5, 4), ("1.29.1", 4, 3, 3)],
)
def test_requests_on_one_connection(
    make_cloud: CloudMaker, rest_version: str, clone: int, release: int, end: int
) -> None:
    """One of each number asks for the version; a clone's state is asked once when it is complete at once."""
    cloud = make_cloud(rest_version=rest_version, clone_looks=0)
    assert bill(cloud).requests == {
        "clone diskless": clone + 1,
        "clone local": clone,
        "delete clone diskless": 3,
        "delete clone local": 3,
        "ln diskless": 3,
        "ln local": 2,
        "mvds diskless": release,
        "mvds local": end,
        "mkimage diskless": 5,
        "mkimage local": 4,
    }


def journey_bill(cloud: Cloud) -> Bill:
    """One persistent disk, between dave, who has no disk of it, and alice, who has one."""
    data = cloud.one.image_create(
        "data", size=8, source=bare_volume(cloud, "data", group="one-three"), persistent=True
    )
    vm = arrived(cloud, data, host="dave")
    made = Bill(cloud)
    lines = cloud.one.lines

    def disk(lines_of_script: list[str]) -> Call:
        return run(cloud, lines_of_script[0])

    depart(cloud, vm, "alice", LcmState.PROLOG_MIGRATE)
    made.add("mv to a disk", lambda: disk(lines.migration(vm)))
    depart(cloud, vm, "dave", LcmState.PROLOG_MIGRATE)
    made.add("mv from a disk", lambda: disk(lines.migration(vm)))
    vm.set_state(vm.state, LcmState.EPILOG_STOP)
    made.add("mv to the front-end", lambda: disk(lines.to_front_end(vm)))
    depart(cloud, vm, "dave", LcmState.PROLOG_RESUME)
    made.add("mv from the front-end", lambda: disk(lines.from_front_end(vm)))
    with Domain(cloud, vm, "dave") as domain:
        migrating(cloud, vm, "alice")
        made.add("premigrate", lambda: live(cloud, vm, "PRE"))
        made.add("failmigrate", lambda: live(cloud, vm, "FAIL"))
        assert live(cloud, vm, "PRE").ok
        domain.move("dave", "alice")
        made.add("postmigrate", lambda: live(cloud, vm, "POST"))
    return made


@pytest.mark.parametrize(
    ("rest_version", "requests"),
    [
        ("1.25.0", (6, 6, 5, 6, 4, 7, 8)),
        ("1.28.0", (6, 6, 5, 6, 4, 7, 8)),
        ("1.29.1", (4, 5, 3, 5, 3, 5, 5)),
    ],
)
def test_requests_of_a_journey(make_cloud: CloudMaker, rest_version: str, requests: tuple[int, ...]) -> None:
    """One of each number asks for the version; the last two of the ends of a migration look whether it is over."""
    made = journey_bill(make_cloud(rest_version=rest_version)).requests
    assert made == dict(
        zip(
            (
                "mv to a disk",
                "mv from a disk",
                "mv to the front-end",
                "mv from the front-end",
                "premigrate",
                "failmigrate",
                "postmigrate",
            ),
            requests,
        )
    )


def snapshot_bill(cloud: Cloud) -> Bill:
    """The disk of a VM on dave, who has no replica of it; it has never more than two snapshots."""
    vm = placed(cloud, host="dave")
    (image,) = cloud.one.inventory.images.values()
    made = Bill(cloud)
    made.add("snap_create", lambda: snapshot(cloud, vm, "CREATE", 0))
    made.add("snap_create_live", lambda: snapshot(cloud, vm, "CREATE", 1, live=True))
    made.add("snap_revert", lambda: snapshot(cloud, vm, "REVERT", 0))
    made.add("cpds", lambda: save(cloud, vm, "OpenNebula-Image-7"))
    made.add("cpds live", lambda: save(cloud, vm, "OpenNebula-Image-8", state=LcmState.HOTPLUG_SAVEAS))
    made.add("cpds of a snapshot", lambda: save(cloud, vm, "OpenNebula-Image-9", 1))
    made.add("snap_delete", lambda: snapshot(cloud, vm, "DELETE", 1))
    made.add("resize", lambda: grow(cloud, vm, 20))
    made.add("resize live", lambda: grow(cloud, vm, 40, running=True))
    assert remove(cloud, vm).ok
    image.target_snapshot = 0
    for action in ("snap_revert", "snap_flatten", "snap_delete", "export"):
        made.add(f"image {action}", lambda action=action: image_call(cloud, action, image))
    return made


@pytest.mark.parametrize(
    ("rest_version", "requests"),
    [
        ("1.28.0", (5, 5, 18, 9, 17, 14, 3, 7, 7, 17, 24, 3, 15)),
        ("1.29.1", (5, 5, 16, 7, 17, 14, 3, 7, 7, 15, 22, 3, 15)),
    ],
)
def test_requests_of_snapshots_and_copies(
    make_cloud: CloudMaker, rest_version: str, requests: tuple[int, ...]
) -> None:
    """One of each number asks for the version."""
    made = snapshot_bill(make_cloud(rest_version=rest_version, clone_looks=0, sync_seconds=0.0)).requests
    assert made == dict(
        zip(
            (
                "snap_create",
                "snap_create_live",
                "snap_revert",
                "cpds",
                "cpds live",
                "cpds of a snapshot",
                "snap_delete",
                "resize",
                "resize live",
                "image snap_revert",
                "image snap_flatten",
                "image snap_delete",
                "image export",
            ),
            requests,
        )
    )


def test_a_large_cluster_costs_the_same(make_cloud: CloudMaker) -> None:
    small, large = make_cloud(pool_gib=4000), make_cloud(pool_gib=4000)
    large.cluster.devices = ManyDevices(large.hosts.devices)
    populate(large.cluster, BULK, prefix="bulk")
    few, many = bill(small), bill(large)
    assert len(large.cluster.rds) > BULK
    assert many.requests == few.requests
    assert many.bytes == few.bytes


def test_a_larger_disk(make_cloud: CloudMaker) -> None:
    """What its image is stored on says whether old content may show; from REST 1.29.1 on LINSTOR clones and grows in
    one call."""
    for rest_version, wanted in (("1.28.0", 7), ("1.29.1", 5)):
        cloud = make_cloud(rest_version=rest_version, clone_looks=0)
        image = new_image(cloud)
        host = next(iter({"alice", "bob", "charlie"} - set(hosts_without(cloud, image.source))))
        vm = waiting(cloud, {"IMAGE_ID": image.id, "SIZE": 20 * MIB // MIB}, host=host)
        with requests_of(cloud) as seen:
            created(cloud, vm)
        assert len(seen) == wanted
