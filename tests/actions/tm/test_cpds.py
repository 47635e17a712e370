# SPDX-License-Identifier: Apache-2.0
"""``tm/linstor/cpds``: disks of VMs, and snapshots of them, that become images."""

from __future__ import annotations

import pytest

from lab.cloud import Cloud
from lab.controller.standard import GIB, NODES
from lab.hosts import RUNNING
from lab.one import ImageState, LcmState
from tests.actions.support import MIB, content, device_size, locks_left, properties, resources
from tests.actions.tm.disks import (
    COPIES,
    KINDS,
    done,
    log,
    placed,
    points,
    ready_image,
    refused,
    resource_of,
    save,
    set_attributes,
    snapshot,
)
from tests.actions.tm.journeys import clients
from tests.actions.tm.support import (
    CONTENT,
    SIZE,
    CloudMaker,
    bare_image,
    bare_volume,
    disk_bytes,
    write_disk,
)

PRESENT, PAST = "OpenNebula-Image-8", "OpenNebula-Image-9"


def holds(cloud: Cloud, name: str, text: bytes) -> None:
    """The image is complete, attached nowhere (LINSTOR's clones need every node of their source), and what the disk
    was when it began with the text."""
    assert clients(cloud, name) == []
    assert content(cloud, name, SIZE) == text + CONTENT[len(text) :]
    number = name.rpartition("-")[2]
    assert properties(cloud, name) == {
        "instance": "one",
        "datastore": "100",
        "image": number,
        "complete": name,
    }


@pytest.mark.parametrize("kind", ["LVM_THIN", "ZFS", "FILE", "LVM-1.28"])
def test_the_present_and_a_snapshot(make_cloud: CloudMaker, kind: str) -> None:
    cloud = make_cloud(**KINDS[kind])
    vm = placed(cloud, host="dave")
    name = resource_of(vm)
    write_disk(cloud, vm, 0, b"past")
    done(snapshot(cloud, vm, "CREATE"))
    write_disk(cloud, vm, 0, b"present")
    done(save(cloud, vm, PRESENT))
    done(save(cloud, vm, PAST, 0))
    write_disk(cloud, vm, 0, b"future!")
    # Answers that were lost: what is there stays.
    done(save(cloud, vm, PRESENT))
    done(save(cloud, vm, PAST, 0))
    assert disk_bytes(cloud, vm, 7) == b"future!"
    assert points(cloud, name) == [0]
    if kind == "LVM-1.28":
        assert clients(cloud, f"{name}-snap0") == []
    # They do not need what they were made of.
    done(snapshot(cloud, vm, "DELETE"))
    holds(cloud, PRESENT, b"present")
    holds(cloud, PAST, b"past")
    assert resources(cloud) == {"OpenNebula-Image-0", name, PRESENT, PAST}
    assert locks_left(cloud) == []


# The image's datastore has another resource group now, in other pools or with more replicas.
@pytest.mark.parametrize(
    ("kind", "number", "pool"),
    [
        ("LVM_THIN", 0, "thin"),
        ("LVM_THIN", -1, "fast"),
        ("ZFS", 0, "fast"),
        ("LVM-1.28", 0, "thin"),
    ],
)
def test_another_resource_group(make_cloud: CloudMaker, kind: str, number: int, pool: str) -> None:
    cloud = make_cloud(**KINDS[kind])
    vm = placed(cloud, host="dave")
    write_disk(cloud, vm, 0, b"saved")
    done(snapshot(cloud, vm, "CREATE"))
    group = "one-three"
    if pool == "fast":
        group = "one-fast"
        for node in NODES:
            cloud.cluster.pools.add(cloud.cluster.node(node), pool, KINDS[kind]["provider"], 100 * GIB)
        select = {"place_count": 3, "storage_pool_list": [pool]}
        cloud.cluster.groups.create({"name": group, "select_filter": select})
        cloud.cluster.groups.create_volume_group(group, {})
    set_attributes(cloud, LINSTOR_RESOURCE_GROUP=group)
    done(save(cloud, vm, PRESENT, number))
    holds(cloud, PRESENT, b"saved")
    made = cloud.cluster.rd(PRESENT)
    assert made.group == group
    assert {one.pool for one in made.diskful} == {pool}
    assert len(made.diskful) == 3
    assert points(cloud, resource_of(vm)) == [0]
    copies = {f"{resource_of(vm)}-snap0"} if kind == "LVM-1.28" else set()
    assert resources(cloud) == {"OpenNebula-Image-0", resource_of(vm), PRESENT} | copies


@pytest.mark.parametrize("options", [{}, {"provider": "FILE"}, COPIES])
def test_a_running_vm(make_cloud: CloudMaker, options: dict[str, object]) -> None:
    """Its guest writes back what it has in memory, where the storage can take a snapshot."""
    cloud = make_cloud(**{**options, "sync_seconds": 0.0})
    vm = cloud.one.vm_instantiate([ready_image(cloud)], host="dave", context=False)
    cloud.hosts.domains.set_agent(vm.deploy_id, RUNNING)
    guest = cloud.one.hypervisor.guest(vm.id, 0)
    guest.write_cached(0, b"cached")  # type: ignore[attr-defined]
    frozen: list[set[str]] = []
    cloud.cluster.suspension.watchers.append(lambda _: frozen.append(cloud.hosts.frozen_domains()))
    done(save(cloud, vm, PRESENT, state=LcmState.HOTPLUG_SAVEAS))
    assert cloud.hosts.frozen_domains() == set()
    if options == COPIES:
        assert f"{resource_of(vm)} is cloned while its guest writes" in log(cloud)
    else:
        assert frozen[0] == {vm.deploy_id}
        assert f"image {PRESENT} of {resource_of(vm)} is file-system-consistent" in log(cloud)
        holds(cloud, PRESENT, b"cached")
    assert cloud.cluster.rd(resource_of(vm)).snapshots == {}
    assert resources(cloud) == {"OpenNebula-Image-0", resource_of(vm), PRESENT}
    guest.write(0, b"writes")


