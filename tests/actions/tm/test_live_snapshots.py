# SPDX-License-Identifier: Apache-2.0
"""``tm/linstor/snap_create_live``: a guest is kept from writing for the moment of a snapshot, and never for longer."""

from __future__ import annotations

import time
from urllib.parse import quote

import pytest

from lab.cloud import Cloud
from lab.controller.faults import CALL_AFTER
from lab.hosts import ABSENT, DISCONNECTED, RUNNING, Agent, Guest
from lab.one import LcmState, VirtualMachine
from tests.actions.tm.datastores import strike
from tests.actions.tm.disks import (
    done,
    log,
    points,
    ready_image,
    refused,
    resource_of,
    set_attributes,
    snapshot,
)

CACHED = b"what only the guest's memory has"


@pytest.fixture
def vm(cloud: Cloud) -> VirtualMachine:
    """A running VM whose guest has an agent, and something in memory that belongs on the disk."""
    made = cloud.one.vm_instantiate([ready_image(cloud, persistent=True)], host="dave", context=False)
    assert made.lcm_state is LcmState.RUNNING, made.error
    cloud.hosts.domains.set_agent(made.deploy_id, RUNNING)
    guest_of(cloud, made).write_cached(0, CACHED)
    return made


def guest_of(cloud: Cloud, vm: VirtualMachine) -> Guest:
    return cloud.one.hypervisor.guest(vm.id, 0)  # type: ignore[return-value]


def create(cloud: Cloud, vm: VirtualMachine, number: int = 0) -> None:
    done(snapshot(cloud, vm, "CREATE", number, live=True))


def kept(cloud: Cloud, vm: VirtualMachine, number: int = 0) -> bytes:
    """What the snapshot has where the guest wrote."""
    rd = cloud.cluster.rd(resource_of(vm))
    key = rd.snapshot_key(0, f"OpenNebula-Snap-{number}")
    return (cloud.hosts.layout.contents / quote(key, safe="@")).read_bytes()[: len(CACHED)]


def assert_writes(cloud: Cloud, vm: VirtualMachine) -> None:
    """Nothing keeps the guest from writing."""
    assert cloud.hosts.frozen_domains() == set()
    guest_of(cloud, vm).write(4096, b"goes on")


def test_the_guest_writes_back_and_waits(cloud: Cloud, vm: VirtualMachine) -> None:
    frozen: list[set[str]] = []
    cloud.cluster.suspension.watchers.append(lambda _: frozen.append(cloud.hosts.frozen_domains()))
    create(cloud, vm)
    assert frozen == [{vm.deploy_id}]
    assert kept(cloud, vm) == CACHED
    assert (
        f"snapshot 0 of {resource_of(vm)} is file-system-consistent: guest {vm.deploy_id} was frozen"
        in log(cloud)
    )
    assert_writes(cloud, vm)
    assert [one.action for one in cloud.hosts.domains.calls] == ["freeze", "thaw"]


@pytest.mark.parametrize(
    ("agent", "reason"),
    [(ABSENT, "QEMU guest agent is not configured"), (DISCONNECTED, "QEMU guest agent is not connected")],
)
def test_without_an_agent(cloud: Cloud, vm: VirtualMachine, agent: Agent, reason: str) -> None:
    cloud.hosts.domains.set_agent(vm.deploy_id, agent)
    create(cloud, vm)
    assert kept(cloud, vm) != CACHED
    (line,) = [one for one in log(cloud).splitlines() if "crash-consistent" in one]
    assert line.endswith(reason)
    assert cloud.hosts.domains.calls == []


def test_an_agent_that_freezes_too_late(cloud: Cloud, vm: VirtualMachine) -> None:
    """It was given up after ten seconds, and does it after all."""
    cloud.hosts.domains.set_agent(vm.deploy_id, Agent(freeze_delay=11.0))
    create(cloud, vm)
    assert points(cloud, resource_of(vm)) == [0]
    assert "crash-consistent" in log(cloud)
    assert_writes(cloud, vm)
    assert [one.action for one in cloud.hosts.domains.calls][-1] == "thaw"


def test_who_does_not_want_it(cloud: Cloud, vm: VirtualMachine) -> None:
    cloud.one.vm_update(vm, "LINSTOR_FSFREEZE=NO")
    before = len(cloud.hosts.calls)
    create(cloud, vm)
    assert cloud.hosts.calls[before:] == []
    assert kept(cloud, vm) != CACHED
    assert "crash-consistent: LINSTOR_FSFREEZE is NO" in log(cloud)
    cloud.one.vm_update(vm, "LINSTOR_FSFREEZE=YES")
    set_attributes(cloud, LINSTOR_FSFREEZE="NO")
    create(cloud, vm, 1)
    assert kept(cloud, vm, 1) == CACHED


def test_a_host_that_does_not_answer(cloud: Cloud, vm: VirtualMachine) -> None:
    set_attributes(cloud, LINSTOR_SSH_TIMEOUT="1")
    cloud.hosts.set_link("dave", "down")
    create(cloud, vm)
    assert points(cloud, resource_of(vm)) == [0]
    assert "crash-consistent: host dave" in log(cloud)


def test_a_snapshot_that_fails(cloud: Cloud, vm: VirtualMachine) -> None:
    name = resource_of(vm)
    cloud.cluster.satellites.fail(
        cloud.cluster.rd(name).diskful[0].node, "snapshot", "metadata space is full"
    )
    refused(snapshot(cloud, vm, "CREATE", live=True), "OpenNebula-Snap-0", name)
    assert_writes(cloud, vm)
    assert cloud.cluster.rd(name).snapshots == {}
    assert "consistent" not in log(cloud)


def test_a_driver_that_dies_meanwhile(cloud: Cloud, vm: VirtualMachine) -> None:
    cloud.controller.faults.add(CALL_AFTER, method="POST", path="/snapshots$", callback=strike(cloud))
    assert not snapshot(cloud, vm, "CREATE", live=True).ok
    give_up = time.monotonic() + 5
    while cloud.hosts.frozen_domains() and time.monotonic() < give_up:
        time.sleep(0.02)
    assert_writes(cloud, vm)
    assert [one.action for one in cloud.hosts.domains.calls] == ["freeze", "thaw"]
    create(cloud, vm)
    assert points(cloud, resource_of(vm)) == [0]
