# SPDX-License-Identifier: Apache-2.0
"""Snapshots, growth and copies of disks: what oned writes down, what it refuses, and who ends an operation."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.one import Image, ImageState, LcmState, OneError, VirtualMachine, VmState
from lab.one.model import HistoryAction

from .conftest import Bench


@pytest.fixture
def vm(bench: Bench) -> VirtualMachine:
    """Disks: a copy, a persistent image, a CDROM, a volatile one; 1024 MiB each but the last."""
    one = bench.one
    images: list[Any] = [
        one.image_create("os", path="/os.img"),
        one.image_create("data", size=1024, persistent=True),
        one.image_create("cd", path="/cd.iso", type="CDROM"),
    ]
    return one.vm_instantiate([*images, {"TYPE": "fs", "SIZE": 100}], "host0")


def ids(vm: VirtualMachine, disk: int) -> list[int]:
    return list(vm.snapshots[disk].records)


def fails(bench: Bench, action: str) -> None:
    bench.plan(f"tm.{action}", "echo 'no luck' >&2; exit 1")


def test_ids_are_never_given_twice(bench: Bench, vm: VirtualMachine) -> None:
    one = bench.one
    assert [one.vm_disk_snapshot_create(vm, 0) for _ in range(2)] == [0, 1]
    fails(bench, "snap_create_live")
    assert one.vm_disk_snapshot_create(vm, 0) == 2
    assert (ids(vm, 0), vm.disk(0)["DISK_SNAPSHOT_TOTAL_SIZE"]) == ([0, 1], "2048")
    for snapshot in (1, 0):
        one.vm_disk_snapshot_delete(vm, 0, snapshot)
    assert (ids(vm, 0), vm.disk(0)["DISK_SNAPSHOT_TOTAL_SIZE"]) == ([], "0")
    assert one.vm_disk_snapshot_create(vm, 0) == 3


def test_an_image_without_snapshots_counts_anew(bench: Bench, vm: VirtualMachine) -> None:
    one, image = bench.one, bench.one.image(1)
    one.vm_disk_snapshot_create(vm, 1, "first")
    assert image.snapshots is not None
    assert [record.name for record in image.snapshots.records.values()] == ["first"]
    one.vm_detach(vm, 1)
    assert "<NEXT_SNAPSHOT><![CDATA[1]]></NEXT_SNAPSHOT>" in one.image_document(image)
    one.vm_attach(vm, image)
    disk = int(vm.disks[-1]["DISK_ID"])
    assert vm.disk(disk)["DISK_SNAPSHOT_TOTAL_SIZE"] == "1024"
    assert one.vm_disk_snapshot_create(vm, disk) == 1
    for snapshot in (0, 1):
        one.vm_disk_snapshot_delete(vm, disk, snapshot)
    one.vm_terminate(vm)
    assert "<SNAPSHOTS></SNAPSHOTS>" in one.image_document(image)
    vm = one.vm_instantiate([image], "host0")
    assert one.vm_disk_snapshot_create(vm, 0) == 0


def test_refusals(bench: Bench, vm: VirtualMachine) -> None:
    one = bench.one
    one.vm_disk_snapshot_create(vm, 0)
    since = len(one.calls)

    def refused(text: str, action: Callable[..., object], *arguments: Any) -> None:
        with pytest.raises(OneError, match=text):
            action(*arguments)

    refused("volatile disks", one.vm_disk_snapshot_create, vm, 3)
    refused("readonly disks", one.vm_disk_snapshot_create, vm, 2)
    refused("disk does not exist", one.vm_disk_snapshot_create, vm, 9)
    refused("Snapshot does not exist", one.vm_disk_snapshot_delete, vm, 0, 1)
    refused("Snapshot does not exist", one.vm_disk_snapshot_delete, vm, 1, 0)
    refused("wrong state RUNNING", one.vm_disk_snapshot_revert, vm, 0, 0)
    refused("Snapshot does not exist", one.vm_disk_saveas, vm, 0, "x", 7)
    for size in (1024, 1023):
        refused("greater than current one", one.vm_disk_resize, vm, 0, size)
    refused("state USED_PERS", one.image_snapshot_revert, 1, 0)
    one.vm_suspend(vm)
    refused("wrong state SUSPENDED", one.vm_disk_snapshot_revert, vm, 0, 0)
    refused("wrong state SUSPENDED", one.vm_disk_resize, vm, 0, 2000)
    one.vm_resume(vm)
    one.vm_undeploy(vm)
    refused("wrong state UNDEPLOYED", one.vm_disk_snapshot_create, vm, 0)
    refused("wrong state UNDEPLOYED", one.vm_disk_snapshot_delete, vm, 0, 0)
    actions = {call.name.rpartition("/")[2] for call in one.calls[since:]}
    assert actions == {"context", "mv"}


def test_suspended_vms(bench: Bench, vm: VirtualMachine) -> None:
    one = bench.one
    one.vm_suspend(vm)
    since = len(one.calls)
    one.vm_disk_snapshot_create(vm, 0)
    one.vm_disk_snapshot_delete(vm, 0, 0)
    image = one.vm_disk_saveas(vm, 0, "copy")
    assert (vm.state, image.state) == (VmState.SUSPENDED, ImageState.READY)
    assert [line.split()[0] for line in bench.made(since)] == [
        "tm/linstor/snap_create",
        "tm/linstor/snap_delete",
        "datastore/linstor/mkfs",
        "tm/linstor/cpds",
    ]


def test_history(bench: Bench, vm: VirtualMachine) -> None:
    """A record for each operation, which goes on as what it was; none for a copy."""
    one = bench.one
    one.vm_disk_snapshot_create(vm, 0)
    one.vm_disk_saveas(vm, 0, "copy")
    one.vm_poweroff(vm)
    one.vm_disk_snapshot_revert(vm, 0, 0)
    one.vm_disk_resize(vm, 0, 2000)
    one.vm_disk_snapshot_delete(vm, 0, 0)
    assert [record.action for record in vm.history] == [
        HistoryAction.DISK_SNAPSHOT_CREATE,
        HistoryAction.DISK_SNAPSHOT_REVERT,
        HistoryAction.DISK_RESIZE,
        HistoryAction.DISK_SNAPSHOT_DELETE,
        HistoryAction.POWEROFF,
    ]
    assert vm.record.retime


def test_live_snapshots_are_for_listed_drivers(bench: Bench, vm: VirtualMachine) -> None:
    one = bench.one
    one.vm_disk_snapshot_create(vm, 0)
    assert "kvm-linstor" in one.calls[-1].env["LIVE_DISK_SNAPSHOTS"].split()
    one.vmm_environment["LIVE_DISK_SNAPSHOTS"] = "kvm-qcow2 kvm-ssh"
    since = len(one.calls)
    one.vm_disk_snapshot_create(vm, 0)
    assert vm.error.endswith(": DISKSNAPSHOTCREATE: Cannot perform a live DISKSNAPSHOTCREATE operation")
    assert (ids(vm, 0), vm.lcm_state, one.calls[since:]) == ([0], LcmState.RUNNING, [])
    one.vm_disk_snapshot_delete(vm, 0, 0)
    assert bench.made(since)[0].startswith("tm/linstor/snap_delete ")


@pytest.mark.parametrize(("version", "size"), [("7.4.0", 1024), ("6.8.3", 1024), ("6.8.0", 1500)])
def test_size_after_a_revert(tmp_path: Path, version: str, size: int) -> None:
    bench = Bench(tmp_path, version)
    one = bench.one
    image = one.image_create("data", size=1024, persistent=True)
    vm = one.vm_instantiate([image], "host0")
    one.vm_poweroff(vm)
    one.vm_disk_snapshot_create(vm, 0)
    one.vm_disk_resize(vm, 0, 1500)
    assert (vm.disk(0)["SIZE"], image.size_mb) == ("1500", 1500)
    fails(bench, "snap_revert")
    one.vm_disk_snapshot_revert(vm, 0, 0)
    assert vm.disk(0)["SIZE"] == "1500"
    one.vm_disk_snapshot_revert(vm, 0, 0)
    assert (vm.disk(0)["SIZE"], image.size_mb) == (str(size), size)
    one.close()


def test_a_guest_whose_device_has_not_grown(bench: Bench, vm: VirtualMachine) -> None:
    one = bench.one
    link = Path(one.disk_path(vm, 0))
    link.symlink_to(link.rename(link.with_name("device")))
    one.vm_disk_resize(vm, 0, 1500)
    assert vm.error.endswith(": RESIZEDISK: Failed to resize disk 0 on one-0ExitCode: 1")
    assert vm.disk(0)["SIZE"] == "1024"
    assert not {"RESIZE", "SIZE_PREV"} & vm.disk(0).keys()
    assert vm.lcm_state is LcmState.RUNNING
    # oned asked for a size while the driver worked that the disk has no more.
    assert "disk.0 1500 0 100" in bench.made()[-1]
    os.truncate(link, 1500 << 20)
    one.vm_disk_resize(vm, 0, 1500)
    assert vm.disk(0)["SIZE"] == "1500"


def test_a_guest_whose_disk_is_a_file(bench: Bench, vm: VirtualMachine) -> None:
    bench.one.vm_disk_resize(vm, 3, 150)
    assert (vm.error, Path(bench.one.disk_path(vm, 3)).stat().st_size) == ("", 150 << 20)


def test_a_driver_can_be_asked_for_what_oned_refuses(bench: Bench, vm: VirtualMachine) -> None:
    one = bench.one
    one.vm_poweroff(vm)
    one.vm_disk_resize_unchecked(vm, 0, 10)
    assert "disk.0 10 0 100" in bench.made()[-1]


@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="needs qemu-img")
def test_a_guest_with_a_qcow2_disk_writes_its_new_size_down(bench: Bench, vm: VirtualMachine) -> None:
    one = bench.one
    path = one.disk_path(vm, 0)
    one.vm_poweroff(vm)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "1024M"], check=True)
    vm.disk(0)["DRIVER"] = "qcow2"
    one.vm_resume(vm)
    one.vm_disk_resize(vm, 0, 1500)
    assert vm.error == ""
    told = subprocess.run(["qemu-img", "info", "-U", path], check=True, capture_output=True, text=True)
    assert f"({1500 << 20} bytes)" in told.stdout


def meanwhile(bench: Bench, action: str, operation: Callable[[], object], then: Callable[[], object]) -> None:
    """Do something while a driver works on an operation that somebody else has begun."""
    gate = bench.plans / "gate"
    gate.unlink(missing_ok=True)
    begun = bench.plans / f"{action}.once.used"
    begun.unlink(missing_ok=True)
    bench.plan(action, f'until [ -e "{gate}" ]; do sleep 0.02; done; echo made')
    working = threading.Thread(target=operation)
    working.start()
    while not begun.exists():
        time.sleep(0.01)
    try:
        then()
    finally:
        gate.touch()
        working.join()


def test_an_administrator_ends_a_snapshot(bench: Bench, vm: VirtualMachine) -> None:
    one = bench.one
    one.vm_poweroff(vm)
    meanwhile(
        bench,
        "tm.snap_create",
        lambda: one.vm_disk_snapshot_create(vm, 0),
        lambda: one.vm_recover(vm, "failure"),
    )
    assert (vm.state, ids(vm, 0), vm.snapshots[0].next_id) == (VmState.POWEROFF, [], 1)
    meanwhile(
        bench,
        "tm.snap_create",
        lambda: one.vm_disk_snapshot_create(vm, 0),
        lambda: one.vm_recover(vm, "success"),
    )
    assert (vm.state, ids(vm, 0)) == (VmState.POWEROFF, [1])
    assert "DISK_SNAPSHOT_ACTIVE" not in vm.disk(0)


def test_there_is_no_retry_of_an_operation_on_a_disk(bench: Bench, vm: VirtualMachine) -> None:
    one = bench.one

    def retry() -> None:
        assert vm.lcm_state is LcmState.DISK_SNAPSHOT
        with pytest.raises(OneError, match="not available for state DISK_SNAPSHOT"):
            one.vm_recover(vm, "retry")
        with pytest.raises(OneError, match="wrong state DISK_SNAPSHOT"):
            one.vm_disk_resize(vm, 0, 2000)

    meanwhile(bench, "tm.snap_create_live", lambda: one.vm_disk_snapshot_create(vm, 0), retry)
    assert (vm.lcm_state, ids(vm, 0)) == (LcmState.RUNNING, [0])


def test_a_vm_that_is_recreated_while_a_disk_grows(bench: Bench, vm: VirtualMachine) -> None:
    """Snapshots of copies are forgotten, those of the image are not."""
    one = bench.one
    for disk in (0, 1):
        one.vm_disk_snapshot_create(vm, disk)
    meanwhile(
        bench,
        "tm.resize",
        lambda: one.vm_disk_resize(vm, 0, 2000),
        lambda: one.vm_recover(vm, "recreate"),
    )
    assert (vm.state, vm.disk(0)["SIZE"]) == (VmState.PENDING, "1024")
    assert list(vm.snapshots) == [1]
    one.vm_deploy(vm, "host1")
    assert [one.vm_disk_snapshot_create(vm, disk) for disk in (0, 1)] == [0, 1]


def test_a_vm_that_is_deleted_while_a_disk_is_copied(bench: Bench, vm: VirtualMachine) -> None:
    one = bench.one
    saved: list[Image] = []
    meanwhile(
        bench,
        "tm.cpds",
        lambda: saved.append(one.vm_disk_saveas(vm, 0, "copy")),
        lambda: one.vm_recover(vm, "delete"),
    )
    assert (vm.state, saved[0].state) == (VmState.DONE, ImageState.ERROR)


def test_what_ends_late_ends_nothing_else(bench: Bench, vm: VirtualMachine) -> None:
    one = bench.one
    second = threading.Thread(target=one.vm_disk_snapshot_create, args=(vm, 0, "second"))
    other_gate = bench.plans / "other-gate"

    def give_up_and_begin_anew() -> None:
        one.vm_recover(vm, "failure")
        wait = f'touch "{other_gate}.begun"; until [ -e "{other_gate}" ]; do sleep 0.02; done'
        bench.plan("tm.snap_create_live", wait)
        second.start()
        while not Path(f"{other_gate}.begun").exists():
            time.sleep(0.01)

    meanwhile(
        bench,
        "tm.snap_create_live",
        lambda: one.vm_disk_snapshot_create(vm, 0, "first"),
        give_up_and_begin_anew,
    )
    assert vm.lcm_state is LcmState.DISK_SNAPSHOT
    other_gate.touch()
    second.join()
    assert (vm.lcm_state, ids(vm, 0)) == (LcmState.RUNNING, [1])


def test_a_vm_that_is_deleted_while_a_snapshot_is_taken(bench: Bench, vm: VirtualMachine) -> None:
    """The image is told of a snapshot that may be there or not."""
    one, image = bench.one, bench.one.image(1)
    meanwhile(
        bench,
        "tm.snap_create_live",
        lambda: one.vm_disk_snapshot_create(vm, 1),
        lambda: one.vm_recover(vm, "delete"),
    )
    assert image.snapshots is not None
    assert (image.state, list(image.snapshots.records)) == (ImageState.READY, [0])


def test_a_vm_that_is_deleted_while_a_snapshot_is_deleted(bench: Bench, vm: VirtualMachine) -> None:
    """oned takes it for one at rest: the domain goes on with disks that are deleted."""
    one = bench.one
    one.vm_disk_snapshot_create(vm, 0)
    meanwhile(
        bench,
        "tm.snap_delete",
        lambda: one.vm_disk_snapshot_delete(vm, 0, 0),
        lambda: one.vm_recover(vm, "delete"),
    )
    assert vm.state is VmState.DONE
    assert one.hypervisor.is_running(vm.id)


@pytest.mark.parametrize(("operation", "state"), [("failure", VmState.POWEROFF), ("delete", VmState.DONE)])
def test_a_copy_that_is_given_up_before_it_has_begun(
    bench: Bench, vm: VirtualMachine, operation: str, state: VmState
) -> None:
    one = bench.one
    one.vm_poweroff(vm)
    saved: list[Image] = []
    meanwhile(
        bench,
        "datastore.mkfs",
        lambda: saved.append(one.vm_disk_saveas(vm, 0, "copy")),
        lambda: one.vm_recover(vm, operation),
    )
    assert (vm.state, saved[0].state) == (state, ImageState.ERROR)
    assert saved[0].error.endswith("VM is no longer running: made")
    assert "tm/linstor/cpds" not in {call.name for call in one.calls}


def test_a_stopped_vm_that_is_deleted_while_a_disk_is_copied(bench: Bench, vm: VirtualMachine) -> None:
    """oned calls nobody for it: what the VM had stays behind."""
    one = bench.one
    one.vm_stop(vm)
    since = len(one.calls)
    meanwhile(
        bench,
        "tm.cpds",
        lambda: one.vm_disk_saveas(vm, 0, "copy"),
        lambda: one.vm_recover(vm, "delete"),
    )
    assert vm.state is VmState.DONE
    assert [call.name for call in one.calls[since:]] == ["datastore/linstor/mkfs", "tm/linstor/cpds"]


def test_a_copy_of_a_snapshot_is_as_large_as_the_disk_is_now(bench: Bench, vm: VirtualMachine) -> None:
    one = bench.one
    one.vm_poweroff(vm)
    one.vm_disk_snapshot_create(vm, 0)
    one.vm_disk_resize(vm, 0, 2000)
    image = one.vm_disk_saveas(vm, 0, "copy", 0)
    assert (image.state, image.size_mb, image.format, image.persistent) == (
        ImageState.READY,
        2000,
        "raw",
        False,
    )
    assert image.template == {
        "DEV_PREFIX": "vd",
        "SAVED_DISK_ID": "0",
        "SAVED_IMAGE_ID": "0",
        "SAVED_VM_ID": "0",
    }
    other = one.vm_instantiate([image], "host1")
    assert (other.lcm_state, other.disk(0)["SIZE"]) == (LcmState.RUNNING, "2000")


def test_copies_of_disks_of_stopped_vms_before_6(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "5.12.0")
    one = bench.one
    vm = one.vm_instantiate([one.image_create("os", path="/os.img")], "host0")
    one.vm_stop(vm)
    with pytest.raises(OneError, match="has to be RUNNING, POWEROFF or SUSPENDED"):
        one.vm_disk_saveas(vm, 0, "copy")
    one.close()


def test_images_with_snapshots(bench: Bench, vm: VirtualMachine) -> None:
    one, image = bench.one, bench.one.image(1)
    for _ in range(2):
        one.vm_disk_snapshot_create(vm, 1)
    one.vm_terminate(vm)
    with pytest.raises(OneError, match="Cannot clone images with snapshots"):
        one.image_clone(1, "copy")
    with pytest.raises(OneError, match="Snapshot does not exist"):
        one.image_snapshot_flatten(1, 5)
    with pytest.raises(OneError, match="does not have snapshots"):
        one.image_snapshot_delete(2, 0)
    bench.plan("datastore.snap_flatten", "echo 'no luck' >&2; exit 1")
    one.image_snapshot_flatten(1, 0)
    assert image.error.endswith(" : Error flattening image snapshot: no luck")
    assert image.snapshots is not None
    assert (image.state, list(image.snapshots.records)) == (ImageState.READY, [0, 1])
    bench.plan("datastore.snap_revert", "echo 'no luck' >&2; exit 1")
    one.image_snapshot_revert(1, 0)
    assert image.error.endswith(" : Error reverting image 1 to snapshot 0: no luck")
    assert image.snapshots.active == 1
    one.image_snapshot_revert(1, 0)
    one.image_snapshot_delete(1, 1)
    assert (list(image.snapshots.records), image.snapshots.active) == ([0], 0)
    one.image_snapshot_flatten(1, 0)
    assert image.snapshots is None
    assert one.image_clone(1, "copy").state is ImageState.READY


def test_attributes_of_the_user(bench: Bench, vm: VirtualMachine) -> None:
    one = bench.one
    one.vm_update(vm, 'LINSTOR_FSFREEZE = "NO"\nlinstor_snapshot_limit=3')
    bench.plan("tm.snap_create_live", 'onevm show -x "$3"; exit 0')
    one.vm_disk_snapshot_create(vm, 0)
    told = one.calls[-1].stdout
    assert "<LINSTOR_FSFREEZE><![CDATA[NO]]></LINSTOR_FSFREEZE>" in told
    assert "<LINSTOR_SNAPSHOT_LIMIT><![CDATA[3]]></LINSTOR_SNAPSHOT_LIMIT>" in told
    assert "<DEPLOY_ID>one-0</DEPLOY_ID>" in told
    with pytest.raises(OneError, match="syntax error"):
        one.vm_update(vm, "LINSTOR_FSFREEZE")
