# SPDX-License-Identifier: Apache-2.0
"""A round through all actions: images come, a VM uses them and moves about, everything goes."""

from __future__ import annotations

import random

from lab.bench.measuring import ActionFailed
from lab.cloud import Cloud
from lab.images import write_raw
from lab.one import AppState, Image, ImageState, LcmState, VirtualMachine, VmState

MIB = 1 << 20
SIZE_MIB = 64


class Workload:
    """What OpenNebula does in a round. The image has one MiB of data in SIZE_MIB."""

    def __init__(self, cloud: Cloud) -> None:
        self._one = cloud.one
        self._path = cloud.images_dir / "bench.raw"
        write_raw(self._path, SIZE_MIB * MIB, {8 * MIB: random.Random(1).randbytes(MIB)})

    def round(self) -> None:
        """Raises ActionFailed."""
        one = self._one
        system = one.image_create("system", path=self._path)
        copy = one.image_clone(system.id, "copy")
        data = one.image_create("data", size=SIZE_MIB, type="datablock", persistent=True)
        one.ds_monitor(100)
        one.ds_monitor(101)
        scratch: dict[str, str | int] = {"TYPE": "fs", "SIZE": SIZE_MIB, "FORMAT": "raw"}
        swap: dict[str, str | int] = {"TYPE": "swap", "SIZE": SIZE_MIB}
        vm = one.vm_instantiate([system, data, scratch, swap], host="alice")
        self._require_running(vm, "alice")
        self._move_about(vm)
        saved = self._change_disks(vm)
        one.vm_terminate(vm)
        if vm.state is not VmState.DONE:
            raise ActionFailed(f"VM {vm.id} is {vm.lcm_state.name}: {vm.error}")
        self._change_snapshots(data)
        app = one.marketapp_create(data)
        if app.state is not AppState.READY:
            raise ActionFailed(app.error)
        for image in (copy, system, data, saved):
            one.image_delete(image.id)

    def _move_about(self, vm: VirtualMachine) -> None:
        one = self._one
        one.vm_stop(vm)
        one.vm_deploy(vm, "dave")
        self._require_running(vm, "dave")
        one.vm_migrate(vm, "bob")
        self._require_running(vm, "bob")
        one.vm_migrate(vm, "dave", live=True)
        self._require_running(vm, "dave")
        one.hypervisor.fail_next("migrate")
        one.vm_migrate(vm, "alice", live=True)
        self._require_running(vm, "dave")

    def _change_disks(self, vm: VirtualMachine) -> Image:
        """Leaves the persistent disk with three snapshots; the image that was made of the other one."""
        one = self._one
        one.vm_disk_snapshot_create(vm, 0)
        one.vm_disk_snapshot_create(vm, 1)
        one.vm_disk_snapshot_delete(vm, 0, 0)
        one.vm_disk_resize(vm, 0, 2 * SIZE_MIB)
        saved = one.vm_disk_saveas(vm, 0, "saved")
        one.vm_poweroff(vm)
        for _ in range(2):
            one.vm_disk_snapshot_create(vm, 1)
        one.vm_disk_snapshot_revert(vm, 1, 0)
        if vm.state is not VmState.POWEROFF or saved.state is not ImageState.READY:
            raise ActionFailed(f"VM {vm.id} is {vm.state_name}: {vm.error}")
        return saved

    def _change_snapshots(self, image: Image) -> None:
        one = self._one
        one.image_snapshot_delete(image.id, 1)
        one.image_snapshot_revert(image.id, 0)
        one.image_snapshot_flatten(image.id, 2)
        if image.error:
            raise ActionFailed(image.error)

    @staticmethod
    def _require_running(vm: VirtualMachine, host: str) -> None:
        if vm.lcm_state is not LcmState.RUNNING or vm.host != host:
            raise ActionFailed(f"VM {vm.id} is {vm.state_name} on {vm.host}: {vm.error}")