def test_a_stopped_vm(cloud: Cloud) -> None:
    """OpenNebula names the front-end, which is no LINSTOR node, as its host."""
    vm = placed(cloud)
    before = len(cloud.hosts.calls)
    for state in (LcmState.HOTPLUG_SAVEAS_STOPPED, LcmState.HOTPLUG_SAVEAS_UNDEPLOYED):
        name = f"OpenNebula-Image-{int(state)}"
        done(save(cloud, vm, name, state=state))
        holds(cloud, name, b"")
    assert cloud.hosts.calls[before:] == []


def test_a_disk_that_has_grown(cloud: Cloud) -> None:
    """The image is as large as the disk is, or as it was at the snapshot."""
    vm = placed(cloud)
    done(snapshot(cloud, vm, "CREATE"))
    cloud.cluster.volume_definitions.modify(resource_of(vm), 0, {"size_kib": 20 * 1024})
    done(save(cloud, vm, PRESENT))
    done(save(cloud, vm, PAST, 0))
    assert device_size(cloud, PRESENT) >= 20 * MIB
    assert device_size(cloud, PAST) < 16 * MIB


@pytest.mark.parametrize("options", [{"provider": "FILE"}, COPIES])
def test_names_that_leave_no_room(make_cloud: CloudMaker, options: dict[str, object]) -> None:
    """48 characters each, so that what is needed on the way has to have other names."""
    cloud = make_cloud(**{**options, "sync_seconds": 0.0})
    source, target = "s" * 48, "t" * 48
    vm = placed(cloud, bare_image(cloud, source, persistent=True))
    write_disk(cloud, vm, 0, b"past")
    done(snapshot(cloud, vm, "CREATE"))
    write_disk(cloud, vm, 0, b"present")
    set_attributes(cloud, LINSTOR_RESOURCE_GROUP="one-three")
    done(save(cloud, vm, target, 0))
    assert content(cloud, target, 4) == b"past"
    assert len(resources(cloud)) == (3 if options == COPIES else 2)
    assert [one.name for one in cloud.cluster.rd(source).snapshots.values()] == (
        [] if options == COPIES else ["OpenNebula-Snap-0"]
    )


def test_a_snapshot_that_does_not_exist(cloud: Cloud) -> None:
    vm = placed(cloud)
    refused(save(cloud, vm, PRESENT, 5), resource_of(vm), "OpenNebula-Snap-5")
    assert resources(cloud) == {"OpenNebula-Image-0", resource_of(vm)}


def test_an_image_of_somebody_else(cloud: Cloud) -> None:
    """A stray volume of that name is not what OpenNebula wants to have saved."""
    vm = placed(cloud)
    bare_volume(cloud, PRESENT)
    for number in (-1, 5):
        call = save(cloud, vm, PRESENT, number)
        refused(call)
        assert PRESENT in call.user_error or number == 5
    assert properties(cloud, PRESENT) == {}
    assert cloud.cluster.rd(resource_of(vm)).snapshots == {}


@pytest.mark.parametrize(
    ("operation", "number"),
    [
        ("clone", -1),
        ("restore", 0),
    ],
)
def test_what_fails_leaves_nothing(cloud: Cloud, operation: str, number: int) -> None:
    vm = placed(cloud)
    name = resource_of(vm)
    done(snapshot(cloud, vm, "CREATE"))
    node = cloud.cluster.rd(name).diskful[0].node
    before = resources(cloud)
    cloud.cluster.satellites.fail(node, operation, "metadata space is full")
    call = save(cloud, vm, PRESENT, number)
    refused(call, name)
    if operation == "restore":
        assert f"({node}) metadata space is full" in call.user_error[:100]
        assert "LINSTOR error report ErrorReport-" in call.user_error
    assert resources(cloud) == before
    assert points(cloud, name) == [0]


def test_the_image_can_be_used(cloud: Cloud) -> None:
    """OpenNebula's own way through mkfs and cpds to a VM that starts from what was saved."""
    vm = cloud.one.vm_instantiate([ready_image(cloud)], host="dave", context=False)
    cloud.one.hypervisor.guest(vm.id, 0).write(0, b"saved")
    saved = cloud.one.vm_disk_saveas(vm, 0, "saved")
    assert (saved.state, saved.error) == (ImageState.READY, "")
    other = cloud.one.vm_instantiate([saved], host="bob", context=False)
    assert other.lcm_state is LcmState.RUNNING, other.error
    assert cloud.one.hypervisor.guest(other.id, 0).read(0, 5) == b"saved"


def test_arguments_that_oned_never_sends(cloud: Cloud) -> None:
    vm = placed(cloud)
    place, ids = f"alice:{cloud.one.disk_path(vm, 0)}", (str(vm.id), "100")
    for arguments in [
        (place, PRESENT, *ids),
        (place, PRESENT, "-2", *ids),
        (place, "a/b", "-1", *ids),
        (place, PRESENT, "-1", "999", "100"),
    ]:
        refused(cloud.call("tm/cpds", *arguments))
    assert resources(cloud) == {"OpenNebula-Image-0", resource_of(vm)}
