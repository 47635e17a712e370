# SPDX-License-Identifier: Apache-2.0
"""A volatile disk follows its VM to another system datastore: there is a complete copy at every moment."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Callable

import pytest

from lab.cloud import Cloud
from lab.controller import ControllerServer
from lab.controller.faults import CALL_AFTER
from lab.controller.standard import GIB, NODES
from lab.hosts.faults import SshFault
from lab.one import VirtualMachine
from tests.actions.support import by_res, is_complete, links, locks_left, properties, resources
from tests.actions.tm.datastores import (
    ELSEWHERE,
    FAST,
    Elsewhere,
    add_fast,
    go,
    holders,
    mv,
    name_of,
    pools,
    strike,
    written,
)
from tests.actions.tm.journeys import clients
from tests.actions.tm.support import CloudMaker, clean, disk_bytes, link_of, on_nodes


def kill_at_each_change(
    cloud: Cloud, *servers: ControllerServer, at_ssh: bool = False
) -> Iterator[tuple[str, Callable[[], None]]]:
    """What arms a fault that kills the driver after the next change of its kind, the kinds in turn: the caller
    goes on to the next kind by ``send(True)`` when the driver was not struck any more."""

    def request(server: ControllerServer, method: str, nth: int) -> None:
        server.faults.add(CALL_AFTER, method=method, nth=nth, callback=strike(cloud))

    def session(nth: int) -> None:
        cloud.hosts.faults.add(SshFault("kill_driver", "after", nth))

    plans = [partial(request, server, method) for server in servers for method in ("POST", "PUT", "DELETE")]
    for plan in (*plans, *([session] if at_ssh else [])):
        for nth in itertools.count(1):
            ended = yield f"{plan} {nth}", partial(plan, nth)
            if ended:
                break


def killed_anywhere(
    cloud: Cloud, servers: Sequence[ControllerServer], check: Callable[[VirtualMachine], None], datastore: int
) -> int:
    """Moves one VM after the other, each killed at another change, and then moves it again; how often it was."""
    struck = 0
    plans = kill_at_each_change(cloud, *servers, at_ssh=len(servers) > 1)
    at, arm = next(plans)
    while True:
        vm = written(cloud, host="alice")
        go(cloud, vm, datastore)
        arm()
        call = mv(cloud, vm)
        for server in servers:
            server.faults.clear()
        cloud.hosts.faults.clear()
        check(vm)
        if call.rc == -signal.SIGKILL:
            struck += 1
            call = mv(cloud, vm)
            ended = False
        else:
            ended = True
        assert (call.rc, call.stderr) == (0, ""), at
        assert disk_bytes(cloud, vm, 12) == b"of the guest", at
        check(vm)
        try:
            at, arm = plans.send(ended)
        except StopIteration:
            return struck


@pytest.mark.parametrize("rest_version", ["1.25.0", "1.29.1"])
def test_another_resource_group(make_cloud: CloudMaker, rest_version: str) -> None:
    """The replicas stay, and those that the group wants besides are added."""
    cloud = make_cloud(rest_version=rest_version)
    vm = written(cloud)
    name = name_of(vm)
    before = {one.node for one in cloud.cluster.rd(name).diskful}
    go(cloud, vm, 102, host="alice")
    for _ in range(2):
        call = mv(cloud, vm)
        assert (call.rc, call.stderr) == (0, "")
        assert cloud.cluster.rd(name).group == "one-three"
        assert {one.node for one in cloud.cluster.rd(name).diskful} > before
        assert properties(cloud, name)["datastore"] == "102"
        assert is_complete(cloud, name)
        assert link_of(cloud, vm) == by_res(name)
        assert disk_bytes(cloud, vm, 12) == b"of the guest"
        assert clients(cloud, name) == []
    assert resources(cloud) == {name}


def test_no_room_for_another_replica(cloud: Cloud) -> None:
    vm = written(cloud)
    name = name_of(vm)
    before = on_nodes(cloud, name), properties(cloud, name), links(cloud)
    for node in NODES:
        cloud.cluster.set_pool_free(node, "thin", 0)
    go(cloud, vm, 102, host="alice")
    call = mv(cloud, vm)
    assert call.rc == 1
    assert "Not enough nodes" in call.user_error[:100]
    assert (on_nodes(cloud, name), properties(cloud, name), links(cloud)) == before
    assert cloud.cluster.rd(name).group == "one"
    for node in NODES:
        cloud.cluster.set_pool_free(node, "thin", 50 * GIB)
    assert mv(cloud, vm).ok
    assert len(cloud.cluster.rd(name).diskful) == 3


@pytest.mark.parametrize(("provider", "kind"), [("LVM_THIN", "ZFS_THIN"), ("ZFS_THIN", "LVM_THIN")])
def test_the_data_moves_to_other_pools(make_cloud: CloudMaker, provider: str, kind: str) -> None:
    cloud = make_cloud(provider=provider)
    add_fast(cloud, kind)

    def check(vm: VirtualMachine) -> None:
        assert holders(cloud, cloud.cluster, name_of(vm), b"of the guest")

    assert killed_anywhere(cloud, [cloud.controller], check, FAST) >= 5
    for vm in cloud.one.inventory.vms.values():
        assert pools(cloud.cluster, name_of(vm)) == {"fast"}
        assert cloud.cluster.rd(name_of(vm)).group == "one-fast"
        assert properties(cloud, name_of(vm))["datastore"] == str(FAST)
        assert clients(cloud, name_of(vm)) == ["dave"]
    assert resources(cloud) == {name_of(vm) for vm in cloud.one.inventory.vms.values()}
    assert locks_left(cloud) == []


def test_only_the_group_changes_unless_told(cloud: Cloud) -> None:
    add_fast(cloud, "LVM_THIN", move=False)
    vm = written(cloud)
    go(cloud, vm, FAST)
    assert mv(cloud, vm).ok
    assert cloud.cluster.rd(name_of(vm)).group == "one-fast"
    assert "thin" in pools(cloud.cluster, name_of(vm))
    assert disk_bytes(cloud, vm, 12) == b"of the guest"


def test_what_was_written_since_an_attempt(cloud: Cloud) -> None:
    """The copy of a killed run is older than the disk when the VM went on at its old place."""
    add_fast(cloud, "LVM_THIN")
    vm = written(cloud)
    go(cloud, vm, FAST)
    cloud.controller.faults.add(CALL_AFTER, method="GET", path="/clone/", callback=strike(cloud))
    assert mv(cloud, vm).rc == -signal.SIGKILL
    assert f"{name_of(vm)}-moving" in resources(cloud)
    with cloud.hosts.open_disk("dave", by_res(name_of(vm))) as disk:
        disk.write(0, b"newer")
    assert mv(cloud, vm).ok
    assert disk_bytes(cloud, vm, 12) == b"newere guest"
    assert resources(cloud) == {name_of(vm)}


@pytest.mark.parametrize("provider", ["FILE_THIN", "LVM_THIN"])
def test_storage_without_clones(make_cloud: CloudMaker, provider: str) -> None:
    """Into pools without clones LINSTOR clones nothing, wherever the data is: the group is what follows."""
    cloud = make_cloud(provider=provider)
    add_fast(cloud, "FILE_THIN")
    vm = written(cloud)
    name = name_of(vm)
    go(cloud, vm, FAST)
    for _ in range(2):
        call = mv(cloud, vm)
        assert (call.rc, call.stderr) == (0, "")
        assert resources(cloud) == {name}
        assert cloud.cluster.rd(name).group == "one-fast"
        assert pools(cloud.cluster, name) == {"thin"}
        assert disk_bytes(cloud, vm, 12) == b"of the guest"


def test_the_vm_is_deleted_halfway(cloud: Cloud) -> None:
    """Nothing of its disk stays behind."""
    add_fast(cloud, "LVM_THIN")
    plans = kill_at_each_change(cloud, cloud.controller)
    at, arm = next(plans)
    struck = 0
    while True:
        vm = written(cloud)
        go(cloud, vm, FAST)
        arm()
        ended = mv(cloud, vm).ok
        cloud.controller.faults.clear()
        struck += not ended
        call = clean(cloud, vm)
        assert (call.rc, call.stderr) == (0, ""), at
        assert resources(cloud) == set(), at
        try:
            at, arm = plans.send(ended)
        except StopIteration:
            break
    assert struck >= 5


def test_another_cluster(cloud: Cloud, elsewhere: ControllerServer) -> None:
    """The data is copied; the old volume goes when the VM has the copy."""

    def check(vm: VirtualMachine) -> None:
        here = holders(cloud, cloud.cluster, name_of(vm), b"of the guest")
        there = holders(cloud, elsewhere.cluster, name_of(vm), b"of the guest", Elsewhere.PREFIX)
        assert here or there

    assert killed_anywhere(cloud, [cloud.controller, elsewhere], check, ELSEWHERE) >= 5
    assert resources(cloud) == set()
    vms = cloud.one.inventory.vms.values()
    assert {rd.name for rd in elsewhere.cluster.rds.values()} == {name_of(vm) for vm in vms}
    for vm in vms:
        properties_there = elsewhere.cluster.rd(name_of(vm)).props
        assert properties_there["Aux/one/datastore"] == str(ELSEWHERE)
        assert link_of(cloud, vm) == by_res(name_of(vm))
    assert locks_left(cloud) == []


def test_another_cluster_without_room(cloud: Cloud, elsewhere: ControllerServer) -> None:
    elsewhere.cluster.set_pool_free("dave", "thin", 0)
    vm = written(cloud, host="alice")
    before = on_nodes(cloud, name_of(vm)), links(cloud)
    go(cloud, vm, ELSEWHERE)
    call = mv(cloud, vm)
    assert call.rc == 1
    assert "Not enough" in call.user_error[:100]
    assert (on_nodes(cloud, name_of(vm)), links(cloud)) == before
    assert elsewhere.cluster.rds == {}
    assert disk_bytes_at(cloud, "alice", name_of(vm)) == b"of the guest"


def disk_bytes_at(cloud: Cloud, host: str, name: str) -> bytes:
    with cloud.hosts.open_disk(host, by_res(name), write=False) as disk:
        return disk.read(0, 12)
