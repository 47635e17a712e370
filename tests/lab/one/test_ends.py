# SPDX-License-Identifier: Apache-2.0
"""VMs that end or start anew in the middle of something."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from lab.one import ImageState, LcmState, OneError, VirtualMachine, VmState
from lab.one.model import Image

from .conftest import Bench


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


def meanwhile(bench: Bench, action: str, doing: Callable[[], object], then: Callable[[], object]) -> None:
    """`doing`, and while its transfer action waits, `then`."""
    gate = bench.plans / "gate"
    bench.plan(f"tm.{action}", f'until [ -e "{gate}" ]; do sleep 0.02; done')
    thread = threading.Thread(target=doing)
    thread.start()
    while not (bench.plans / f"tm.{action}.once.used").exists():
        time.sleep(0.01)
    then()
    gate.touch()
    thread.join()


def places(bench: Bench, before: int) -> list[str]:
    """Action and host of calls."""
    words = [line.split() for line in bench.made(before)]
    return [f"{name.rpartition('/')[2]} {where.partition(':')[0]}" for name, where, *_ in words]


@pytest.mark.parametrize("operation", ["delete", "recreate"])
def test_deleted_while_it_migrates(bench: Bench, vm: VirtualMachine, operation: str) -> None:
    """Only the new host is asked to delete, and the migration does not go on."""
    one = bench.one
    before = len(one.calls)
    meanwhile(
        bench,
        "premigrate",
        lambda: one.vm_migrate(vm, "host1", live=True),
        lambda: one.vm_recover(vm, operation),
    )
    assert places(bench, before) == ["delete host1"] * 3 + ["premigrate host0"]
    assert vm.state is (VmState.DONE if operation == "delete" else VmState.PENDING)
    assert not one.hypervisor.is_running(vm.id)
    assert all(record.etime for record in vm.history)


def test_deleted_while_it_boots(bench: Bench, images: list[Image]) -> None:
    """What the context waited for does not start any more."""
    one = bench.one
    meanwhile(
        bench,
        "context",
        lambda: one.vm_instantiate(images, host="host0"),
        lambda: one.vm_recover(one.vm(0), "delete"),
    )
    assert one.vm(0).state is VmState.DONE
    assert not one.hypervisor.is_running(0)
    assert images[1].state is ImageState.READY


@pytest.mark.parametrize("running", [True, False])
def test_deleted_while_a_disk_comes(bench: Bench, vm: VirtualMachine, running: bool) -> None:
    one = bench.one
    more = one.image_create("more", path="/srv/images/os.img")
    if not running:
        one.vm_poweroff(vm)
    before = len(one.calls)
    meanwhile(bench, "clone", lambda: one.vm_attach(vm, more), lambda: one.vm_recover(vm, "delete"))
    assert places(bench, before)[:4] == ["delete host0"] * 4
    assert (vm.state, more.state) == (VmState.DONE, ImageState.READY)
    assert not one.hypervisor.is_running(vm.id)


def test_retried_while_it_moves(bench: Bench, vm: VirtualMachine) -> None:
    """The first attempt ends with the line that it waits for, and decides nothing."""
    one = bench.one
    one.vm_poweroff(vm)
    before = len(one.calls)
    meanwhile(bench, "mv", lambda: one.vm_migrate(vm, "host1"), lambda: one.vm_recover(vm, "retry"))
    assert places(bench, before) == ["mv host0"] * 4
    assert (vm.state, vm.host) == (VmState.POWEROFF, "host1")


def test_terminate_cleans_up_after_failures(bench: Bench, vm: VirtualMachine) -> None:
    one = bench.one
    bench.plan("tm.mv", "exit 1")
    one.vm_migrate(vm, "host1")
    before = len(one.calls)
    one.vm_terminate(vm)
    places = [line.split()[1].partition(":")[0] for line in bench.made(before)]
    assert places == ["host1"] * 3 + ["host0"] * 3
    assert vm.state is VmState.DONE


def test_stop_of_a_suspended_and_undeploy_of_a_powered_off_vm(bench: Bench, vm: VirtualMachine) -> None:
    one = bench.one
    one.vm_suspend(vm)
    one.vm_stop(vm)
    assert vm.state is VmState.STOPPED
    assert one.vm_resume(vm).lcm_state is LcmState.RUNNING
    one.vm_poweroff(vm)
    assert one.vm_undeploy(vm).state is VmState.UNDEPLOYED
    with pytest.raises(OneError, match="not available for state UNDEPLOYED"):
        one.vm_stop(vm)
    with pytest.raises(OneError, match="wrong state UNDEPLOYED"):
        one.vm_attach(vm, {"TYPE": "fs", "SIZE": 1, "FORMAT": "raw"})
