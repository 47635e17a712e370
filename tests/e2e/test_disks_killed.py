# SPDX-License-Identifier: Apache-2.0
"""What is done to the disks that VMs have, and is killed at any point: a rerun ends well, and no guest stays frozen."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import Callable

import pytest

from lab.cloud import Cloud
from lab.controller.faults import CALL_BEFORE
from tests.actions.tm.disks import COPIES, KINDS, log, points
from tests.actions.tm.support import CloudMaker
from tests.e2e import disk_scenes
from tests.e2e.kills import LIVE, PLANS, killed
from tests.e2e.scenes import Scenes

CASES: dict[str, tuple[dict[str, object], Callable[..., Scenes]]] = {
    "create live": ({}, disk_scenes.create_live),
    "delete": (COPIES, disk_scenes.delete),
    # A full copy of what is restored, since that depends on the snapshot.
    "save snapshot": (KINDS["ZFS"], partial(disk_scenes.save_as, number=0)),
    "save live": ({}, disk_scenes.save_as_live),
    "export": (KINDS["FILE_THIN"], disk_scenes.export),
}


@pytest.mark.parametrize("name", CASES)
def test_again(make_cloud: CloudMaker, name: str) -> None:
    options, make = CASES[name]
    cloud = make_cloud(**options)
    prepared = make(cloud)
    undisturbed = next(prepared)
    before = undisturbed.state()
    assert undisturbed.run().ok
    wanted = undisturbed.state()
    assert wanted != before or name == "export"
    struck = 0
    for scene, place in killed(cloud, prepared, LIVE if "live" in name else PLANS):
        struck += 1
        _wait_until_thawed(cloud)
        again = scene.run()
        assert (again.rc, again.stderr) == (0, ""), place
        assert scene.state() == wanted, place
        assert cloud.hosts.frozen_domains() == set(), place
    assert struck >= 1


def _wait_until_thawed(cloud: Cloud) -> None:
    """The host sees that nobody holds the session any more."""
    give_up = time.monotonic() + 5
    while cloud.hosts.frozen_domains() and time.monotonic() < give_up:
        time.sleep(0.02)
    assert cloud.hosts.frozen_domains() == set()


# While the agent freezes the guest; when the driver knows that it is frozen.
@pytest.mark.parametrize("moment", ["freezing", "frozen"])
def test_the_session_with_the_host_breaks(cloud: Cloud, moment: str) -> None:
    """The snapshot is taken, and nobody takes it for more than it is."""
    prepared = disk_scenes.create_live(cloud)
    scene = next(prepared)
    if moment == "freezing":
        cloud.hosts.domains.watchers.append(lambda one: one.action == "freeze" and _kill_ssh(cloud))
    else:
        cloud.controller.faults.add(
            CALL_BEFORE, method="POST", path="/snapshots$", callback=lambda *_: _kill_ssh(cloud)
        )
    call = scene.run()
    assert (call.rc, call.stderr) == (0, "")
    _wait_until_thawed(cloud)
    assert [one.action for one in cloud.hosts.domains.calls][:2] == ["freeze", "thaw"]
    assert points(cloud, f"OpenNebula-{scene.token}") == [0]
    assert "is crash-consistent" in log(cloud)
    assert "is file-system-consistent" not in log(cloud)


def _kill_ssh(cloud: Cloud) -> None:
    """The client; what it has begun on the host goes on."""
    killed_ones = []
    for pid in cloud.one.executor.running():
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
            killed_ones.append(child)
    assert killed_ones
