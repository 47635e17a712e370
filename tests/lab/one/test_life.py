# SPDX-License-Identifier: Apache-2.0
"""VMs at rest, on the move and lost: states, records, refusals, recoveries."""

from __future__ import annotations

import xmlrpc.client
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from lab.one import HostState, ImageState, LcmState, OneError, VirtualMachine, VmState
from lab.one.model import HistoryAction, Image

from .conftest import Bench

DIRECTORY = "/srv/one/var//datastores/101/0"


@pytest.fixture
def images(bench: Bench) -> list[Image]:
    """A plain and a persistent image."""
    return [
        bench.one.image_create("os", path="/srv/images/os.img"),
        bench.one.image_create("data", size=10, type="DATABLOCK", persistent=True),
    ]


@pytest.fixture
def vm(bench: Bench, images: list[Image]) -> VirtualMachine:
    return bench.one.vm_instantiate(images, host="host0")


def document(bench: Bench, kind: str, number: int) -> etree._Element:
    with xmlrpc.client.ServerProxy(bench.one.xmlrpc.url) as server:
        reply: Any = getattr(server.one, kind).info("oneadmin:opennebula", number)
    return etree.fromstring(reply[1])


def occupants(bench: Bench) -> dict[str, list[str]]:
    """Hosts that VMs occupy, as XML-RPC tells."""
    found = {}
    for number in range(3):
        host = document(bench, "host", number)
        ids = [one.text for one in host.findall("VMS/ID")]
        assert host.findtext("HOST_SHARE/RUNNING_VMS") == str(len(ids))
        if ids:
            found[host.findtext("NAME")] = ids
    return found


def test_which_host_a_vm_occupies(bench: Bench, vm: VirtualMachine) -> None:
    one = bench.one
    assert occupants(bench) == {"host0": ["0"]}
    for rest, state in ((one.vm_poweroff, "8"), (one.vm_suspend, "5")):
        rest(vm)
        assert occupants(bench) == {"host0": ["0"]}
        assert document(bench, "vm", 0).findtext("STATE") == state
        one.vm_resume(vm)
    for leave, state in ((one.vm_undeploy, "9"), (one.vm_stop, "4")):
        leave(vm)
        assert occupants(bench) == {}
        assert document(bench, "vm", 0).findtext("STATE") == state
        one.vm_resume(vm, "host2")
        assert occupants(bench) == {"host2": ["0"]}
    # On both while it moves.
    bench.plan("tm.premigrate", 'onehost show -x 0 >"$PLANS/0"; onehost show -x 2 >"$PLANS/2"')
    one.vm_migrate(vm, "host0", live=True)
    for number in ("0", "2"):
        assert etree.parse(str(bench.plans / number)).findtext("VMS/ID") == "0"
    one.vm_terminate(vm)
    assert occupants(bench) == {}


def test_all_history_records_are_shown(bench: Bench, vm: VirtualMachine) -> None:
    bench.one.vm_migrate(vm, "host1", live=True)
    bench.one.vm_undeploy(vm)
    bench.one.vm_deploy(vm, "host2", 102)
    records = document(bench, "vm", 0).findall("HISTORY_RECORDS/HISTORY")
    shown = [
        tuple(one.findtext(tag) for tag in ("SEQ", "HOSTNAME", "HID", "DS_ID", "TM_MAD", "ACTION"))
        for one in records
    ]
    assert shown == [
        ("0", "host0", "0", "101", "linstor", "2"),
        ("1", "host1", "1", "101", "linstor", "5"),
        ("2", "host2", "2", "102", "linstor", "0"),
    ]
    assert [one.findtext("ETIME") == "0" for one in records] == [False, False, True]


