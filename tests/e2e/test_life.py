# SPDX-License-Identifier: Apache-2.0
"""Whole lives of VMs, on system datastores of each kind: after every step the disks are where they belong."""

from __future__ import annotations

import shutil
from typing import Callable, Union

import pytest

from lab.cloud import Cloud
from lab.one import HostState, LcmState, Oned, VirtualMachine, VmState
from tests.actions.tm.support import CloudMaker
from tests.e2e.lives import KINDS, LINSTOR, SHARED, SSH, VOLATILE, Life

SYSTEMS = {"linstor": LINSTOR, "ssh": SSH, "shared": SHARED}
SOME_KINDS = ("copy", "persistent", "cdrom", "volatile")
RUNNING, POWEROFF, SUSPENDED = LcmState.RUNNING, VmState.POWEROFF, VmState.SUSPENDED
STOPPED, UNDEPLOYED = VmState.STOPPED, VmState.UNDEPLOYED

Act = Callable[[Oned, VirtualMachine], object]
Step = tuple[str, Act, Union[LcmState, VmState], str]
"""What the user does, and the state and the host of the VM after it."""

AT_REST: list[Step] = [
    ("poweroff", lambda one, vm: one.vm_poweroff(vm), POWEROFF, "dave"),
    ("resume", lambda one, vm: one.vm_resume(vm), RUNNING, "dave"),
    ("suspend", lambda one, vm: one.vm_suspend(vm), SUSPENDED, "dave"),
    ("resume", lambda one, vm: one.vm_resume(vm), RUNNING, "dave"),
    ("stop", lambda one, vm: one.vm_stop(vm), STOPPED, "dave"),
    ("resume elsewhere", lambda one, vm: one.vm_resume(vm, "alice"), RUNNING, "alice"),
    ("undeploy", lambda one, vm: one.vm_undeploy(vm), UNDEPLOYED, "alice"),
    ("back to the first host", lambda one, vm: one.vm_deploy(vm, "dave"), RUNNING, "dave"),
]
COLD: list[Step] = [
    ("save and restore", lambda one, vm: one.vm_migrate(vm, "alice"), RUNNING, "alice"),
    ("shut down and boot", lambda one, vm: one.vm_migrate(vm, "dave", poff=True), RUNNING, "dave"),
    ("poweroff", lambda one, vm: one.vm_poweroff(vm), POWEROFF, "dave"),
    ("while powered off", lambda one, vm: one.vm_migrate(vm, "bob"), POWEROFF, "bob"),
    ("resume", lambda one, vm: one.vm_resume(vm), RUNNING, "bob"),
    ("suspend", lambda one, vm: one.vm_suspend(vm), SUSPENDED, "bob"),
    ("while suspended", lambda one, vm: one.vm_migrate(vm, "charlie"), SUSPENDED, "charlie"),
    ("resume", lambda one, vm: one.vm_resume(vm), RUNNING, "charlie"),
]
LIVE: list[Step] = [
    ("live to a host with disks", lambda one, vm: one.vm_migrate(vm, "alice", live=True), RUNNING, "alice"),
    ("live to a host without", lambda one, vm: one.vm_migrate(vm, "dave", live=True), RUNNING, "dave"),
]


def make(cloud: Cloud, system: str, host: str = "dave") -> Life:
    """A VM with all kinds of disks; where volatile ones are files, one of them is enough."""
    return Life(cloud, SYSTEMS[system], host, KINDS if system == "linstor" else SOME_KINDS)


def play(life: Life, steps: list[Step]) -> None:
    for name, act, state, host in steps:
        if life.vm.lcm_state is RUNNING:
            life.write()
        act(life.cloud.one, life.vm)
        life.expect(state, host, name)


def end(life: Life) -> None:
    life.cloud.one.vm_terminate(life.vm)
    life.check_gone("terminate")


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("steps", [AT_REST, COLD], ids=["at rest", "cold migrations"])
def test_life(cloud: Cloud, system: str, steps: list[Step]) -> None:
    life = make(cloud, system)
    play(life, steps)
    end(life)


@pytest.mark.parametrize("system", SYSTEMS)
def test_live_migrations(cloud: Cloud, system: str) -> None:
    life = make(cloud, system)
    one, vm = cloud.one, life.vm
    play(life, LIVE)
    live_migrations_that_fail(life)
    life.write()
    one.vm_migrate(vm, "charlie", live=True)
    life.expect(RUNNING, "charlie", "live after failures")
    end(life)


@pytest.mark.parametrize("rest_version", ["1.25.0", "1.29.1"])
def test_live_migrations_with_other_servers(make_cloud: CloudMaker, rest_version: str) -> None:
    life = Life(make_cloud(rest_version=rest_version), kinds=SOME_KINDS)
    play(life, LIVE)
    live_migrations_that_fail(life)
    end(life)


@pytest.mark.parametrize("one_version", ["5.12.0"])
def test_life_in_older_clouds(make_cloud: CloudMaker, one_version: str) -> None:
    life = Life(make_cloud(one_version=one_version), kinds=("copy", "persistent", "cdrom"))
    play(life, LIVE)
    live_migrations_that_fail(life)
    play(life, AT_REST[4:6])
    lose_the_host(life, "dave")
    end(life)


