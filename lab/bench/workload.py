# SPDX-License-Identifier: Apache-2.0
"""A round through all actions: images come, a VM uses them and moves about, everything goes."""

from __future__ import annotations

import random

from lab.bench.measuring import ActionFailed
from lab.cloud import Cloud
from lab.images import write_raw
from lab.one import LcmState, VirtualMachine, VmState

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
        one.vm_terminate(vm)
        if vm.state is not VmState.DONE:
            raise ActionFailed(f"VM {vm.id} is {vm.lcm_state.name}: {vm.error}")
        for image in (copy, system, data):
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

    @staticmethod
    def _require_running(vm: VirtualMachine, host: str) -> None:
        if vm.lcm_state is not LcmState.RUNNING or vm.host != host:
            raise ActionFailed(f"VM {vm.id} is {vm.state_name} on {vm.host}: {vm.error}")
