# SPDX-License-Identifier: Apache-2.0
"""Virtual machines: order of calls, states after failures, recovery."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from lab.one import ImageState, LcmState, OneError, VirtualMachine, VmState
from lab.one.model import Image

from .conftest import Bench


@pytest.fixture
def images(bench: Bench) -> list[Image]:
    """A plain image, a persistent one and a CDROM."""
    return [
        bench.one.image_create("os", path="/srv/images/os.img"),
        bench.one.image_create("data", size=10, type="DATABLOCK", persistent=True),
        bench.one.image_create("cd", path="/srv/images/cd.iso", type="CDROM"),
    ]


@pytest.fixture
def vm(bench: Bench, images: list[Image]) -> VirtualMachine:
    return bench.one.vm_instantiate([*images, {"TYPE": "fs", "SIZE": 100}], host="host0")


def test_a_running_guest_writes_to_its_disks(bench: Bench, vm: VirtualMachine) -> None:
    assert (vm.state, vm.lcm_state, vm.error) == (VmState.ACTIVE, LcmState.RUNNING, "")
    bench.one.hypervisor.guest(vm.id, 0).write(4096, b"boot")
    disk = Path(bench.one.disk_path(vm, 0))
    assert disk.read_bytes()[4096:] == b"boot"
    assert (disk.parent / "vm.xml").read_text().startswith("<VM><ID>0</ID>")
    assert (disk.parent / "ds.xml").read_text().startswith("<DATASTORE><ID>101</ID>")


def test_terminate_saves_persistent_disks_and_deletes_the_others(
    bench: Bench, vm: VirtualMachine, images: list[Image]
) -> None:
    before = len(bench.one.calls)
    bench.one.vm_terminate(vm)
    here = "host0:/srv/one/var//datastores/101/0"
    assert bench.made(before) == [
        f"tm/linstor/delete {here}/disk.0 0 100",
        f"tm/linstor/mvds {here}/disk.1 OpenNebula-Image-1 0 100",
        f"tm/linstor/delete {here}/disk.2 0 100",
        f"tm/linstor/delete {here}/disk.3 0 101",
        f"tm/linstor/delete {here} 0 101",
    ]
    assert vm.state is VmState.DONE
    assert {image.state for image in images} == {ImageState.READY}


def test_a_failing_prolog_stops_and_retry_replays_all_of_it(bench: Bench, images: list[Image]) -> None:
    bench.plan("tm.ln", "echo 'ln failed' >&2; exit 1")
    before = len(bench.one.calls)
    vm = bench.one.vm_instantiate(images, host="host0")
    assert vm.lcm_state is LcmState.PROLOG_FAILURE
    assert vm.error.endswith(": Error executing image transfer script: ln failed")
    assert [line.split()[0] for line in bench.made(before)] == ["tm/linstor/clone", "tm/linstor/ln"]
    before = len(bench.one.calls)
    bench.one.vm_recover(vm, "retry")
    assert [line.split()[0] for line in bench.made(before)] == [
        "tm/linstor/clone",
        "tm/linstor/ln",
        "tm/linstor/ln",
        "tm/linstor/context",
    ]
    assert vm.lcm_state is LcmState.RUNNING


def test_recover_delete_after_a_failed_prolog_sends_delete_for_every_disk(
    bench: Bench, images: list[Image]
) -> None:
    bench.plan("tm.clone", "exit 1")
    vm = bench.one.vm_instantiate(images, host="host0")
    before = len(bench.one.calls)
    bench.one.vm_recover(vm, "delete")
    assert [line.split()[0] for line in bench.made(before)] == ["tm/linstor/delete"] * 4
    assert "LIVE_DISK_SNAPSHOTS" not in bench.one.calls[-1].env
    assert vm.state is VmState.DONE
    assert images[1].state is ImageState.READY


def test_recover_delete_of_a_running_vm_ignores_failures(bench: Bench, vm: VirtualMachine) -> None:
    bench.plan("tm.delete", "exit 1", once=False)
    before = len(bench.one.calls)
    bench.one.vm_recover(vm, "delete")
    assert len(bench.made(before)) == 5
    assert "LIVE_DISK_SNAPSHOTS" in bench.one.calls[-1].env
    assert not bench.one.hypervisor.is_running(vm.id)
    assert vm.state is VmState.DONE


def test_recreate_cleans_up_and_the_vm_can_go_elsewhere(bench: Bench, vm: VirtualMachine) -> None:
    bench.one.vm_recover(vm, "recreate")
    assert vm.state is VmState.PENDING
    bench.one.vm_deploy(vm, "host2", 102)
    assert (vm.host, vm.record.seq, vm.lcm_state) == ("host2", 1, LcmState.RUNNING)
    assert "/102/0/disk.3" in bench.one.disk_path(vm, 3)
    assert vm.disk(3)["DATASTORE_ID"] == "102"


def test_recover_delete_overtakes_a_running_prolog(bench: Bench, images: list[Image]) -> None:
    gate = bench.plans / "gate"
    bench.plan("tm.clone", f'until [ -e "{gate}" ]; do sleep 0.02; done')
    prolog = threading.Thread(target=bench.one.vm_instantiate, args=(images,), kwargs={"host": "host0"})
    prolog.start()
    while not (bench.plans / "tm.clone.once.used").exists():
        time.sleep(0.01)
    vm = bench.one.vm(0)
    bench.one.vm_recover(vm, "delete")
    gate.touch()
    prolog.join()
    assert vm.state is VmState.DONE
    actions = [line.split()[0] for line in bench.made()[-5:]]
    assert actions == ["tm/linstor/delete"] * 4 + ["tm/linstor/clone"]


def test_epilog_failure_and_retry(bench: Bench, vm: VirtualMachine) -> None:
    bench.plan("tm.mvds", "exit 1")
    bench.one.vm_terminate(vm, hard=True)
    assert vm.lcm_state is LcmState.EPILOG_FAILURE
    assert bench.one.image(1).state is ImageState.USED_PERS
    bench.one.vm_recover(vm, "retry")
    assert vm.state is VmState.DONE


def test_boot_failure_and_retry(bench: Bench, images: list[Image]) -> None:
    bench.hosts.down.add("host0")
    vm = bench.one.vm_instantiate(images, host="host0")
    assert vm.lcm_state is LcmState.BOOT_FAILURE
    bench.hosts.down.clear()
    assert bench.one.vm_recover(vm, "retry").lcm_state is LcmState.RUNNING


def test_a_failed_boot_lets_all_disks_go(bench: Bench, images: list[Image]) -> None:
    bench.plan("tm.ln", ":")
    vm = bench.one.vm_instantiate(images[:2], host="host0")
    assert vm.lcm_state is LcmState.BOOT_FAILURE
    assert not bench.one.hypervisor.is_running(vm.id)


def test_a_source_with_a_colon_is_passed_as_it_is(bench: Bench) -> None:
    image = bench.one.image_create("odd", size=10, source="pool:odd")
    bench.one.vm_instantiate([image], host="host0")
    assert bench.one.calls[0].argv[0] == "pool:odd"


def test_attach_and_detach_running(bench: Bench, vm: VirtualMachine) -> None:
    more = bench.one.image_create("more", path="/srv/images/os.img")
    before = len(bench.one.calls)
    bench.one.vm_attach(vm, more)
    assert vm.disk(5)["TARGET"] == "vdc"
    bench.one.hypervisor.guest(vm.id, 5).write(0, b"x")
    bench.one.vm_detach(vm, 5)
    here = "host0:/srv/one/var//datastores/101/0/disk.5"
    assert bench.made(before) == [
        f"tm/linstor/clone vm:OpenNebula-Image-3 {here} 0 100",
        f"tm/linstor/delete {here} 0 100",
    ]
    assert "LIVE_DISK_SNAPSHOTS" in bench.one.calls[-1].env
    assert more.state is ImageState.READY


def test_attach_failure_takes_the_disk_out_without_a_delete(bench: Bench, vm: VirtualMachine) -> None:
    more = bench.one.image_create("more", path="/srv/images/os.img")
    bench.plan("tm.clone", "echo 'Could not clone: no space' >&2; exit 1")
    before = len(bench.one.calls)
    bench.one.vm_attach(vm, more)
    assert vm.error.endswith(": ATTACHDISK: Could not clone: no space")
    assert len(bench.made(before)) == 1
    assert [disk["DISK_ID"] for disk in vm.disks] == ["0", "1", "2", "3"]
    assert (vm.lcm_state, more.state) == (LcmState.RUNNING, ImageState.READY)


def test_attach_that_the_hypervisor_refuses_is_rolled_back(bench: Bench, vm: VirtualMachine) -> None:
    more = bench.one.image_create("more", path="/srv/images/os.img")
    bench.plan("tm.clone", ":")
    before = len(bench.one.calls)
    bench.one.vm_attach(vm, more)
    assert [line.split()[0] for line in bench.made(before)] == ["tm/linstor/clone", "tm/linstor/delete"]
    assert ": ATTACHDISK: Could not open '" in vm.error
    assert vm.error.endswith("... see more details in VM log")


def test_failed_detach_keeps_the_disk_in_the_record(bench: Bench, vm: VirtualMachine) -> None:
    bench.plan("tm.delete", "echo 'delete failed: still open' >&2; exit 1")
    bench.one.vm_detach(vm, 0)
    assert vm.error.endswith(": DETACHDISK: delete failed: still open")
    assert vm.disk(0)["SOURCE"] == "OpenNebula-Image-0"
    with pytest.raises(KeyError):
        bench.one.hypervisor.guest(vm.id, 0)


def test_powered_off_vm_keeps_its_disks_and_takes_more(bench: Bench, vm: VirtualMachine) -> None:
    before = len(bench.one.calls)
    bench.one.vm_poweroff(vm)
    assert bench.made(before) == []
    more = bench.one.image_create("more", path="/srv/images/os.img")
    bench.one.vm_attach(vm, more)
    assert "LIVE_DISK_SNAPSHOTS" not in bench.one.calls[-1].env
    assert vm.state is VmState.POWEROFF
    bench.one.vm_resume(vm)
    bench.one.hypervisor.guest(vm.id, 5).write(0, b"x")
    with pytest.raises(OneError, match="not available for state RUNNING"):
        bench.one.vm_resume(vm)


def test_mixed_datastores_use_suffixed_actions_and_fall_back(bench: Bench, images: list[Image]) -> None:
    (bench.drivers / "tm" / "clone").rename(bench.drivers / "tm" / "clone.ssh")
    bench.plan("tm.clone.ssh", "echo 'from clone.ssh' >&2; exit 1")
    vm = bench.one.vm_instantiate(images[:2], host="host0", datastore=103, context=False)
    assert vm.error.endswith(": from clone.ssh")
    assert [disk["TM_MAD_SYSTEM"] for disk in vm.disks] == ["ssh", "ssh"]
    (bench.drivers / "tm" / "clone.ssh").rename(bench.drivers / "tm" / "clone")
    before = len(bench.one.calls)
    bench.one.vm_recover(vm, "retry")
    assert [line.split()[0] for line in bench.made(before)] == ["tm/linstor/clone", "tm/linstor/ln"]


def test_a_datastore_without_the_suffixed_keys_is_refused(bench: Bench, images: list[Image]) -> None:
    del bench.one.inventory.datastores[100].template["DISK_TYPE_SSH"]
    with pytest.raises(OneError, match="does not support transfer mode: ssh"):
        bench.one.vm_instantiate(images, host="host0", datastore=103)


def test_a_persistent_image_has_one_user(bench: Bench, vm: VirtualMachine, images: list[Image]) -> None:
    with pytest.raises(OneError, match="Cannot acquire image 1, it is persistent and already in use"):
        bench.one.vm_instantiate([images[0], images[1]], host="host1")
    assert images[0].vms == [vm.id]
