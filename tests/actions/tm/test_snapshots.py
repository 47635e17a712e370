# SPDX-License-Identifier: Apache-2.0
"""``tm/linstor/snap_create``, ``snap_delete``, ``snap_revert``: disks and their snapshots on all kinds of storage."""

from __future__ import annotations

import pytest

from lab.cloud import Cloud
from lab.one import VirtualMachine
from tests.actions.support import by_res, locks_left, properties, resources
from tests.actions.tm.disks import (
    COPIES,
    KINDS,
    done,
    family,
    log,
    placed,
    points,
    ready_image,
    refused,
    resource_of,
    set_attributes,
    snapshot,
)
from tests.actions.tm.journeys import arrived, clients
from tests.actions.tm.support import (
    CONTENT,
    CloudMaker,
    bare_image,
    clean,
    disk_bytes,
    link_of,
    on_nodes,
    remove,
    write_disk,
)


def places(cloud: Cloud, name: str) -> tuple[int, list[str], bool]:
    """Disks, clients, and whether there are enough nodes for a quorum: which ones those are is LINSTOR's choice."""
    roles = on_nodes(cloud, name)
    return list(roles.values()).count("disk"), clients(cloud, name), len(roles) >= 3


def text_of(cloud: Cloud, vm: VirtualMachine) -> bytes:
    """What ``write_disk`` wrote, after a look at all the rest."""
    found = disk_bytes(cloud, vm)
    assert found[6:] == CONTENT[6:]
    return found[:6]


def three_texts(cloud: Cloud, vm: VirtualMachine) -> None:
    """The disk holds a third text; two more are in its snapshots 0 and 1."""
    for number, text in enumerate((b"first.", b"second")):
        write_disk(cloud, vm, 0, text)
        done(snapshot(cloud, vm, "CREATE", number))
    write_disk(cloud, vm, 0, b"third.")


@pytest.mark.parametrize(
    ("kind", "persistent"),
    [("LVM_THIN", True), ("ZFS", False), ("FILE", True), ("LVM-1.28", False)],
)
def test_content_comes_back(make_cloud: CloudMaker, kind: str, persistent: bool) -> None:
    cloud = make_cloud(**KINDS[kind])
    vm = placed(cloud, host="dave") if persistent else arrived(cloud, ready_image(cloud), host="dave")
    name = resource_of(vm)
    before = places(cloud, name), properties(cloud, name), cloud.cluster.rd(name).group
    three_texts(cloud, vm)
    assert points(cloud, name) == [0, 1]
    for number, text in ((1, b"second"), (0, b"first.")):
        done(snapshot(cloud, vm, "REVERT", number))
        assert text_of(cloud, vm) == text
        assert points(cloud, name) == [0, 1]
        assert link_of(cloud, vm) == by_res(name)
    for number in (0, 1):
        done(snapshot(cloud, vm, "DELETE", number))
        assert text_of(cloud, vm) == b"first."
    assert points(cloud, name) == []
    assert (places(cloud, name), properties(cloud, name), cloud.cluster.rd(name).group) == before
    assert resources(cloud) == {"OpenNebula-Image-0", name}
    assert locks_left(cloud) == []


@pytest.mark.parametrize("options", [{}, COPIES])
def test_calls_that_are_repeated(make_cloud: CloudMaker, options: dict[str, object]) -> None:
    cloud = make_cloud(**options)
    vm = placed(cloud)
    name = resource_of(vm)
    three_texts(cloud, vm)
    # The first one of that number is the one that OpenNebula knows of.
    done(snapshot(cloud, vm, "CREATE", 1))
    for _ in range(2):
        done(snapshot(cloud, vm, "REVERT", 1))
        assert text_of(cloud, vm) == b"second"
    for _ in range(2):
        done(snapshot(cloud, vm, "DELETE", 1))
        assert points(cloud, name) == [0]
    assert "has no snapshot OpenNebula-Snap-1 any more" in log(cloud)
    refused(snapshot(cloud, vm, "REVERT", 1), name, "OpenNebula-Snap-1")
    assert text_of(cloud, vm) == b"second"


