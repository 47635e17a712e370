# SPDX-License-Identifier: Apache-2.0
"""Snapshots, copies and growth of disks: the stand-in calls drivers as a real oned 7.4.0 was seen to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.one import Image, ImageState, LcmState, OneError, VirtualMachine, VmState

from .stage import Stage, scenario


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    for number in (100, 101, 102):
        made.one.ds_monitor(number, vm_disks=True if number > 100 else None)
    yield made
    made.one.close()


def skip(stage: Stage, images: int = 0, vms: int = 0) -> None:
    """Leave ids out, so that those to come are the captured ones."""
    for _ in range(images):
        stage.one.inventory.next_image_id()
    for _ in range(vms):
        stage.one.inventory.next_vm_id()


@pytest.fixture
def vm(stage: Stage) -> VirtualMachine:
    """The VM of scenarios d to f, powered off; the next image is number 15."""
    one = stage.one
    stage.create_images()
    skip(stage, images=7)
    made = stage.deploy(scenario("b01")[0], "host1", 102)
    one.vm_attach(made, 1)
    return one.vm_poweroff(made)


def reason(thing: VirtualMachine | Image) -> str:
    """An ERROR without its date."""
    return thing.error.split(" : " if isinstance(thing, Image) else ": ", 1)[1]


def test_disks_of_a_powered_off_vm(stage: Stage, vm: VirtualMachine) -> None:
    one = stage.one
    since = len(one.calls)
    assert one.vm_disk_snapshot_create(vm, 0, "snap one") == 0
    assert one.vm_disk_snapshot_create(vm, 0, "s2") == 1
    one.vm_disk_snapshot_revert(vm, 0, 0)
    one.vm_disk_snapshot_delete(vm, 0, 1)
    stage.fail(("snap_create", "snap failed"))
    assert one.vm_disk_snapshot_create(vm, 0, "s3") == 2
    assert reason(vm) == "Error executing image transfer script: snap failed"
    one.vm_disk_snapshot_create(vm, 1, "p1")
    one.vm_disk_resize(vm, 0, 2100)
    one.vm_disk_resize(vm, 3, 150)
    saved = [one.vm_disk_saveas(vm, 0, "sv-poff"), one.vm_disk_saveas(vm, 0, "sv-poff-snap", 0)]
    assert {image.state for image in saved} == {ImageState.READY}
    assert {image.format for image in saved} == {"raw"}
    stage.fail(("cpds", "cpds boom"))
    lost = one.vm_disk_saveas(vm, 0, "sv-fail")
    assert (lost.state, lost.error) == (ImageState.ERROR, "")
    assert reason(vm) == "Error executing image transfer script: cpds boom"
    with pytest.raises(OneError) as refused:
        one.vm_disk_saveas(vm, 3, "volatile")
    assert str(refused.value) == "[one.vm.disksaveas] Cannot use DISK. DISK does not have a valid IMAGE_ID."
    assert vm.state is VmState.POWEROFF
    names = [f"e{number:02}" for number in range(1, 12)]
    stage.compare(scenario(*names), since)


@pytest.fixture
def running(stage: Stage, vm: VirtualMachine) -> VirtualMachine:
    """The same VM after the scenarios of `test_disks_of_a_powered_off_vm`, resumed."""
    one = stage.one
    one.vm_disk_snapshot_create(vm, 0, "snap one")
    for _ in range(2):
        one.vm_disk_snapshot_delete(vm, 0, one.vm_disk_snapshot_create(vm, 0))
    one.vm_disk_snapshot_create(vm, 1, "p1")
    one.vm_disk_snapshot_revert(vm, 0, 0)
    one.vm_disk_resize(vm, 0, 2100)
    one.vm_disk_resize(vm, 3, 150)
    skip(stage, images=3)
    return one.vm_resume(vm)


def test_disks_of_a_running_vm(stage: Stage, running: VirtualMachine) -> None:
    one, vm = stage.one, running
    since = len(one.calls)
    one.vm_disk_saveas(vm, 0, "sv-live")
    image = one.vm_disk_saveas(vm, 1, "sv-live-p", type="DATABLOCK")
    assert (image.state, image.persistent) == (ImageState.READY, False)
    stage.bench.plan("datastore.mkfs", "echo 'mkfs boom' >&2; exit 1")
    image = one.vm_disk_saveas(vm, 0, "sv-mkfail")
    assert (image.state, reason(image)) == (ImageState.ERROR, "Error creating datablock: mkfs boom")
    assert vm.lcm_state is LcmState.RUNNING
    one.vm_disk_snapshot_create(vm, 0, "live1")
    stage.fail(("snap_create_live", "live snap failed"))
    one.vm_disk_snapshot_create(vm, 0, "live2")
    assert reason(vm) == "DISKSNAPSHOTCREATE: live snap failed"
    with pytest.raises(OneError) as refused:
        one.vm_disk_snapshot_revert(vm, 0, 0)
    assert str(refused.value) == (
        f"[one.vm.disksnapshotrevert] Could not revert to disk snapshot for VM {vm.id}, wrong state RUNNING."
    )
    one.vm_disk_snapshot_delete(vm, 0, 0)
    one.vm_disk_snapshot_create(vm, 1, "livep")
    one.vm_disk_resize(vm, 0, 2500)
    one.vm_disk_resize(vm, 3, 200)
    stage.fail(("resize", "resize boom"))
    one.vm_disk_resize(vm, 4, 200)
    assert reason(vm) == "RESIZEDISK: resize boom"
    one.vm_disk_resize(vm, 1, 2500)
    assert vm.lcm_state is LcmState.RUNNING
    names = ("d01", "d02", "d03", "f01", "f02", "f04", "f05", "f06", "f07", "f08", "f09")
    stage.compare(scenario(*names), since)


def test_snapshots_that_stay_with_the_image(stage: Stage, running: VirtualMachine) -> None:
    one, vm = stage.one, running
    one.vm_disk_snapshot_create(vm, 1, "livep")
    one.vm_disk_resize(vm, 1, 2500)
    since = len(one.calls)
    image = one.image(6)
    one.vm_detach(vm, 1)
    assert (image.state, image.size_mb) == (ImageState.READY, 2500)
    one.image_snapshot_revert(6, 0)
    assert image.size_mb == 1024
    one.image_snapshot_delete(6, 1)
    stage.bench.plan("datastore.snap_delete", "echo 'snapdel boom' >&2; exit 1")
    one.image_snapshot_delete(6, 0)
    assert image.state is ImageState.READY
    assert reason(image) == "Error removing snapshot 0 from image 6: snapdel boom"
    image.template["ERROR"] = scenario("e24")[0].stdin.split("<ERROR><![CDATA[")[1].split("]]>")[0]
    one.image_snapshot_flatten(6, 0)
    assert one.calls[-1].name == "datastore/linstor/snap_flatten"
    assert "<SNAPSHOTS></SNAPSHOTS>" in one.image_document(image)
    for call, wanted in zip(one.calls[since:], scenario("e20", "e21", "e22", "e23", "e24")):
        if wanted.driver == "datastore":
            stage.compare_image_call(call, wanted)
    one.vm_attach(vm, 6)
    assert 8 not in vm.snapshots
    assert one.vm_disk_snapshot_create(vm, 8) == 0


def test_failures_of_a_powered_off_vm(stage: Stage) -> None:
    one = stage.one
    stage.create_images()
    # With VM 0 the ids of snapshots would be taken for the VM's.
    skip(stage, vms=1)
    calls = scenario("p09", "p10", "p11", "p12")
    since = len(one.calls)
    vm = stage.deploy(calls[0], "host0", 101)
    one.vm_poweroff(vm)
    one.vm_disk_snapshot_create(vm, 0, "a")
    stage.fail(("snap_revert", "revert boom"), ("snap_delete", "del boom"), ("resize", "rs boom"))
    one.vm_disk_snapshot_revert(vm, 0, 0)
    assert reason(vm) == "Error executing image transfer script: revert boom"
    one.vm_disk_snapshot_delete(vm, 0, 0)
    assert reason(vm) == "Error executing image transfer script: del boom"
    one.vm_disk_resize(vm, 0, 4000)
    assert reason(vm) == "Error executing image transfer script: rs boom"
    assert (vm.state, vm.disk(0)["SIZE"]) == (VmState.POWEROFF, "1024")
    assert list(vm.snapshots[0].records) == [0]
    stage.fail(("mvds", "mvds boom"))
    one.vm_detach(vm, 1)
    one.vm_terminate(vm)
    stage.compare(calls, since)


def test_disks_of_vms_on_the_front_end(stage: Stage) -> None:
    one = stage.one
    stage.create_images()
    skip(stage, images=13, vms=3)
    for letter, leave in (("i04-undeployed", one.vm_undeploy), ("i05-stopped", one.vm_stop)):
        calls = scenario(letter[:3])
        ours = [call for call in calls if call.scenario.startswith(letter)]
        vm = leave(stage.deploy(calls[0], "host0", 101))
        state = vm.state
        since = len(one.calls)
        image = one.vm_disk_saveas(vm, 0, ours[0].stdin.split("<NAME>")[1].split("<")[0])
        assert (image.state, vm.state) == (ImageState.READY, state)
        if state is VmState.UNDEPLOYED:
            one.vm_disk_resize(vm, 0, 2222)
            assert (vm.state, vm.disk(0)["SIZE"]) == (VmState.UNDEPLOYED, "2222")
        else:
            with pytest.raises(OneError, match="wrong state STOPPED"):
                one.vm_disk_resize(vm, 0, 2222)
        stage.compare(ours, since)
        one.vm_terminate(vm)


def test_an_ssh_system_datastore(stage: Stage) -> None:
    one = stage.one
    stage.adopt_images("v2-00")
    stage.record_ssh()
    one.inventory.datastores[103].template.update(TM_MAD="ssh", SHARED="NO")
    skip(stage, images=66, vms=35)
    vm = stage.deploy(scenario("v2-ssh-01")[0], "host0", 103)
    since = len(one.calls)
    one.vm_disk_snapshot_create(vm, 0, "s0")
    one.vm_disk_resize(vm, 0, 2500)
    one.vm_disk_resize(vm, 3, 150)
    one.vm_disk_saveas(vm, 0, "live")
    one.vm_disk_saveas(vm, 0, "of a snapshot", 0)
    stage.compare_arguments(scenario("v2-ssh-02", "v2-ssh-03", "v2-ssh-04"), since)
    one.vm_migrate(vm, "host2")
    since = len(one.calls)
    one.vm_poweroff(vm)
    one.vm_disk_snapshot_create(vm, 0, "s1")
    one.vm_disk_snapshot_revert(vm, 0, 0)
    one.vm_disk_snapshot_delete(vm, 0, 1)
    assert (vm.error, list(vm.snapshots[0].records)) == ("", [0])
    stage.compare_arguments(scenario("v2-ssh-10"), since)


def test_snapshots_and_other_system_datastores(stage: Stage) -> None:
    one = stage.one
    stage.create_images()
    vm = one.vm_instantiate([0], "host0", datastore=101)
    one.vm_disk_snapshot_create(vm, 0)
    one.vm_poweroff(vm)
    template = one.inventory.datastores[102].template
    template["DS_MIGRATE_SNAP"] = "NO"
    with pytest.raises(OneError) as refused:
        one.vm_migrate(vm, "host0", 102)
    wanted = "[one.vm.migrate] System datastore migration with disk snapshots not supported by driver"
    assert str(refused.value) == wanted
    template["DS_MIGRATE_SNAP"] = "YES"
    one.vm_migrate(vm, "host0", 102)
    assert (vm.state, vm.record.ds_id) == (VmState.POWEROFF, 102)