def live_migrations_that_fail(life: Life) -> None:
    """The guest refuses to move, and the disks cannot follow it: all is as it was, or is with the next migration."""
    one, vm, here = life.cloud.one, life.vm, life.vm.host
    life.write()
    one.hypervisor.fail_next("migrate")
    one.vm_migrate(vm, "bob", live=True)
    assert (vm.lcm_state, vm.host) == (RUNNING, here)
    assert "Could not migrate" in vm.error
    if vm.record.tm_mad == "linstor":
        life.expect(RUNNING, here, "live, the guest refuses")
    life.cloud.controller.faults.add("unavailable", path="image-persistent/", times=1000)
    one.vm_migrate(vm, "alice", live=True)
    life.cloud.controller.faults.clear()
    assert (vm.lcm_state, vm.host) == (RUNNING, here)
    if vm.record.tm_mad == "linstor":
        assert life.failures()[0].name == "tm/linstor/premigrate"
        life.check("live, premigrate fails")
    else:
        # Its driver does not listen to ours: the guest finds no disk.
        assert "Could not open" in vm.error


@pytest.mark.parametrize("system", ["linstor", "ssh"])
def test_another_system_datastore(cloud: Cloud, system: str) -> None:
    other = 102
    if system == "ssh":
        cloud.one.add_datastore(106, "another", TYPE="SYSTEM_DS", TM_MAD="ssh")
        other = 106
    life = Life(cloud, SYSTEMS[system], kinds=SOME_KINDS)
    one, vm, first = cloud.one, life.vm, life.vm.record.ds_id
    for step, host, store in (("same host", "dave", other), ("another host", "alice", first)):
        life.write()
        one.vm_migrate(vm, host, store, poff=True)
        life.placed()
        life.expect(RUNNING, host, step)
        assert vm.record.ds_id == store
    one.vm_poweroff(vm)
    one.vm_migrate(vm, "alice", other)
    life.placed()
    life.expect(POWEROFF, "alice", "while powered off")
    one.vm_resume(vm)
    life.expect(RUNNING, "alice", "resume")
    if system == "linstor":
        assert all(len(life.replicas(name)) == 3 for name in life.volumes().values() if "Volatile" in name)
    end(life)


@pytest.mark.parametrize("system", SYSTEMS)
def test_disks_come_and_go(cloud: Cloud, system: str) -> None:
    life = Life(cloud, SYSTEMS[system], "dave", ["copy"])
    one, vm = cloud.one, life.vm
    images = [life.images["copy"], *map(life.image, ("persistent", "cdrom"))]
    for disk in [*images, life.image("immutable")] if system == "linstor" else images:
        one.vm_attach(vm, disk)
        life.adopt()
    life.write()
    one.vm_poweroff(vm)
    one.vm_attach(vm, VOLATILE["swap"])
    life.placed()
    life.expect(POWEROFF, "dave", "attached while powered off")
    one.vm_resume(vm)
    life.adopt()
    life.write()
    one.vm_migrate(vm, "alice", live=True)
    life.expect(RUNNING, "alice", "live with what was attached")
    one.vm_poweroff(vm)
    for _ in range(2):
        one.vm_detach(vm, int(vm.disks[-1]["DISK_ID"]))
        life.expect(POWEROFF, "alice", "detached while powered off")
    one.vm_resume(vm)
    life.adopt()
    while len(vm.disks) > 1:
        one.vm_detach(vm, int(vm.disks[-1]["DISK_ID"]))
        life.adopt()
    life.expect(RUNNING, "alice", "detached")
    end(life)


@pytest.mark.parametrize("system", SYSTEMS)
def test_lost_host(cloud: Cloud, system: str) -> None:
    life = make(cloud, system)
    if system == "ssh":
        # Its volatile disk is a file on the host, and lost with it.
        cloud.one.vm_detach(life.vm, SOME_KINDS.index("volatile"))
        life.adopt()
    life.write()
    lose_the_host(life, "alice")
    life.write()
    cloud.one.vm_migrate(life.vm, "dave", live=True)
    life.expect(RUNNING, "dave", "back to the host that was lost")
    end(life)


def lose_the_host(life: Life, refuge: str) -> None:
    """The VM's host dies, OpenNebula starts the VM elsewhere, the host returns."""
    cloud, vm, lost = life.cloud, life.vm, life.vm.host
    cloud.hosts.set_power(lost, False)
    cloud.cluster.set_online(lost, False)
    cloud.one.host_error(lost)
    life.failures()
    cloud.one.vm_migrate(vm, refuge)
    assert not life.failures()
    assert (vm.lcm_state, vm.host) == (RUNNING, refuge), vm.error
    life.check_contents("lost host")
    cloud.hosts.set_power(lost, True)
    cloud.cluster.set_online(lost, True)
    cloud.one.host_state(lost, HostState.MONITORED)
    if vm.record.tm_mad != "shared":
        # A file has no cluster to remove it when the host returns.
        shutil.rmtree(cloud.hosts.layout.host_datastores(lost) / str(vm.record.ds_id) / str(vm.id))
    life.expect(RUNNING, refuge, "the lost host returns")


@pytest.mark.parametrize("system", SYSTEMS)
def test_ends(cloud: Cloud, system: str) -> None:
    """Of VMs at rest; lives end while they run."""
    life = Life(cloud, SYSTEMS[system], "dave", ("copy", "persistent", "cdrom"))
    one = cloud.one
    rests = [one.vm_undeploy, one.vm_suspend, one.vm_poweroff, one.vm_stop]
    for rest in rests if system == "linstor" else rests[:2]:
        if life.vm.state is VmState.DONE:
            life.born("dave", SYSTEMS[system])
        rest(life.vm)
        end(life)
