# SPDX-License-Identifier: Apache-2.0
"""The life of VMs: the stand-in calls drivers as a real oned 7.4.0 was seen to, and shows the same meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.one import LcmState, OneError, VirtualMachine, VmState

from .stage import Stage, scenario


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    for number in (100, 101, 102):
        made.one.ds_monitor(number, vm_disks=True if number > 100 else None)
    yield made
    made.one.close()


@pytest.fixture
def ready(stage: Stage) -> Stage:
    stage.create_images()
    return stage


def deployed(stage: Stage, first: str, host: str = "host0") -> VirtualMachine:
    """A running VM like that of the scenario, in datastore 101."""
    return stage.deploy(scenario(first)[0], host, 101)


def test_rest_and_return(ready: Stage) -> None:
    one = ready.one
    vm = deployed(ready, "b01")
    since = len(one.calls)
    one.vm_poweroff(vm, hard=True)
    one.vm_resume(vm)
    one.vm_undeploy(vm)
    assert vm.state is VmState.UNDEPLOYED
    one.vm_deploy(vm, "host1")
    one.vm_undeploy(vm, hard=True)
    one.vm_resume(vm, "host0", 102)
    one.vm_stop(vm)
    assert vm.state is VmState.STOPPED
    one.vm_resume(vm, "host1")
    one.vm_suspend(vm)
    assert vm.state is VmState.SUSPENDED
    one.vm_resume(vm)
    ready.compare(scenario("b04", "b05", "b06", "b05b", "b06b", "b07", "b08", "b09", "b10"), since)


def test_migrations(ready: Stage) -> None:
    one = ready.one
    vm = ready.deploy(scenario("b11")[0], "host1", 102)
    since = len(one.calls)
    one.vm_migrate(vm, "host2")
    one.vm_migrate(vm, "host0", live=True)
    one.vm_migrate(vm, "host1", poff=True)
    one.vm_migrate(vm, "host2", hard=True)
    one.vm_migrate(vm, "host0", 102)
    one.vm_migrate(vm, "host1", 101, poff=True)
    one.vm_poweroff(vm)
    one.vm_migrate(vm, "host2")
    assert vm.state is VmState.POWEROFF
    one.vm_migrate(vm, "host0", 102)
    one.vm_migrate(vm, "host0", 101)
    one.vm_resume(vm)
    one.hypervisor.fail_next("migrate")
    one.vm_migrate(vm, "host1", live=True)
    assert vm.error.endswith(": MIGRATE: Could not migrateExitCode: 1")
    ready.fail(("premigrate", "premigrate: resource busy"), ("postmigrate", "postmigrate failed"))
    one.vm_migrate(vm, "host1", live=True)
    assert vm.error.endswith(": MIGRATE: premigrate: resource busy")
    assert (vm.host, vm.lcm_state) == ("host0", LcmState.RUNNING)
    one.vm_migrate(vm, "host1", live=True)
    assert (vm.host, vm.lcm_state) == ("host1", LcmState.RUNNING)
    with pytest.raises(OneError, match="Cannot live migrate host and datastore at the same time"):
        one.vm_migrate(vm, "host0", 102, live=True)
    one.vm_suspend(vm)
    one.vm_migrate(vm, "host0")
    one.vm_migrate(vm, "host1", 102)
    assert vm.state is VmState.SUSPENDED
    one.vm_resume(vm)
    assert vm.lcm_state is LcmState.RUNNING
    names = [f"b{number}" for number in range(11, 22)]
    ready.compare(scenario(*names[:8], "b18b", "b18c", *names[8:], "b23", "b24", "b25"), since)


def test_failed_moves_are_tried_again(ready: Stage) -> None:
    one = ready.one
    vm = ready.deploy(scenario("h09")[0], "host0", 101)
    since = len(one.calls)
    ready.fail(("mv", "mv failed"))
    one.vm_migrate(vm, "host1")
    assert (vm.lcm_state, vm.host) == (LcmState.PROLOG_MIGRATE_FAILURE, "host1")
    one.vm_recover(vm, "retry")
    ready.fail(("mv", "mv failed"))
    one.vm_migrate(vm, "host2")
    one.vm_recover(vm, "failure")
    assert (vm.lcm_state, vm.host) == (LcmState.RUNNING, "host1")
    ready.fail(("mv", "mv failed"))
    one.vm_undeploy(vm)
    assert vm.lcm_state is LcmState.EPILOG_UNDEPLOY_FAILURE
    one.vm_recover(vm, "retry")
    ready.fail(("mv", "mv failed"))
    one.vm_resume(vm, "host0")
    assert vm.lcm_state is LcmState.PROLOG_UNDEPLOY_FAILURE
    one.vm_recover(vm, "retry")
    assert vm.lcm_state is LcmState.RUNNING
    names = ("h09", "h09b", "h10", "h10b", "h11", "h11b", "h12", "h12b")
    ready.compare(scenario(*names), since)


def test_half_done_migrations(ready: Stage) -> None:
    one = ready.one
    vm = ready.deploy(scenario("p03")[0], "host0", 101)
    since = len(one.calls)
    ready.fail_at("mv", "disk.2", "mv failed")
    one.vm_migrate(vm, "host1")
    ready.work_again("mv")
    one.vm_recover(vm, "retry")
    ready.fail_at("mv", "disk.1", "mv failed")
    one.vm_migrate(vm, "host2", poff=True)
    ready.work_again("mv")
    # Nobody saved the VM, yet oned wants it restored.
    checkpoint = Path(one.lines.directory(vm)) / "checkpoint"
    checkpoint.write_text(f"one-{vm.id}\n")
    one.vm_recover(vm, "failure")
    assert (vm.lcm_state, vm.host) == (LcmState.RUNNING, "host1")
    ready.fail_at("mv", "disk.1", "mv failed")
    one.vm_migrate(vm, "host0", 102)
    one.vm_recover(vm, "delete")
    assert vm.state is VmState.DONE
    ready.compare(scenario("p03", "p03b", "p04", "p04b", "p05", "p05b"), since)


def test_recreate_during_a_migration(ready: Stage) -> None:
    one = ready.one
    calls = scenario("p07", "p07b", "p07c", "p07d")
    since = len(one.calls)
    vm = ready.deploy(calls[0], "host0", 101)
    ready.fail_at("mv", "disk.1", "mv failed")
    one.vm_migrate(vm, "host1")
    one.vm_recover(vm, "recreate")
    one.vm_deploy(vm, "host2", 101)
    one.vm_terminate(vm, hard=True)
    ready.compare(calls, since)


def test_a_live_migration_that_is_given_up_while_it_runs(ready: Stage) -> None:
    """What goes on does so without the VM; its postmigrate still comes."""
    one = ready.one
    calls = scenario("p08")
    since = len(one.calls)
    vm = ready.deploy(calls[0], "host0", 101)
    gate = ready.bench.plans / "gate"
    ready.bench.plan("tm.premigrate", f'until [ -e "{gate}" ]; do sleep 0.02; done')
    moving = threading.Thread(target=one.vm_migrate, args=(vm, "host1"), kwargs={"live": True})
    moving.start()
    while not (ready.bench.plans / "tm.premigrate.once.used").exists():
        time.sleep(0.01)
    one.vm_recover(vm, "failure")
    gate.touch()
    moving.join()
    assert (vm.lcm_state, vm.host, len(vm.history)) == (LcmState.RUNNING, "host0", 3)
    one.vm_terminate(vm, hard=True)
    ready.compare(calls, since)


@pytest.mark.parametrize("number", ["i04", "i05", "i06"])
def test_ends_of_vms_at_rest(ready: Stage, number: str) -> None:
    """Undeployed, stopped, suspended."""
    one = ready.one
    calls = [call for call in scenario(number) if "terminate" in call.scenario]
    since = len(one.calls)
    vm = ready.deploy(calls[0], "host0", 101)
    {"i04": one.vm_undeploy, "i05": one.vm_stop, "i06": one.vm_suspend}[number](vm)
    one.vm_terminate(vm)
    assert vm.state is VmState.DONE
    # The captured VMs had been saved, enlarged and snapshotted in between.
    ready.compare_arguments(calls, since)


def test_a_shareable_image_in_two_vms(stage: Stage) -> None:
    one = stage.one
    stage.adopt_images("l08")
    image = one.image(44)
    image.template["PERSISTENT_TYPE"] = "SHAREABLE"
    since = len(one.calls)
    calls = [call for call in scenario("l08") if call.driver == "tm"]
    vms = [stage.deploy(call, host, 101) for call, host in zip(calls[:2], ("host1", "host2"))]
    assert image.vms == [vm.id for vm in vms]
    for vm in vms:
        one.vm_terminate(vm, hard=True)
    stage.compare(calls, since)


def test_an_ssh_system_datastore(stage: Stage) -> None:
    one = stage.one
    stage.adopt_images("v2-00")
    stage.record_ssh()
    (one.inventory.datastores[103].template).update(TM_MAD="ssh", SHARED="NO")
    names = [f"v2-ssh-{number}" for number in ("01", "07", "08", "11", "12", "15")]
    calls = scenario(*names)
    since = len(one.calls)
    vm = stage.deploy(calls[0], "host0", 103)
    one.vm_migrate(vm, "host1", live=True)
    one.vm_migrate(vm, "host2")
    one.vm_poweroff(vm)
    one.vm_resume(vm)
    one.vm_undeploy(vm)
    one.vm_deploy(vm, "host0")
    one.vm_terminate(vm, hard=True)
    made = one.calls[since:]
    suffixed = {call.name for call in made if call.name.endswith(".ssh")}
    assert {"tm/linstor/mv.ssh", "tm/ssh/mv.ssh", "tm/ssh/delete.ssh"} <= suffixed
    stage.compare_arguments(calls, since)


def test_live_change_of_the_datastore(stage: Stage) -> None:
    one = stage.one
    stage.adopt_images("v2-00")
    since = len(one.calls)
    calls = scenario("v2-native-01", "v2-native-07")
    vm = stage.deploy(calls[0], "host0", 107)
    one.vm_migrate(vm, "host1", live=True)
    stage.compare_arguments(calls, since)
    one.vm_migrate(vm, "host0")
    since = len(one.calls)
    one.vm_migrate(vm, "host1", 108, poff=True)
    one.vm_migrate(vm, "host1", 107, live=True)
    assert (vm.lcm_state, vm.error) == (LcmState.RUNNING, "")
    one.vm_terminate(vm, hard=True)
    stage.compare_arguments(scenario("v2-native-13", "v2-native-14", "v2-native-15"), since)
