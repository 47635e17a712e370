# SPDX-License-Identifier: Apache-2.0
"""A disk is given to nobody while another host writes to it or DRBD could not serve it; the error says why."""

from __future__ import annotations

import pytest

from lab.cloud import Cloud
from lab.controller.faults import CALL_BEFORE, UNAVAILABLE
from lab.devices_protocol import DeviceBusy
from lab.one import Call, Image, LcmState, VirtualMachine
from tests.actions.support import by_res, content, links, locks_left
from tests.actions.tm.journeys import (
    Domain,
    arrived,
    assert_closed,
    depart,
    live,
    migrating,
)
from tests.actions.tm.support import (
    CloudMaker,
    bare_image,
    create,
    created,
    disk_bytes,
    link_of,
    on_nodes,
    run,
    waiting,
    write_disk,
)
from tests.e2e.outages import clients, failed, impatient, running


def data(cloud: Cloud) -> Image:
    """A persistent image with disks on two nodes and a tie-breaker on a third; its volume is called "data"."""
    impatient(cloud)
    return bare_image(cloud, "data", persistent=True)


def place(cloud: Cloud, role: str) -> str:
    """A node on which "data" has that, ``none`` for nothing."""
    roles = on_nodes(cloud, "data")
    return next(host for host in ("alice", "bob", "charlie", "dave") if roles.get(host, "none") == role)


def assert_refused(call: Call, *words: str) -> None:
    """One line that begins with the reason; OpenNebula shows 100 characters of it."""
    assert call.rc == 1
    assert call.stderr.count("\n") <= 3
    for word in words:
        assert word in call.user_error[:100], call.user_error


# -- nobody gets a disk twice ------------------------------------------------------------------------


@pytest.mark.parametrize(("datastore", "reachable"), [(101, False), (105, True)])
def test_the_guest_on_the_lost_host_still_runs(cloud: Cloud, datastore: int, reachable: bool) -> None:
    """OpenNebula has given the host up; LINSTOR knows better."""
    image = data(cloud)
    vm = running(cloud.one.vm_instantiate([image], host="dave", datastore=datastore))
    guest = cloud.one.hypervisor.guest(vm.id, 0)
    if not reachable:
        cloud.hosts.set_link("dave", "down")
    cloud.one.host_error("dave")
    before = (on_nodes(cloud, "data"), links(cloud))
    cloud.one.vm_migrate(vm, "bob")
    assert vm.lcm_state is LcmState.PROLOG_MIGRATE_UNKNOWN_FAILURE
    assert_refused(failed(cloud)[0], "data is in use on dave")
    assert (on_nodes(cloud, "data"), links(cloud)) == before
    guest.write(0, b"goes on")
    guest.close()
    cloud.one.vm_recover(vm, "retry")
    running(vm, "bob")
    assert cloud.one.hypervisor.guest(vm.id, 0).read(0, 7) == b"goes on"
    assert "dave" not in clients(cloud)


@pytest.mark.parametrize("target", ["alice", "charlie"])
def test_linstor_does_not_hear_of_the_host_either(cloud: Cloud, target: str) -> None:
    """Neither OpenNebula nor LINSTOR reach the host, but the guest runs, and DRBD knows."""
    image = data(cloud)
    vm = running(cloud.one.vm_instantiate([image], host="dave"))
    guest = cloud.one.hypervisor.guest(vm.id, 0)
    cloud.hosts.set_link("dave", "down")
    cloud.cluster.set_online("dave", False, satellite_only=True)
    cloud.one.host_error("dave")
    cloud.one.vm_migrate(vm, target)
    assert vm.lcm_state is LcmState.PROLOG_MIGRATE_UNKNOWN_FAILURE
    assert_refused(failed(cloud)[0], "data may be in use on dave, which LINSTOR does not reach")
    assert place(cloud, "diskless") == "dave"
    guest.write(0, b"goes on")
    guest.close()
    cloud.one.vm_recover(vm, "retry")
    running(vm, target)
    assert cloud.one.hypervisor.guest(vm.id, 0).read(0, 7) == b"goes on"


