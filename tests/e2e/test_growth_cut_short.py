# SPDX-License-Identifier: Apache-2.0
"""A running VM's disk on storage that shows old content grows, and the driver is killed before the new part is zeroed:
the repetition zeroes what no guest has seen, and nothing else."""

from __future__ import annotations

from random import Random

import pytest

from lab.controller.faults import CALL_AFTER
from lab.one import LcmState
from tests.actions.support import properties
from tests.actions.tm.datastores import strike
from tests.e2e.snapshot_play import Play

PRECIOUS = b"PRECIOUS" * 512


@pytest.mark.parametrize("started_again", [False, True])
def test_growth(started_again: bool) -> None:
    """`onevm resume` of a VM in UNKNOWN leaves no history record."""
    play = Play("LVM", "1.28.0", Random(3))
    try:
        play.power(Random(1), True)
        vm, name = play.vm, play.disks[0].name
        faults = play.cloud.controller.faults
        faults.add(CALL_AFTER, method="PUT", path="volume-definitions", callback=strike(play.cloud))
        play.one.vm_disk_resize(vm, 0, 10)
        faults.clear()
        begin = int(properties(play.cloud, name)["zero-from"].split()[0])
        if started_again:
            play.one.hypervisor._stop(vm.id, vm.host)
            vm.lcm_state = LcmState.UNKNOWN
            play.one.vm_resume(vm)
            play.one.hypervisor.guest(vm.id, 0).write(begin + 4096, PRECIOUS)
        play.one.vm_disk_resize(vm, 0, 10)
        assert play.one.calls[-1].rc == 0
        found = play.one.hypervisor.guest(vm.id, 0).read(begin + 4096, len(PRECIOUS))
        assert found == (PRECIOUS if started_again else bytes(len(PRECIOUS)))
        assert "zero-from" not in properties(play.cloud, name)
    finally:
        play.close()