@pytest.mark.parametrize("options", [{}, COPIES])
def test_what_goes_with_the_disk(make_cloud: CloudMaker, options: dict[str, object]) -> None:
    """A VM's own disk with all its snapshots; those of a persistent image stay when the VM ends."""
    cloud = make_cloud(**options)
    vm = arrived(cloud, ready_image(cloud), bare_image(cloud, "data", persistent=True))
    for disk_id in (0, 1):
        done(snapshot(cloud, vm, "CREATE", 0, disk_id=disk_id))
    for disk_id in (0, 1):
        assert remove(cloud, vm, disk_id).ok
    assert family(cloud, resource_of(vm)) == set()
    assert points(cloud, "data") == [0]
    assert family(cloud, "OpenNebula-Image-0") == {""}


def legacy(cloud: Cloud, vm: VirtualMachine) -> VirtualMachine:
    """The VM's volumes are as addon-linstor 3.x made them: without a mark of this driver."""
    for rd in cloud.cluster.rds.values():
        for name in [one for one in rd.props if one.startswith("Aux/one/")]:
            del rd.props[name]
    return vm


@pytest.mark.parametrize("options", [{}, COPIES])
def test_volumes_of_addon_linstor(make_cloud: CloudMaker, options: dict[str, object]) -> None:
    cloud = make_cloud(**options)
    vm = legacy(cloud, arrived(cloud, ready_image(cloud)))
    name = resource_of(vm)
    if not options:
        cloud.cluster.snapshots.create(name, {"name": "OpenNebula-Snap-7"})
        write_disk(cloud, vm, 0, b"later.")
        done(snapshot(cloud, vm, "REVERT", 7))
    assert disk_bytes(cloud, vm) == CONTENT
    done(snapshot(cloud, vm, "CREATE"))
    write_disk(cloud, vm, 0, b"later.")
    done(snapshot(cloud, vm, "REVERT"))
    assert disk_bytes(cloud, vm) == CONTENT
    if not options:
        done(snapshot(cloud, vm, "DELETE", 7))
    assert points(cloud, name) == [0]
    assert clean(cloud, vm).ok
    assert family(cloud, "OpenNebula-Image-0") == {""}


def test_names_that_leave_no_room(make_cloud: CloudMaker) -> None:
    """Of 48 characters, so that the copies have to have names of their own."""
    cloud = make_cloud(**COPIES)
    names = ["n" * 47 + "1", "n" * 47 + "2"]
    vms = [placed(cloud, bare_image(cloud, name, persistent=True)) for name in names]
    for vm, number in zip((*vms, vms[0]), (3, 3, 33)):
        write_disk(cloud, vm, 0, b"VM %d at %2d" % (vm.id, number))
        done(snapshot(cloud, vm, "CREATE", number))
    assert len(resources(cloud)) == 5
    done(snapshot(cloud, vms[0], "REVERT", 3))
    assert disk_bytes(cloud, vms[0], 10) == b"VM 0 at  3"
    assert disk_bytes(cloud, vms[1], 10) == b"VM 1 at  3"
    done(snapshot(cloud, vms[0], "DELETE", 3))
    assert (points(cloud, names[0]), points(cloud, names[1])) == ([33], [3])
    assert len(resources(cloud)) == 4


# --- the ceiling


@pytest.mark.parametrize("options", [{}, COPIES])
def test_there_is_a_ceiling(make_cloud: CloudMaker, options: dict[str, object]) -> None:
    cloud = make_cloud(**options)
    set_attributes(cloud, LINSTOR_SNAPSHOT_LIMIT="2")
    vm = placed(cloud)
    name = resource_of(vm)
    if not options:
        # Only snapshots that OpenNebula has asked for count.
        cloud.cluster.snapshots.create(name, {"name": "backup-of-monday"})
    for number in (0, 1, 1):
        # Once there, a snapshot is not one too many when it is asked for again.
        done(snapshot(cloud, vm, "CREATE", number))
    call = snapshot(cloud, vm, "CREATE", 2)
    refused(call, f"{name} has 2 snapshots, and LINSTOR_SNAPSHOT_LIMIT is 2")
    assert "delete one of them" in call.user_error
    done(snapshot(cloud, vm, "DELETE", 0))
    done(snapshot(cloud, vm, "CREATE", 2))
    refused(snapshot(cloud, vm, "CREATE", 3), "LINSTOR_SNAPSHOT_LIMIT is 2")
    if not options:
        cloud.cluster.snapshots.delete(name, "backup-of-monday", [])
    assert points(cloud, name) == [1, 2]


