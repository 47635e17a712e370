# SPDX-License-Identifier: Apache-2.0
"""Steps that break off half-way, and what `onevm recover` makes of them."""

from __future__ import annotations

import shutil
from typing import Callable, NamedTuple, Union

import pytest

from lab.cloud import Cloud
from lab.hosts.faults import SshFault
from lab.one import LcmState, Oned, VirtualMachine, VmState
from tests.actions.support import resources
from tests.actions.tm.support import on_nodes
from tests.e2e.lives import LINSTOR, SHARED, SSH, Life

KINDS = ("copy", "persistent", "cdrom")
Act = Callable[[Oned, VirtualMachine, str], object]
"""What the user does; a migration, resume or deployment goes to the host."""
State = Union[LcmState, VmState]
RUNNING, POWEROFF, SUSPENDED = LcmState.RUNNING, VmState.POWEROFF, VmState.SUSPENDED


def lose(cloud: Cloud, host: str) -> None:
    """The connection to the host breaks at the third disk."""
    cloud.hosts.faults.add(SshFault("lose", nth=3, host=host))


def refuse(cloud: Cloud, _: str) -> None:
    """The controller does not answer for the third disk."""
    cloud.controller.faults.add("unavailable", path="image-cdrom", times=100)


def fail_guest(action: str) -> Callable[[Cloud, str], None]:
    return lambda cloud, _: cloud.one.hypervisor.fail_next(action)


class Break(NamedTuple):
    """A step that breaks off on the way from alice to dave: what comes before it, and the states that follow.

    ``retried`` has the host, too; ``given_up`` is None where oned cannot give up.
    """

    before: list[Act]
    fault: Callable[[Cloud, str], None]
    act: Act
    state: LcmState
    retried: tuple[State, str]
    given_up: State | None = None


def power_off(one: Oned, vm: VirtualMachine, _: str) -> object:
    return one.vm_poweroff(vm)


def suspend(one: Oned, vm: VirtualMachine, _: str) -> object:
    return one.vm_suspend(vm)


def stop(one: Oned, vm: VirtualMachine, _: str) -> object:
    return one.vm_stop(vm)


def undeploy(one: Oned, vm: VirtualMachine, _: str) -> object:
    return one.vm_undeploy(vm)


def migrate(one: Oned, vm: VirtualMachine, host: str) -> object:
    return one.vm_migrate(vm, host)


def shut_down_and_migrate(one: Oned, vm: VirtualMachine, host: str) -> object:
    return one.vm_migrate(vm, host, poff=True)


def resume(one: Oned, vm: VirtualMachine, host: str) -> object:
    return one.vm_resume(vm, host)


S = LcmState
BREAKS: dict[str, Break] = {
    "migrate": Break([], lose, migrate, S.PROLOG_MIGRATE_FAILURE, (RUNNING, "dave"), RUNNING),
    # There is no memory to restore, but oned wants it restored.
    "migrate by poweroff": Break(
        [], lose, shut_down_and_migrate, S.PROLOG_MIGRATE_FAILURE, (RUNNING, "dave"), S.BOOT_MIGRATE_FAILURE
    ),
    "migrate powered off": Break(
        [power_off], lose, migrate, S.PROLOG_MIGRATE_POWEROFF_FAILURE, (POWEROFF, "dave"), POWEROFF
    ),
    "migrate suspended": Break(
        [suspend], lose, migrate, S.PROLOG_MIGRATE_SUSPEND_FAILURE, (SUSPENDED, "dave"), SUSPENDED
    ),
    "stop": Break([], refuse, stop, S.EPILOG_STOP_FAILURE, (VmState.STOPPED, "alice")),
    "undeploy": Break([], refuse, undeploy, S.EPILOG_UNDEPLOY_FAILURE, (VmState.UNDEPLOYED, "alice")),
    "resume": Break([stop], lose, resume, S.PROLOG_RESUME_FAILURE, (RUNNING, "dave")),
    "deploy": Break([undeploy], lose, resume, S.PROLOG_UNDEPLOY_FAILURE, (RUNNING, "dave")),
    "boot": Break([], fail_guest("deploy"), shut_down_and_migrate, S.BOOT_FAILURE, (RUNNING, "dave")),
    "restore": Break([], fail_guest("restore"), migrate, S.BOOT_MIGRATE_FAILURE, (RUNNING, "dave")),
}
SYSTEMS = {"linstor": LINSTOR, "ssh": SSH, "shared": SHARED}


def break_off(life: Life, name: str, source: str = "alice", target: str = "dave") -> None:
    """From a running VM up to the state of the failure; the fault is over then."""
    cloud, vm, case = life.cloud, life.vm, BREAKS[name]
    if vm.host != source:
        cloud.one.vm_migrate(vm, source, live=True)
    life.write()
    for act in case.before:
        act(cloud.one, vm, target)
    case.fault(cloud, target)
    case.act(cloud.one, vm, target)
    cloud.controller.faults.clear()
    cloud.hosts.faults.clear()
    assert vm.lcm_state is case.state, f"{name}: {vm.error}"
    life.failures()


def boot(life: Life, step: str) -> None:
    if life.vm.state is not VmState.ACTIVE:
        life.cloud.one.vm_resume(life.vm)
    life.expect(RUNNING, life.vm.host, step)


