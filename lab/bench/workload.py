# SPDX-License-Identifier: Apache-2.0
"""A round through all actions: images come, two VMs use them, everything goes."""

from __future__ import annotations

import random

from lab.bench.measuring import ActionFailed
from lab.cloud import Cloud
from lab.images import write_raw
from lab.one import LcmState, VmState

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
        if vm.lcm_state is not LcmState.RUNNING:
            raise ActionFailed(f"VM {vm.id} is {vm.lcm_state.name}: {vm.error}")
        one.vm_terminate(vm)
        if vm.state is not VmState.DONE:
            raise ActionFailed(f"VM {vm.id} is {vm.lcm_state.name}: {vm.error}")
        for image in (copy, system, data):
            one.image_delete(image.id)