def test_lost_host_and_migration_away_from_it(bench: Bench, vm: VirtualMachine) -> None:
    one = bench.one
    other = one.vm_instantiate([], host="host1", context=False)
    one.host_error("host0")
    assert document(bench, "host", 0).findtext("STATE") == "3"
    assert (vm.lcm_state, other.lcm_state) == (LcmState.UNKNOWN, LcmState.RUNNING)
    bench.plan("tm.mv", 'onevm show -x "$3" >"$PLANS/vm"; exec true')
    before = len(one.calls)
    one.vm_migrate(vm, "host1")
    assert bench.made(before)[:3] == [
        f"tm/linstor/mv host0:{DIRECTORY}/disk.0 host1:{DIRECTORY}/disk.0 0 100",
        f"tm/linstor/mv host0:{DIRECTORY}/disk.1 host1:{DIRECTORY}/disk.1 0 100",
        f"tm/linstor/mv host0:{DIRECTORY} host1:{DIRECTORY} 0 101",
    ]
    assert "LIVE_DISK_SNAPSHOTS" not in one.calls[before].env
    assert etree.parse(str(bench.plans / "vm")).findtext("LCM_STATE") == "60"
    assert (vm.lcm_state, vm.host) == (LcmState.RUNNING, "host1")
    assert [record.action for record in vm.history] == [HistoryAction.MIGRATE, HistoryAction.NONE]


def test_a_failed_rescue_is_tried_again_or_given_up(bench: Bench, vm: VirtualMachine) -> None:
    one = bench.one
    one.vm_unknown(vm)
    bench.plan("tm.mv", "echo 'no quorum' >&2; exit 1")
    one.vm_migrate(vm, "host1")
    assert vm.lcm_state is LcmState.PROLOG_MIGRATE_UNKNOWN_FAILURE
    bench.plan("tm.mv", "exit 1")
    one.vm_recover(vm, "retry")
    assert vm.lcm_state is LcmState.PROLOG_MIGRATE_UNKNOWN_FAILURE
    one.hypervisor.close()
    before = len(one.calls)
    one.vm_recover(vm, "failure")
    assert [line.split()[0] for line in bench.made(before)] == ["tm/linstor/context"]
    assert (vm.lcm_state, vm.host) == (LcmState.RUNNING, "host0")


def test_a_host_that_is_back_tells_of_its_vms(bench: Bench, vm: VirtualMachine) -> None:
    one = bench.one
    gone = one.vm_instantiate([], host="host0", context=True)
    one.host_error("host0")
    one.hypervisor.cancel(gone.id, "host0")
    one.host_state("host0", HostState.MONITORED)
    assert (vm.lcm_state, gone.state) == (LcmState.RUNNING, VmState.POWEROFF)


def test_a_dead_host_can_not_shut_down(bench: Bench, vm: VirtualMachine) -> None:
    bench.hosts.down.add("host0")
    for leave in (bench.one.vm_terminate, bench.one.vm_stop, bench.one.vm_undeploy, bench.one.vm_suspend):
        leave(vm)
        assert (vm.lcm_state, vm.record.action) == (LcmState.RUNNING, HistoryAction.NONE)
        assert "on host0: no answer" in vm.error
    bench.one.vm_migrate(vm, "host1")
    assert (vm.lcm_state, vm.host) == (LcmState.RUNNING, "host0")
    assert bench.one.vm_recover(vm, "delete").state is VmState.DONE


def test_unknown_vms_are_started_again_where_they_are(bench: Bench, vm: VirtualMachine) -> None:
    bench.one.vm_unknown(vm)
    bench.one.vm_resume(vm)
    assert vm.lcm_state is LcmState.UNKNOWN
    assert "already runs" in vm.error
    bench.one.hypervisor.close()
    assert bench.one.vm_resume(vm).lcm_state is LcmState.RUNNING


@pytest.mark.parametrize("version", ["7.4.0", "7.2.0"])
def test_premigrate_that_fails(tmp_path: Path, version: str) -> None:
    bench = Bench(tmp_path, version)
    vm = bench.one.vm_instantiate([], host="host0")
    bench.plan("tm.premigrate", "exit 1")
    before = len(bench.one.calls)
    bench.one.vm_migrate(vm, "host1", live=True)
    bench.one.close()
    later = ["tm/linstor/failmigrate"] if version == "7.4.0" else []
    assert [line.split()[0] for line in bench.made(before)] == ["tm/linstor/premigrate", *later]
    assert (vm.lcm_state, vm.host) == (LcmState.RUNNING, "host0")