@pytest.mark.parametrize("silent", ["controller", "satellite"])
def test_the_lost_guest_runs_and_a_migration_had_begun(cloud: Cloud, silent: str) -> None:
    """Two nodes may still write: DRBD keeps nobody out until somebody closes that window.

    Without a controller nobody can.  A satellite that is silent does not keep the target's own DRBD from it.
    """
    vm = arrived(cloud, data(cloud), datastore=103)
    with Domain(cloud, vm, "alice") as domain:
        migrating(cloud, vm, "dave")
        assert live(cloud, vm, "PRE", "ssh").ok
        depart(cloud, vm, "alice", LcmState.RUNNING)
        cloud.hosts.set_link("alice", "down")
        depart(cloud, vm, "dave", LcmState.PROLOG_MIGRATE_UNKNOWN)
        move = cloud.one.lines.migration(vm)[0]
        if silent == "controller":
            cloud.controller.faults.add(UNAVAILABLE, times=10_000)
            assert_refused(run(cloud, move), "No LINSTOR controller serves")
            cloud.controller.faults.clear()
        else:
            cloud.cluster.set_online("alice", False, satellite_only=True)
            run(cloud, move)
            with pytest.raises((OSError, DeviceBusy)):
                domain.start("dave")
            cloud.cluster.set_online("alice", True)
        assert_refused(run(cloud, move), "data is in use on alice")
        domain.write("alice", b"goes on")
    assert run(cloud, move).ok
    assert_closed(cloud, "data")
    assert disk_bytes(cloud, vm, 7) == b"goes on"


def test_a_second_vm_with_the_same_image(cloud: Cloud) -> None:
    """OpenNebula allows none; an administrator's hand, or two clouds on one LINSTOR, may."""
    running(cloud.one.vm_instantiate([data(cloud)], host="dave"))
    other = waiting(cloud, bare_image(cloud, "other", persistent=True), host="bob")
    before = on_nodes(cloud, "data")
    path = cloud.one.disk_path(other, 0)
    call = cloud.call("tm/ln", "frontend:data", f"bob:{path}", other.id, 100)
    assert_refused(call, "data is in use on dave")
    assert on_nodes(cloud, "data") == before
    assert "bob" not in links(cloud)
    assert locks_left(cloud) == []


def test_a_copy_that_runs_elsewhere(cloud: Cloud) -> None:
    """Made again on another host, as after a prolog that OpenNebula did not hear the end of."""
    image = data(cloud)
    image.persistent = False
    vm = waiting(cloud, image, host="dave")
    created(cloud, vm)
    name = f"data-vm{vm.id}-disk0"
    with cloud.hosts.open_disk("dave", by_res(name)) as guest:
        guest.write(0, b"precious")
        line = cloud.one.lines.create(vm, vm.disk(0)).replace("dave:", "bob:")
        assert_refused(run(cloud, line), f"{name} is in use on dave")
        assert "bob" not in links(cloud)
        assert guest.read(0, 8) == b"precious"
    assert run(cloud, line).ok
    assert content(cloud, name, 8) == b"precious"


def test_a_disk_that_is_not_there_at_the_boot(cloud: Cloud) -> None:
    vm = running(cloud.one.vm_instantiate([data(cloud)], host="dave"))
    cloud.one.vm_poweroff(vm)
    cloud.hosts.path("dave", cloud.one.disk_path(vm, 0).replace("//", "/")).unlink()
    with cloud.hosts.open_disk("bob", by_res("data")) as other:
        cloud.one.vm_resume(vm)
        assert vm.host == "dave"
        assert not cloud.one.hypervisor.is_running(vm.id)
        (call,) = failed(cloud)
        assert call.name == "tm/linstor/context"
        assert_refused(call, "data is in use on bob")
        other.write(0, b"goes on")
    cloud.one.vm_resume(vm)
    running(vm, "dave")
    assert cloud.one.hypervisor.guest(vm.id, 0).read(0, 7) == b"goes on"


def test_the_news_of_a_close_come_late(make_cloud: CloudMaker) -> None:
    cloud = make_cloud(in_use_lag=0.7)
    image = data(cloud)
    impatient(cloud, attach="4")
    vm = running(cloud.one.vm_instantiate([image], host="dave"))
    for step in (
        lambda: cloud.one.vm_migrate(vm, "bob", poff=True),
        lambda: cloud.one.vm_migrate(vm, "dave", live=True),
        lambda: cloud.one.vm_stop(vm),
        lambda: cloud.one.vm_deploy(vm, "charlie"),
        lambda: cloud.one.vm_terminate(vm),
    ):
        step()
        assert failed(cloud) == []
        assert not vm.error
    assert clients(cloud) == {}


# -- hosts that cannot have it -----------------------------------------------------------------------


def refused_on(cloud: Cloud, host: str, *words: str) -> VirtualMachine:
    """A VM that does not get "data" on the host, and leaves no trace of the attempt."""
    vm = waiting(cloud, cloud.one.image(0), host=host)
    before = on_nodes(cloud, "data")
    assert_refused(create(cloud, vm), *words)
    assert on_nodes(cloud, "data") == before
    assert links(cloud) == {}
    assert locks_left(cloud) == []
    return vm


def gets_it(cloud: Cloud, vm: VirtualMachine) -> None:
    created(cloud, vm)
    assert link_of(cloud, vm) == by_res("data")
    write_disk(cloud, vm, 0, b"fine")
    assert content(cloud, "data", 4) == b"fine"