def remove_from_front_end(life: Life, name: str) -> None:
    """oned has the directory removed from the host to which the VM was coming, not from where it came."""
    if name in ("resume", "deploy"):
        shutil.rmtree(life.cloud.one.tree.datastores / str(life.vm.record.ds_id) / str(life.vm.id))


@pytest.mark.parametrize("name", BREAKS)
def test_retry_and_delete(cloud: Cloud, name: str) -> None:
    life = Life(cloud, LINSTOR, "alice", KINDS)
    break_off(life, name)
    cloud.one.vm_recover(life.vm, "retry")
    life.expect(*BREAKS[name].retried, "retried")
    boot(life, "running again")
    break_off(life, name)
    cloud.one.vm_recover(life.vm, "delete")
    remove_from_front_end(life, name)
    life.check_gone("deleted")


@pytest.mark.parametrize("system", ["ssh", "shared"])
@pytest.mark.parametrize("name", ["migrate powered off", "undeploy"])
def test_retry_and_delete_in_datastores_of_other_drivers(cloud: Cloud, system: str, name: str) -> None:
    life = Life(cloud, SYSTEMS[system], "alice", KINDS)
    break_off(life, name)
    cloud.one.vm_recover(life.vm, "retry")
    life.expect(*BREAKS[name].retried, "retried")
    boot(life, "running again")
    break_off(life, name)
    cloud.one.vm_recover(life.vm, "delete")
    life.check_gone("deleted")


@pytest.mark.parametrize("name", [name for name, case in BREAKS.items() if case.given_up])
def test_migration_given_up(cloud: Cloud, name: str) -> None:
    """No driver is called for the disks that had moved on already: they come back with the next boot."""
    life = Life(cloud, LINSTOR, "dave", KINDS)
    break_off(life, name, "dave", "bob")
    vm, given_up, moved = life.vm, BREAKS[name].given_up, life.volumes()[0]
    assert "dave" not in on_nodes(cloud, moved) or on_nodes(cloud, moved)["dave"] == "tie-breaker"
    cloud.one.vm_recover(vm, "failure")
    assert (vm.lcm_state if vm.state is VmState.ACTIVE else vm.state, vm.host) == (given_up, "dave")
    # Nobody is told of the new host any more.
    left = cloud.hosts.layout.host_datastores("bob") / str(LINSTOR) / str(vm.id)
    assert all(path.is_symlink() for path in left.iterdir())
    shutil.rmtree(left)
    if given_up is S.BOOT_MIGRATE_FAILURE:
        cloud.one.vm_recover(vm, "recreate")
        cloud.one.vm_deploy(vm, "bob")
        life.adopt_anew()
        return
    if vm.state is not VmState.ACTIVE:
        cloud.one.vm_resume(vm)
    assert (vm.lcm_state, vm.host) == (RUNNING, "dave"), vm.error
    life.check_contents("back")
    life.check_links("back")
    # What the new host had got already it keeps until the VM moves again.
    cloud.one.vm_migrate(vm, "alice", live=True)
    life.expect(RUNNING, "alice", "back, and moved again")


@pytest.mark.parametrize("name", ["migrate", "undeploy", "deploy", "boot"])
def test_recreate(cloud: Cloud, name: str) -> None:
    life = Life(cloud, LINSTOR, "alice", KINDS)
    break_off(life, name)
    cloud.one.vm_recover(life.vm, "recreate")
    assert resources(cloud) == life.stored
    remove_from_front_end(life, name)
    assert life.directories() == {}
    cloud.one.vm_deploy(life.vm, "bob")
    life.adopt_anew()


@pytest.mark.parametrize("name", ["boot", "restore"])
def test_administrator_has_started_the_guest(cloud: Cloud, name: str) -> None:
    life = Life(cloud, LINSTOR, "alice", KINDS)
    break_off(life, name)
    vm, one = life.vm, cloud.one
    disks = {one.disk_path(vm, disk): vm.disk(disk).get("READONLY") == "YES" for disk in life.disks()}
    one.hypervisor.deploy(vm.id, vm.host, disks)
    one.vm_recover(vm, "success")
    life.check_contents("success")
    one.vm_terminate(vm)
    life.check_gone("terminate")


@pytest.mark.parametrize("operation", ["retry", "delete", "recreate"])
def test_prolog(cloud: Cloud, operation: str) -> None:
    life = Life(cloud, LINSTOR, "alice", KINDS)
    cloud.one.vm_terminate(life.vm)
    lose(cloud, "dave")
    life.vm = vm = cloud.one.vm_instantiate([life.images[kind] for kind in KINDS], "dave")
    assert vm.lcm_state is S.PROLOG_FAILURE
    cloud.one.vm_recover(vm, operation)
    if operation == "delete":
        life.check_gone("deleted")
        return
    if operation == "recreate":
        assert resources(cloud) == life.stored
        cloud.one.vm_deploy(vm, "bob")
    life.adopt_anew()


@pytest.mark.parametrize("operation", ["retry", "delete"])
def test_epilog(cloud: Cloud, operation: str) -> None:
    life = Life(cloud, LINSTOR, "dave", KINDS)
    refuse(cloud, "")
    cloud.one.vm_terminate(life.vm)
    cloud.controller.faults.clear()
    assert life.vm.lcm_state is S.EPILOG_FAILURE
    cloud.one.vm_recover(life.vm, operation)
    life.check_gone(operation)