def test_refused_migrations(bench: Bench, vm: VirtualMachine) -> None:
    one = bench.one
    template = one.inventory.datastores[102].template
    for arguments, options, reason in (
        (("host0",), {}, r"already running on host \[0\] and datastore \[101\]"),
        (("host1", 102), {"live": True}, "host and datastore at the same time"),
        (("host0", 102), {"live": True}, "Live system datastore migration not supported"),
        (("host1", 103), {}, "different driver"),
    ):
        with pytest.raises(OneError, match=reason):
            one.vm_migrate(vm, *arguments, **options)
    template["DS_MIGRATE"] = "NO"
    with pytest.raises(OneError, match="System datastore migration not supported by driver"):
        one.vm_migrate(vm, "host0", 102)
    one.vm_poweroff(vm)
    with pytest.raises(OneError, match="wrong state POWEROFF"):
        one.vm_migrate(vm, "host1", live=True)
    one.vm_undeploy(vm)
    with pytest.raises(OneError, match="not available for state UNDEPLOYED"):
        one.vm_migrate(vm, "host1")
    assert len(vm.history) == 1


def test_refused_migrations_of_older_releases(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "6.10.5")
    vm = bench.one.vm_instantiate([], host="host0")
    with pytest.raises(OneError, match="cannot be performed live"):
        bench.one.vm_migrate(vm, "host0", 102, live=True)
    # Naming the datastore in which the VM is asks for the permission to change it.
    bench.one.inventory.datastores[101].template["DS_MIGRATE"] = "NO"
    with pytest.raises(OneError, match="System datastore migration not supported by driver"):
        bench.one.vm_migrate(vm, "host1", 101)
    bench.one.close()


def test_the_scheduler_keeps_to_the_driver_but_deploy_does_not(bench: Bench, vm: VirtualMachine) -> None:
    one = bench.one
    one.vm_undeploy(vm)
    with pytest.raises(OneError, match="AUTOMATIC_DS_REQUIREMENTS"):
        one.vm_resume(vm, "host1", 103)
    one.host_error("host0")
    assert one.vm_resume(vm).host == "host1"
    one.vm_undeploy(vm)
    bench.plan("tm.mv", ":")
    one.vm_deploy(vm, "host0", 103)
    assert (vm.record.tm_mad, vm.tm_mad_system) == ("ssh", "linstor")
    assert "TM_MAD_SYSTEM" not in vm.disk(0)


@pytest.mark.parametrize("action", ["save", "shutdown", "restore"])
def test_failures_of_the_hypervisor(bench: Bench, vm: VirtualMachine, action: str) -> None:
    one = bench.one
    one.hypervisor.fail_next(action)
    if action == "restore":
        one.vm_suspend(vm)
        one.vm_resume(vm)
        assert vm.state is VmState.SUSPENDED
        assert one.vm_resume(vm).lcm_state is LcmState.RUNNING
        one.vm_stop(vm)
        one.hypervisor.fail_next(action)
        one.vm_resume(vm)
        assert vm.lcm_state is LcmState.BOOT_STOPPED_FAILURE
        assert one.vm_recover(vm, "retry").lcm_state is LcmState.RUNNING
        return
    before = len(one.calls)
    one.vm_migrate(vm, "host1", poff=action == "shutdown")
    assert (vm.lcm_state, vm.host, len(vm.history)) == (LcmState.RUNNING, "host0", 3)
    assert vm.error.endswith(f": {action.upper()}: Could not {action}ExitCode: 1")
    assert bench.made(before) == []
    one.hypervisor.guest(vm.id, 0).write(0, b"still there")


def test_memory_is_kept_in_a_file(bench: Bench, vm: VirtualMachine) -> None:
    one = bench.one
    checkpoint = Path(one.lines.directory(vm)) / "checkpoint"
    one.vm_suspend(vm)
    assert checkpoint.read_bytes().startswith(b"one-0\n")
    assert not one.hypervisor.is_running(vm.id)
    checkpoint.rename(checkpoint.with_name("elsewhere"))
    one.vm_resume(vm)
    assert (vm.state, "RESTORE" in vm.error) == (VmState.SUSPENDED, True)
    checkpoint.with_name("elsewhere").rename(checkpoint)
    one.vm_resume(vm)
    assert vm.lcm_state is LcmState.RUNNING
    assert not checkpoint.exists()


def test_the_context_disk_has_to_be_there(bench: Bench, images: list[Image]) -> None:
    bench.plan("tm.context", ":")
    vm = bench.one.vm_instantiate(images, host="host0")
    assert vm.lcm_state is LcmState.BOOT_FAILURE
    assert ": DEPLOY: Could not open '" in vm.error
    assert not bench.one.hypervisor.is_running(vm.id)
    assert bench.one.vm_recover(vm, "retry").lcm_state is LcmState.RUNNING


