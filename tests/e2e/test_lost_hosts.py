# SPDX-License-Identifier: Apache-2.0
"""A host is lost: its VMs start elsewhere with their data, nobody asks the host, and it is tidy when it returns."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from lab.cloud import Cloud
from lab.hosts import SshFault
from lab.one import LcmState, VirtualMachine, VmState
from tests.actions.support import links, locks_left, nodes_of, resources
from tests.actions.tm.support import CloudMaker, bare_image, bare_volume, on_nodes
from tests.e2e.lives import SHARED, SSH, Life
from tests.e2e.outages import (
    assert_reads,
    bring_back,
    clients,
    failed,
    has_device,
    impatient,
    lose,
    running,
    ssh_to,
    two_primaries,
    votes,
    write,
)

FEW = ("copy", "persistent")
"""Kinds of disks of a VM that is about something else."""

PLACES = [
    ("1.28.0", 101, "alice", ("cdrom", "volatile", "swap")),
    ("1.25.0", 101, "dave", FEW),
    ("1.29.1", 101, "dave", ("volatile", "cdrom")),
    # Volatile disks there are files, lost with their host.
    ("1.28.0", SSH, "dave", FEW),
    ("1.29.1", SHARED, "alice", ("copy", "cdrom")),
]
"""REST version, system datastore, the host that is lost (one with replicas or one without), disks."""


@pytest.mark.parametrize(("rest_version", "datastore", "host", "kinds"), PLACES)
def test_the_vm_starts_elsewhere(
    make_cloud: CloudMaker, rest_version: str, datastore: int, host: str, kinds: Sequence[str]
) -> None:
    cloud = make_cloud(rest_version=rest_version)
    life = Life(cloud, datastore, host, kinds)
    impatient(cloud, attach="5")
    vm, volumes = life.vm, life.volumes()
    life.write()
    lose(cloud, host)
    assert vm.lcm_state is LcmState.UNKNOWN
    with ssh_to(cloud, host) as asked:
        cloud.one.vm_migrate(vm, "bob")
    assert asked == []
    assert failed(cloud) == []
    running(vm, "bob")
    life.check_contents("moved")
    life.write()

    bring_back(cloud, host)
    assert host not in clients(cloud)
    for volume in volumes.values():
        assert has_device(cloud, "bob", volume)
        assert has_device(cloud, host, volume) == (host in nodes_of(cloud, volume))
        assert votes(cloud, volume).count("disk") == 2

    # There and back again: what was left there is in nobody's way.
    cloud.one.vm_migrate(vm, host, live=True)
    running(vm, host)
    life.check_contents("moved")
    cloud.one.vm_migrate(vm, "bob")
    running(vm, "bob")
    life.check_contents("moved")
    assert clients(cloud).keys() <= {"bob"}
    assert two_primaries(cloud) == []
    cloud.one.vm_terminate(vm)
    assert failed(cloud) == []
    assert resources(cloud) == life.stored
    assert all(len(nodes_of(cloud, name)) == 3 for name in resources(cloud))
    assert clients(cloud) == links(cloud) == {}
    assert locks_left(cloud) == []


def test_a_guest_dies_with_its_ssh_server(cloud: Cloud) -> None:
    """The host is off, but its satellite was thought to be well: nothing keeps the volumes there."""
    life = Life(cloud, kinds=("persistent",))
    impatient(cloud)
    vm = life.vm
    life.write()
    cloud.hosts.set_power("dave", False)
    cloud.one.host_error("dave")
    cloud.one.vm_migrate(vm, "bob")
    running(vm, "bob")
    life.check_contents("moved")
    assert "dave" not in clients(cloud)


@pytest.mark.parametrize("live", [False, True])
def test_only_the_satellite_is_dead(cloud: Cloud, live: bool) -> None:
    """To OpenNebula all is well; LINSTOR lets the volumes go when the satellite is back."""
    life = Life(cloud, kinds=("persistent",))
    impatient(cloud)
    vm = life.vm
    life.write()
    cloud.cluster.set_online("dave", False, satellite_only=True)
    cloud.one.vm_migrate(vm, "bob", live=live)
    running(vm, "bob")
    life.check_contents("moved")
    assert two_primaries(cloud) == []
    cloud.cluster.set_online("dave", True)
    assert "dave" not in clients(cloud)
    assert two_primaries(cloud) == []
    assert failed(cloud) == []


def test_a_half_done_rescue_is_tried_again(cloud: Cloud) -> None:
    life = Life(cloud, kinds=FEW)
    impatient(cloud)
    vm = life.vm
    life.write()
    lose(cloud, "dave")
    # The first disk is on bob then, the second one is attached, perhaps linked, and the answer is lost.
    cloud.hosts.faults.add(SshFault("lose", when="after", host="bob", nth=2))
    cloud.one.vm_migrate(vm, "bob")
    assert vm.lcm_state is LcmState.PROLOG_MIGRATE_UNKNOWN_FAILURE
    assert [call.name for call in failed(cloud)] == ["tm/linstor/mv"]
    with ssh_to(cloud, "dave") as asked:
        cloud.one.vm_recover(vm, "retry")
    assert asked == []
    running(vm, "bob")
    life.check_contents("moved")
    bring_back(cloud, "dave")
    assert clients(cloud).keys() <= {"bob"}


def test_a_rescue_that_is_given_up(cloud: Cloud) -> None:
    """The VM starts where it was, without a call for the disks that had moved on."""
    life = Life(cloud, kinds=FEW)
    impatient(cloud)
    vm = life.vm
    life.write()
    lose(cloud, "dave")
    cloud.hosts.faults.add(SshFault("lose", when="after", host="bob", nth=2))
    cloud.one.vm_migrate(vm, "bob")
    bring_back(cloud, "dave")
    cloud.one.vm_recover(vm, "failure")
    running(vm, "dave")
    life.check_contents("moved")
    # A boot asks LINSTOR for no more than the host lacks; what stays on bob goes with the VM.
    cloud.one.vm_terminate(vm)
    assert clients(cloud) == {}
    assert failed(cloud)[1:] == []


# -- disks and votes ---------------------------------------------------------------------------------


def vm_of_one_disk(cloud: Cloud, host: str, group: str = "one") -> tuple[VirtualMachine, str]:
    volume = bare_volume(cloud, "data", group=group)
    image = cloud.one.image_create("data", size=8, source=volume, persistent=True)
    vm = running(cloud.one.vm_instantiate([image], host=host))
    write(cloud, vm, "before")
    return vm, image.source


def place(cloud: Cloud, name: str, role: str) -> str:
    """A node on which that is what the volume has."""
    return next(node for node, found in on_nodes(cloud, name).items() if found == role)


def test_the_last_disk_has_no_quorum(cloud: Cloud) -> None:
    """With its host the VM lost a replica and the tie-breaker: nobody knows what that replica was told last."""
    impatient(cloud)
    vm, volume = vm_of_one_disk(cloud, "alice")
    third = place(cloud, volume, "tie-breaker")
    (other,) = {"alice", "bob", "charlie", "dave"} & nodes_of(cloud, volume) - {"alice", third}
    lose(cloud, "alice")
    lose(cloud, third)
    before = on_nodes(cloud, volume)
    cloud.one.vm_migrate(vm, other)
    assert vm.lcm_state is LcmState.PROLOG_MIGRATE_UNKNOWN_FAILURE
    (call,) = failed(cloud)
    assert call.user_error.startswith(f"{volume} cannot be opened on {other}: DRBD has no quorum")
    lost = call.user_error.partition("without connection to ")[2].partition(";")[0]
    assert sorted(lost.split(", ")) == sorted(["alice", third])
    assert on_nodes(cloud, volume) == before
    bring_back(cloud, third)
    cloud.one.vm_recover(vm, "retry")
    running(vm, other)
    assert_reads(cloud, vm, "before")


def test_of_three_replicas_one_may_go(cloud: Cloud) -> None:
    impatient(cloud)
    vm, volume = vm_of_one_disk(cloud, "alice", group="one-three")
    assert sorted(on_nodes(cloud, volume).values()) == ["disk"] * 3
    lose(cloud, "alice")
    cloud.one.vm_migrate(vm, "dave")
    running(vm, "dave")
    assert_reads(cloud, vm, "before")
    write(cloud, vm, "on dave")
    bring_back(cloud, "alice")
    lose(cloud, "dave")
    # What alice missed meanwhile is brought to her.
    cloud.one.vm_migrate(vm, "alice")
    running(vm, "alice")
    assert_reads(cloud, vm, "on dave")


def test_two_replicas_that_nobody_helps(cloud: Cloud) -> None:
    """LINSTOR has no quorum then: the replica that is left serves."""
    impatient(cloud)
    cloud.cluster.groups.modify(
        "one", {"override_props": {"DrbdOptions/auto-add-quorum-tiebreaker": "false"}}
    )
    image = bare_image(cloud, "data", persistent=True)
    nodes = on_nodes(cloud, image.source)
    assert sorted(nodes.values()) == ["disk", "disk"]
    first, second = nodes
    vm = running(cloud.one.vm_instantiate([image], host=first))
    write(cloud, vm, "before")
    lose(cloud, first)
    cloud.one.vm_migrate(vm, second)
    running(vm, second)
    assert_reads(cloud, vm, "before")
    assert cloud.cluster.rd(image.source).props["DrbdOptions/Resource/quorum"] == "off"


def test_the_only_replica_was_there(cloud: Cloud) -> None:
    impatient(cloud)
    cloud.cluster.groups.create(
        {"name": "single", "select_filter": {"place_count": 1, "storage_pool_list": ["thin"]}}
    )
    cloud.cluster.groups.create_volume_group("single", {})
    image = cloud.one.image_create(
        "data", size=8, source=bare_volume(cloud, "data", group="single"), persistent=True
    )
    (host,) = nodes_of(cloud, "data")
    vm = running(cloud.one.vm_instantiate([image], host=host))
    write(cloud, vm, "before")
    lose(cloud, host)
    cloud.one.vm_migrate(vm, "dave")
    (call,) = failed(cloud)
    assert call.user_error.startswith("no replica of data is online; ")
    assert f"{host} is OFFLINE" in call.user_error[:100]
    assert nodes_of(cloud, "data") == {host}
    bring_back(cloud, host)
    cloud.one.vm_recover(vm, "retry")
    running(vm, "dave")
    assert_reads(cloud, vm, "before")


def test_drbd_notices_the_loss_late(make_cloud: CloudMaker) -> None:
    """Until its peers give the dead host up it has the volume: that is waited for."""
    cloud = make_cloud(peer_loss_lag=0.8)
    impatient(cloud, attach="5")
    vm, _ = vm_of_one_disk(cloud, "alice")
    lose(cloud, "alice")
    cloud.one.vm_migrate(vm, "bob")
    running(vm, "bob")
    assert_reads(cloud, vm, "before")
    assert failed(cloud) == []


# -- VMs at rest -------------------------------------------------------------------------------------


def test_a_powered_off_vm_leaves_a_host_that_is_given_up(cloud: Cloud) -> None:
    life = Life(cloud, kinds=("persistent",))
    impatient(cloud)
    vm = life.vm
    life.write()
    cloud.one.vm_poweroff(vm)
    lose(cloud, "dave")
    cloud.one.vm_migrate(vm, "bob")
    assert vm.state is VmState.POWEROFF
    assert "LINSTOR" not in vm.error
    assert failed(cloud) == []
    cloud.one.vm_resume(vm)
    running(vm, "bob")
    life.check_contents("moved")
    bring_back(cloud, "dave")
    assert "dave" not in clients(cloud)
    assert f"101/{vm.id}/disk.0" in links(cloud)["dave"]


def test_a_powered_off_vm_does_not_leave_a_host_that_only_ssh_does_not_reach(cloud: Cloud) -> None:
    """To OpenNebula the host is well, so its directory is moved, or the action fails."""
    life = Life(cloud, kinds=("persistent",))
    impatient(cloud)
    vm = life.vm
    life.write()
    cloud.one.vm_poweroff(vm)
    cloud.hosts.set_link("dave", "refused")
    cloud.one.vm_migrate(vm, "bob")
    assert vm.lcm_state is LcmState.PROLOG_MIGRATE_POWEROFF_FAILURE
    (call,) = failed(cloud)
    assert call.user_error.startswith("host dave cannot be reached by ssh")
    cloud.hosts.set_link("dave", "up")
    cloud.one.vm_recover(vm, "retry")
    cloud.one.vm_resume(vm)
    running(vm, "bob")
    life.check_contents("moved")
    assert "dave" not in clients(cloud) | links(cloud)


def test_a_suspended_vm_waits_for_its_memory(cloud: Cloud) -> None:
    life = Life(cloud, kinds=("persistent",))
    impatient(cloud)
    vm = life.vm
    life.write()
    cloud.one.vm_suspend(vm)
    lose(cloud, "dave")
    cloud.one.vm_migrate(vm, "bob")
    assert vm.lcm_state is LcmState.PROLOG_MIGRATE_SUSPEND_FAILURE
    (call,) = failed(cloud)
    assert call.user_error.startswith("host dave cannot be reached by ssh")
    bring_back(cloud, "dave")
    cloud.one.vm_recover(vm, "retry")
    assert vm.state is VmState.SUSPENDED
    cloud.one.vm_resume(vm)
    running(vm, "bob")
    life.check_contents("moved")
    assert "dave" not in clients(cloud) | links(cloud)


# -- giving up what was there ------------------------------------------------------------------------


def test_the_vm_is_given_up(cloud: Cloud) -> None:
    life = Life(cloud, kinds=FEW)
    impatient(cloud)
    vm = life.vm
    lose(cloud, "dave")
    before = len(cloud.one.calls)
    cloud.one.vm_recover(vm, "delete")
    assert failed(cloud, before) == []
    bring_back(cloud, "dave")
    assert resources(cloud) == life.stored
    assert clients(cloud) == {}
    again = running(cloud.one.vm_instantiate([life.images["persistent"]], host="bob"))
    write(cloud, again, "again")


@pytest.mark.parametrize("state", ["down", "refused"])
def test_the_vm_at_rest_is_terminated(cloud: Cloud, state: str) -> None:
    """Whether its host is dead or only out of reach."""
    life = Life(cloud, kinds=FEW)
    impatient(cloud)
    vm = life.vm
    cloud.one.vm_poweroff(vm)
    cloud.hosts.set_link("dave", state)
    if state == "down":
        cloud.cluster.set_online("dave", False)
    cloud.one.vm_terminate(vm)
    assert vm.state is VmState.DONE
    assert failed(cloud) == []
    cloud.cluster.set_online("dave", True)
    assert resources(cloud) == life.stored
    assert clients(cloud) == {}


def test_disks_are_detached_from_a_vm_at_rest(cloud: Cloud) -> None:
    life = Life(cloud, kinds=(*FEW, "cdrom"))
    impatient(cloud)
    vm = life.vm
    volumes = life.volumes()
    cloud.one.vm_poweroff(vm)
    lose(cloud, "dave")
    for number in (0, 1, 2):
        cloud.one.vm_detach(vm, number)
        assert vm.state is VmState.POWEROFF
    assert failed(cloud) == []
    # The image of another VM now, which writes to it while the dead host is still down.
    other = running(cloud.one.vm_instantiate([life.images["persistent"], life.images["cdrom"]], host="bob"))
    write(cloud, other, "other")
    bring_back(cloud, "dave")
    assert volumes[0] not in resources(cloud)
    assert not {volumes[1], volumes[2]} & set(clients(cloud).get("dave", []))


def test_an_undeployed_vm_needs_its_directory(cloud: Cloud) -> None:
    life = Life(cloud, kinds=("persistent",))
    impatient(cloud)
    vm = life.vm
    life.write()
    cloud.one.vm_poweroff(vm)
    lose(cloud, "dave")
    cloud.one.vm_undeploy(vm)
    assert vm.lcm_state is LcmState.EPILOG_UNDEPLOY_FAILURE
    (call,) = failed(cloud)
    assert call.user_error.startswith("host dave cannot be reached by ssh")
    bring_back(cloud, "dave")
    cloud.one.vm_recover(vm, "retry")
    assert vm.state is VmState.UNDEPLOYED
    assert clients(cloud) == {}
    cloud.one.vm_deploy(vm, "bob")
    running(vm, "bob")
    life.check_contents("moved")
