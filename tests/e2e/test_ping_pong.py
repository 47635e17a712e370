# SPDX-License-Identifier: Apache-2.0
"""A VM that moves to and fro: many migrations later the cluster is as it was."""

from __future__ import annotations

import itertools
import os

import pytest

from lab.cloud import Cloud
from lab.one import LcmState
from tests.actions.tm.support import CloudMaker
from tests.e2e.lives import LINSTOR, Life

KINDS = ("copy", "persistent", "cdrom", "volatile")
TOUR = ("bob", "alice", "charlie", "alice")
"""From alice by way of two other hosts and back."""


def state(cloud: Cloud) -> dict[str, object]:
    """All that LINSTOR keeps of each volume; of resources without a disk only their number and kinds.

    Which of the nodes without a disk breaks the tie is LINSTOR's choice.
    """
    return {
        rd.name: {
            "props": dict(rd.props),
            "flags": set(rd.flags),
            "group": rd.group,
            "connections": {pair: dict(one) for pair, one in rd.connections.items() if one},
            "windows": (set(rd.windows), rd.migration),
            "sizes": [(volume.size_kib, volume.usable_kib) for volume in rd.volumes.values()],
            "disks": {
                one.node: (set(one.flags), dict(one.props))
                for one in rd.resources.values()
                if not one.diskless
            },
            "diskless": sorted(sorted(one.flags) for one in rd.resources.values() if one.diskless),
        }
        for rd in cloud.cluster.rds.values()
    }


def travel(life: Life, migrations: int, *, live: bool) -> None:
    """Ends where it began when the number is one of whole tours."""
    cloud, vm = life.cloud, life.vm
    before, files = state(cloud), life.directories()
    for number, host in enumerate(itertools.islice(itertools.cycle(TOUR), migrations), 1):
        life.write()
        cloud.one.vm_migrate(vm, host, live=live, poff=not live)
        assert (vm.lcm_state, vm.host) == (LcmState.RUNNING, host), f"{number}: {vm.error}"
        if number % len(TOUR) == 0:
            life.expect(LcmState.RUNNING, host, f"{number}. migration")
    assert state(cloud) == before
    assert life.directories() == files
    cloud.one.vm_terminate(vm)
    life.check_gone("terminate")


TOURS = int(os.environ.get("PING_PONG_TOURS", "5"))
"""A tour is four migrations, and each takes half a second; PING_PONG_TOURS asks for more of them."""


@pytest.mark.parametrize(
    ("rest_version", "migrations"),
    # A server that manages the window itself keeps less for the driver to lose.
    [("1.28.0", TOURS * len(TOUR)), ("1.29.1", len(TOUR))],
)
def test_live(make_cloud: CloudMaker, rest_version: str, migrations: int) -> None:
    travel(Life(make_cloud(rest_version=rest_version), LINSTOR, "alice", KINDS), migrations, live=True)


def test_cold(cloud: Cloud) -> None:
    travel(Life(cloud, LINSTOR, "alice", KINDS), len(TOUR), live=False)