def test_recover_success_makes_no_calls_for_the_step(bench: Bench, vm: VirtualMachine) -> None:
    one = bench.one
    bench.plan("tm.mv", "exit 1")
    one.vm_undeploy(vm)
    assert vm.lcm_state is LcmState.EPILOG_UNDEPLOY_FAILURE
    before = len(one.calls)
    assert one.vm_recover(vm, "success").state is VmState.UNDEPLOYED
    assert len(one.calls) == before
    bench.plan("tm.mv", "exit 1")
    one.vm_deploy(vm, "host1")
    one.vm_recover(vm, "success")
    assert (vm.lcm_state, vm.host) == (LcmState.RUNNING, "host1")
    one.vm_unknown(vm)
    assert one.vm_recover(vm, "success").lcm_state is LcmState.RUNNING
    with pytest.raises(OneError, match="Recover failure is not available for state RUNNING"):
        one.vm_recover(vm, "failure")


@pytest.mark.parametrize("rest", ["poweroff", "suspend", "stop", "undeploy"])
def test_delete_at_rest_goes_to_the_last_host(bench: Bench, vm: VirtualMachine, rest: str) -> None:
    getattr(bench.one, f"vm_{rest}")(vm)
    before = len(bench.one.calls)
    bench.one.vm_recover(vm, "delete")
    assert bench.made(before) == [
        f"tm/linstor/delete host0:{DIRECTORY}/disk.0 0 100",
        f"tm/linstor/delete host0:{DIRECTORY}/disk.1 0 100",
        f"tm/linstor/delete host0:{DIRECTORY} 0 101",
    ]
    assert "LIVE_DISK_SNAPSHOTS" not in bench.one.calls[-1].env
    assert vm.state is VmState.DONE


def test_recreate_of_a_stopped_vm_meets_its_old_volumes(bench: Bench, vm: VirtualMachine) -> None:
    one = bench.one
    one.vm_stop(vm)
    before = len(one.calls)
    one.vm_recover(vm, "recreate")
    assert (vm.state, len(one.calls)) == (VmState.PENDING, before)
    one.vm_deploy(vm, "host1")
    assert bench.made(before)[0].startswith("tm/linstor/clone vm:OpenNebula-Image-0 host1:")
    one.vm_poweroff(vm)
    before = len(one.calls)
    one.vm_recover(vm, "recreate")
    assert [line.split()[0] for line in bench.made(before)] == ["tm/linstor/delete"] * 3
    assert "LIVE_DISK_SNAPSHOTS" in one.calls[-1].env


def test_shareable_and_immutable_images(bench: Bench) -> None:
    one = bench.one
    shared = one.image_create("s", size=8, type="DATABLOCK", persistent=True, PERSISTENT_TYPE="SHAREABLE")
    fixed = one.image_create("f", size=8, type="DATABLOCK", PERSISTENT_TYPE="immutable")
    vms = [one.vm_instantiate([shared, fixed], host=host) for host in ("host1", "host2")]
    assert [vm.lcm_state for vm in vms] == [LcmState.RUNNING] * 2
    wanted = ("CLONE", "SAVE", "READONLY", "PERSISTENT", "SHAREABLE", "TYPE")
    assert [vms[1].disk(0).get(key) for key in wanted] == ["NO", "YES", "NO", "YES", "YES", "BLOCK"]
    assert [vms[1].disk(1).get(key) for key in wanted] == ["NO", "NO", "YES", None, None, "BLOCK"]
    xml = document(bench, "image", shared.id)
    assert [one.text for one in xml.findall("VMS/ID")] == ["0", "1"]
    assert (shared.state, fixed.state) == (ImageState.USED_PERS, ImageState.USED)
    before = len(one.calls)
    one.vm_terminate(vms[0])
    actions = [line.split()[0] for line in bench.made(before)]
    assert actions == ["tm/linstor/mvds", "tm/linstor/delete", "tm/linstor/delete"]
    assert shared.state is ImageState.USED_PERS
    one.vm_terminate(vms[1])
    assert (shared.state, fixed.state) == (ImageState.READY, ImageState.READY)
