# SPDX-License-Identifier: Apache-2.0
"""A VM that changes its system datastore and stays on its host: its directory moves there, its disks do not."""

from __future__ import annotations

from lab.cloud import Cloud
from lab.one import LcmState
from tests.actions.tm.journeys import arrived, depart, directory, entries, moved
from tests.actions.tm.support import bare_image

SECOND = 106


def test_a_directory_that_came_halfway(cloud: Cloud) -> None:
    """Between file systems a run that was cut short leaves parts at both places."""
    vm = arrived(cloud, bare_image(cloud, "data", persistent=True))
    here = directory(cloud, vm, "alice")
    (here / "logs" / "old").mkdir(parents=True)
    (here / "logs" / "old" / "first").write_text("whole")
    (here / "logs" / "second").write_text("later")
    (here / "vm.xml").write_text("<VM/>")
    wanted = entries(here)
    depart(cloud, vm, "alice", LcmState.PROLOG_MIGRATE_POWEROFF, 102)
    there = directory(cloud, vm, "alice")
    (there / "logs" / "old").mkdir(parents=True)
    (there / "logs" / "old" / "first").write_text("wh")
    moved(cloud, cloud.one.lines.migration(vm))
    assert entries(there) == wanted
    assert not here.exists()