def test_a_ceiling_of_the_vm(cloud: Cloud) -> None:
    set_attributes(cloud, LINSTOR_SNAPSHOT_LIMIT="5")
    vm = placed(cloud)
    cloud.one.vm_update(vm, "LINSTOR_SNAPSHOT_LIMIT=many")
    refused(snapshot(cloud, vm, "CREATE"), "LINSTOR_SNAPSHOT_LIMIT", f"VM {vm.id}")
    cloud.one.vm_update(vm, "LINSTOR_SNAPSHOT_LIMIT=1")
    done(snapshot(cloud, vm, "CREATE"))
    refused(snapshot(cloud, vm, "CREATE", 1), "LINSTOR_SNAPSHOT_LIMIT is 1")


# --- replicas that are not well


def test_an_offline_replica_has_no_part_in_a_snapshot(cloud: Cloud) -> None:
    vm = placed(cloud, host="dave")
    name = resource_of(vm)
    lost, kept = (one.node for one in cloud.cluster.rd(name).diskful)
    cloud.cluster.set_online(lost, False)
    write_disk(cloud, vm, 0, b"first.")
    done(snapshot(cloud, vm, "CREATE"))
    assert f"snapshot OpenNebula-Snap-0 of {name} is not on {lost}, which LINSTOR left out" in log(cloud)
    write_disk(cloud, vm, 0, b"second")
    # LINSTOR would have to make the volume anew on all nodes.
    refused(snapshot(cloud, vm, "REVERT"), name, lost)
    assert text_of(cloud, vm) == b"second"
    assert points(cloud, name) == [0]
    cloud.cluster.set_online(lost, True)
    done(snapshot(cloud, vm, "REVERT"))
    assert text_of(cloud, vm) == b"first."
    cloud.cluster.set_online(kept, False)
    done(snapshot(cloud, vm, "DELETE"))
    assert points(cloud, name) == []


@pytest.mark.parametrize("operation", ["snapshot", "snapshot-disconnect"])
def test_a_record_of_a_failure_goes(cloud: Cloud, operation: str) -> None:
    vm = placed(cloud)
    name = resource_of(vm)
    node = cloud.cluster.rd(name).diskful[1].node
    cloud.cluster.satellites.fail(node, operation, "metadata space is full")
    call = snapshot(cloud, vm, "CREATE")
    refused(call, "OpenNebula-Snap-0", name)
    assert node in call.user_error
    if operation == "snapshot":
        assert "metadata space is full" in call.user_error
        (report,) = cloud.cluster.satellites.reports
        assert f"LINSTOR error report ErrorReport-{report.id}" in call.user_error
    assert cloud.cluster.rd(name).snapshots == {}
    # One of a run that was killed.
    cloud.cluster.satellites.fail(node, "snapshot", "metadata space is full")
    cloud.cluster.snapshots.create(name, {"name": "OpenNebula-Snap-0"})
    done(snapshot(cloud, vm, "CREATE"))
    (made,) = cloud.cluster.rd(name).snapshots.values()
    assert made.flags == {"SUCCESSFUL"}


def test_arguments_that_oned_never_sends(cloud: Cloud) -> None:
    vm = placed(cloud)
    place = f"alice:{cloud.one.disk_path(vm, 0)}"
    wrong = [
        ("0", str(vm.id), "100"),
        (place, "-1", str(vm.id), "100"),
        (place, "0", str(vm.id), "100", "more"),
        (place[:-1] + "7", "0", str(vm.id), "100"),
        ("alice", "0", str(vm.id), "100"),
    ]
    for action in ("snap_create", "snap_create_live", "snap_revert", "snap_delete"):
        for arguments in wrong if action == "snap_create" else wrong[:2]:
            refused(cloud.call(f"tm/{action}", *arguments))
    assert points(cloud, resource_of(vm)) == []
