# SPDX-License-Identifier: Apache-2.0
"""What goes wrong after a volatile disk's data has moved: the copy is what the VM has, and nothing undoes it."""

from __future__ import annotations

import signal

import pytest

from lab.cloud import Cloud
from lab.controller import ControllerServer
from lab.controller.faults import CALL_AFTER, LOSE_REPLY, UNAUTHORIZED
from lab.one import LcmState
from tests.actions.support import by_res, links, locks_left, properties, resources
from tests.actions.tm.datastores import (
    ELSEWHERE,
    FAST,
    MIB,
    Elsewhere,
    add_fast,
    go,
    holders,
    mv,
    name_of,
    pools,
    strike,
    written,
)
from tests.actions.tm.journeys import VOLATILE, depart, impatient
from tests.actions.tm.support import bare_volume, disk_bytes, waiting

TEXT = b"of the guest"


@pytest.mark.parametrize("failure", ["host", "signal"])
def test_after_the_data_moved_to_other_pools(cloud: Cloud, failure: str) -> None:
    """The host does not answer, or oned ends the driver: one whole copy stays, and the next run goes on with it."""
    add_fast(cloud, "LVM_THIN")
    impatient(cloud)
    vm = written(cloud, TEXT)
    name = name_of(vm)
    go(cloud, vm, FAST, host="bob")
    if failure == "host":
        cloud.hosts.set_link("bob", "down")
    else:
        # The second volume to go is the copy on the way.
        cloud.controller.faults.add(
            CALL_AFTER, method="DELETE", nth=2, callback=strike(cloud, signal.SIGTERM)
        )
    assert mv(cloud, vm).rc != 0
    assert holders(cloud, cloud.cluster, name, TEXT) == [name]
    assert resources(cloud) == {name}
    assert pools(cloud.cluster, name) == {"fast"}
    cloud.hosts.set_link("bob", "up")
    call = mv(cloud, vm)
    assert (call.rc, call.stderr) == (0, "")
    assert disk_bytes(cloud, vm, len(TEXT)) == TEXT
    assert locks_left(cloud) == []


@pytest.mark.parametrize("failure", ["signal", "lost reply", "refusal"])
def test_the_old_cluster_does_not_delete_its_volume(
    cloud: Cloud, elsewhere: ControllerServer, failure: str
) -> None:
    """Whatever comes of that, the copy in the new cluster stays."""
    impatient(cloud)
    vm = written(cloud, TEXT, host="alice")
    name = name_of(vm)
    go(cloud, vm, ELSEWHERE)
    faults = cloud.controller.faults
    if failure == "signal":
        faults.add(CALL_AFTER, method="DELETE", callback=strike(cloud, signal.SIGTERM))
    elif failure == "lost reply":
        faults.add(LOSE_REPLY, method="DELETE")
    else:
        faults.add(UNAUTHORIZED, method="DELETE", times=99)
    assert mv(cloud, vm).rc != 0
    assert holders(cloud, elsewhere.cluster, name, TEXT, Elsewhere.PREFIX) == [name]
    assert resources(cloud) == ({name} if failure == "refusal" else set())
    faults.clear()
    call = mv(cloud, vm)
    assert (call.rc, call.stderr) == (0, "")
    assert holders(cloud, elsewhere.cluster, name, TEXT, Elsewhere.PREFIX) == [name]
    assert resources(cloud) == set()
    assert links(cloud)["dave"] == {f"{ELSEWHERE}/{vm.id}/disk.0": by_res(name)}
    assert locks_left(cloud) == []


def test_what_was_written_since_an_attempt_for_another_cluster(
    cloud: Cloud, elsewhere: ControllerServer
) -> None:
    """The whole copy that a killed run left there is older than the disk when the VM went on at its old place."""
    vm = written(cloud, TEXT, host="alice")
    name = name_of(vm)
    go(cloud, vm, ELSEWHERE)
    # The mark that the copy is whole is the last thing that is written to it.
    elsewhere.faults.add(CALL_AFTER, method="PUT", path="resource-definitions/", callback=strike(cloud))
    assert mv(cloud, vm).rc == -signal.SIGKILL
    assert holders(cloud, elsewhere.cluster, name, TEXT, Elsewhere.PREFIX) == [name]
    depart(cloud, vm, "alice", LcmState.RUNNING, 101)
    newer = b"newer things"
    with cloud.hosts.open_disk("alice", by_res(name)) as disk:
        disk.write(0, newer)
        disk.write(8 * MIB - len(newer), newer)
    go(cloud, vm, ELSEWHERE)
    call = mv(cloud, vm)
    assert (call.rc, call.stderr) == (0, "")
    assert holders(cloud, elsewhere.cluster, name, newer, Elsewhere.PREFIX) == [name]
    assert resources(cloud) == set()


def test_a_volume_that_the_driver_did_not_make(cloud: Cloud) -> None:
    """addon-linstor's, or an administrator's, follows the VM as well, but gets no owner by that."""
    vm = waiting(cloud, VOLATILE)
    name = bare_volume(cloud, name_of(vm))
    depart(cloud, vm, "bob", LcmState.PROLOG_MIGRATE_POWEROFF, 102)
    call = mv(cloud, vm)
    assert (call.rc, call.stderr) == (0, "")
    assert cloud.cluster.rd(name).group == "one-three"
    assert len(cloud.cluster.rd(name).diskful) == 3
    assert properties(cloud, name) == {}