def test_an_offline_node(cloud: Cloud) -> None:
    data(cloud)
    for role in ("none", "tie-breaker"):
        host = place(cloud, role)
        cloud.cluster.set_online(host, False, satellite_only=True)
        vm = refused_on(cloud, host, f"LINSTOR node {host} is OFFLINE")
        cloud.cluster.set_online(host, True)
        gets_it(cloud, vm)
        cloud.one.vm_recover(vm, "delete")


def test_an_offline_node_with_a_replica(cloud: Cloud) -> None:
    """DRBD needs no satellite, but nobody knows whether it still runs there."""
    data(cloud)
    host = place(cloud, "disk")
    cloud.cluster.set_online(host, False, satellite_only=True)
    vm = refused_on(cloud, host, f"LINSTOR node {host} is OFFLINE")
    cloud.cluster.set_online(host, True)
    gets_it(cloud, vm)


def test_an_evicted_node(cloud: Cloud) -> None:
    data(cloud)
    cloud.cluster.set_online("dave", False)
    cloud.cluster.evict("dave")
    cloud.cluster.set_online("dave", True)
    refused_on(cloud, "dave", "LINSTOR node dave is EVICTED")


def test_a_node_that_is_evacuated(cloud: Cloud) -> None:
    data(cloud)
    cloud.cluster.evacuate("dave")
    refused_on(cloud, "dave", "LINSTOR node dave is EVACUATE")


def test_a_host_that_is_no_node(cloud: Cloud) -> None:
    data(cloud)
    vm = waiting(cloud, cloud.one.image(0))
    path = cloud.one.disk_path(vm, 0)
    call = cloud.call("tm/ln", "frontend:data", f"frontend:{path}", vm.id, 100)
    assert_refused(call, "host frontend is not a LINSTOR node")
    assert "nodes are alice, bob, charlie, dave" in call.user_error


# -- volumes that DRBD does not serve ----------------------------------------------------------------


def test_a_host_that_is_cut_off(cloud: Cloud) -> None:
    """Its replica is up to date and still must not be written to: the others may go on without it."""
    data(cloud)
    host = place(cloud, "disk")
    cloud.cluster.partition([host])
    vm = refused_on(cloud, host, f"data cannot be opened on {host}: DRBD has no quorum")
    cloud.cluster.heal()
    gets_it(cloud, vm)


def test_replicas_without_quorum(cloud: Cloud) -> None:
    """A host without a replica asks those that have one."""
    data(cloud)
    cloud.cluster.partition(["alice"], ["bob"], ["charlie"])
    vm = refused_on(cloud, "dave", "data cannot be opened on dave: DRBD has no quorum")
    cloud.cluster.heal()
    gets_it(cloud, vm)


def test_an_outdated_replica(cloud: Cloud) -> None:
    data(cloud)
    cloud.cluster.rd("data").props["DrbdOptions/Resource/quorum"] = "off"
    old, good = (node for node, role in on_nodes(cloud, "data").items() if role == "disk")
    cloud.cluster.partition([old])
    cloud.cluster.outdate("data", old)
    vm = waiting(cloud, cloud.one.image(0), host=old)
    call = create(cloud, vm)
    assert_refused(call, f"data cannot be opened on {old}: DRBD has")
    assert f"{old} is Outdated without connection to" in call.user_error
    assert good in call.user_error
    assert links(cloud) == {}
    cloud.cluster.heal()
    gets_it(cloud, vm)


def test_all_replicas_are_offline(cloud: Cloud) -> None:
    data(cloud)
    holders = [node for node, role in on_nodes(cloud, "data").items() if role == "disk"]
    for node in holders:
        cloud.cluster.set_online(node, False)
    vm = refused_on(cloud, "dave", "no replica of data is online", f"{holders[0]} is OFFLINE")
    for node in holders:
        cloud.cluster.set_online(node, True)
    gets_it(cloud, vm)


def test_what_heals_meanwhile_is_waited_for(cloud: Cloud) -> None:
    data(cloud)
    impatient(cloud, attach="10")
    host = place(cloud, "disk")
    cloud.cluster.partition([host])
    cloud.controller.faults.add(
        CALL_BEFORE, method="GET", path="/resources$", nth=3, callback=lambda *_: cloud.cluster.heal()
    )
    gets_it(cloud, waiting(cloud, cloud.one.image(0), host=host))


def test_who_closes_meanwhile_is_waited_for(cloud: Cloud) -> None:
    data(cloud)
    impatient(cloud, attach="10")
    guest = cloud.hosts.open_disk("bob", by_res("data"))
    cloud.controller.faults.add(
        CALL_BEFORE, method="GET", path="/resources$", nth=3, callback=lambda *_: guest.close()
    )
    gets_it(cloud, waiting(cloud, cloud.one.image(0), host="dave"))
