# SPDX-License-Identifier: Apache-2.0
"""Guest agents and memory of VMs that OpenNebula runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.cloud import Cloud
from lab.hosts import RUNNING, Guest
from lab.one import Image, LcmState, VirtualMachine, VmState

from .test_hypervisor import made_drivers, request, two_primaries


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    root = tmp_path_factory.mktemp("cloud")
    with Cloud(root, drivers=made_drivers(root)) as made:
        request(made, "resource-groups/one/spawn", resource_definition_name="data", volume_sizes=[8192])
        for node in ("alice", "bob"):
            request(made, f"resource-definitions/data/resources/{node}/make-available", diskful=False)
        two_primaries(made)
        yield made


@pytest.fixture(scope="module")
def image(cloud: Cloud) -> Image:
    return cloud.one.image_create("data", size=8, source="data", persistent=True)


@pytest.fixture
def vm(cloud: Cloud, image: Image) -> Iterator[VirtualMachine]:
    """With an agent."""
    made = cloud.one.vm_instantiate([image], host="alice")
    cloud.hosts.domains.set_agent(made.deploy_id, RUNNING)
    yield made
    cloud.one.vm_terminate(made, hard=True)
    assert made.state is VmState.DONE


def disk(cloud: Cloud, vm: VirtualMachine) -> Guest:
    return cloud.one.hypervisor.guest(vm.id, 0)  # type: ignore[return-value]


def virsh(cloud: Cloud, command: str, vm: VirtualMachine) -> str:
    return cloud.hosts.run(vm.host, f"virsh -c qemu:///system {command} {vm.deploy_id}", check=True).stdout


def on_device(cloud: Cloud, vm: VirtualMachine, length: int) -> bytes:
    return cloud.hosts.run(vm.host, f"head -c {length} /dev/drbd/by-res/data/0").stdout.encode()


def test_a_freeze_brings_to_the_device_what_the_guest_has_in_memory(cloud: Cloud, vm: VirtualMachine) -> None:
    disk(cloud, vm).write_cached(0, b"frozen")
    assert on_device(cloud, vm, 6) != b"frozen"
    # The disk with the context is read-only.
    assert virsh(cloud, "domfsfreeze", vm) == "Froze 1 filesystem(s)\n\n"
    assert on_device(cloud, vm, 6) == b"frozen"
    assert cloud.hosts.frozen_domains() == {vm.deploy_id}
    virsh(cloud, "domfsthaw", vm)


def test_a_frozen_guest_can_not_be_shut_down(cloud: Cloud, vm: VirtualMachine) -> None:
    virsh(cloud, "domfsfreeze", vm)
    cloud.one.vm_poweroff(vm)
    assert vm.lcm_state is LcmState.RUNNING
    assert "Timed out shutting down" in vm.error
    virsh(cloud, "domfsthaw", vm)
    cloud.one.vm_poweroff(vm)
    assert vm.state is VmState.POWEROFF


def test_memory_goes_along_with_a_live_migration(cloud: Cloud, vm: VirtualMachine) -> None:
    disk(cloud, vm).write_cached(0, b"moving")
    virsh(cloud, "domfsfreeze", vm)
    virsh(cloud, "domfsthaw", vm)
    disk(cloud, vm).write_cached(0, b"cached")
    cloud.one.vm_migrate(vm, "bob", live=True)
    assert vm.host == "bob"
    assert disk(cloud, vm).read(0, 6) == b"cached"
    assert on_device(cloud, vm, 6) == b"moving"
    assert virsh(cloud, "domfsfreeze", vm).startswith("Froze 1")
    assert on_device(cloud, vm, 6) == b"cached"
    with pytest.raises(BlockingIOError):
        disk(cloud, vm).write(0, b"x")
    cloud.one.vm_migrate(vm, "alice", live=True)
    assert cloud.hosts.frozen_domains() == {vm.deploy_id}
    assert cloud.hosts.run("bob", f"virsh -c qemu:///system domstate {vm.deploy_id}").returncode == 1


def test_memory_outlasts_a_suspension_and_no_power_cut(cloud: Cloud, vm: VirtualMachine) -> None:
    disk(cloud, vm).write(0, b"before")
    disk(cloud, vm).write_cached(0, b"cached")
    cloud.one.vm_suspend(vm)
    cloud.one.vm_resume(vm)
    assert (on_device(cloud, vm, 6), disk(cloud, vm).read(0, 6)) == (b"before", b"cached")
    cloud.one.vm_poweroff(vm, hard=True)
    cloud.one.vm_resume(vm)
    assert disk(cloud, vm).read(0, 6) == b"before"


def test_a_shutdown_writes_back(cloud: Cloud, vm: VirtualMachine) -> None:
    disk(cloud, vm).write_cached(0, b"latest")
    cloud.one.vm_poweroff(vm)
    cloud.one.vm_resume(vm)
    assert disk(cloud, vm).read(0, 6) == b"latest"
