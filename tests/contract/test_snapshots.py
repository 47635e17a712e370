# SPDX-License-Identifier: Apache-2.0
"""Snapshots behind ``ports.Controller``: what every cluster does, and what the simulated one has afterwards."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from lab.controller import ControllerServer
from lab.devices_protocol import NoDevices
from linstor_helper.errors import (
    CannotSnapshot,
    ConflictError,
    ControllerError,
    Error,
    InUseError,
    NotFoundError,
    NotReadyError,
    RefusedError,
)
from linstor_helper.linstor_api import LinstorController
from linstor_helper.units import Size

from .support import OWNER, SIZE, Subject, calls, json_reply, speaking

Serve = Callable[..., ControllerServer]
Connect = Callable[..., LinstorController]

A, B = b"a" * 4096, b"b" * 4096
LUKS = ["DRBD", "LUKS", "STORAGE"]


@pytest.fixture
def vm(controller: LinstorController) -> str:
    """A resource with disks on alice and bob, a tie-breaker on charlie, and AAAA in front."""
    controller.spawn("one", "vm-1", SIZE, OWNER)
    return "vm-1"


@pytest.fixture
def devices(server: ControllerServer) -> NoDevices:
    assert isinstance(server.cluster.devices, NoDevices)
    return server.cluster.devices


class TestEveryCluster:
    def test_version(self, subject: Subject) -> None:
        assert (1, 31) <= subject.controller.version() < (3,)
        assert all(isinstance(part, int) for part in subject.controller.version())

    def test_take_list_and_delete(self, subject: Subject) -> None:
        name = subject.spawn()
        assert subject.controller.snapshots(name) == []
        for snapshot in ("First", "second"):
            subject.controller.take_snapshot(name, snapshot)
        found = {one.name: one for one in subject.controller.snapshots(name.lower())}
        assert set(found) == {"First", "second"}
        assert all(one.usable for one in found.values())
        assert {frozenset(one.nodes) for one in found.values()} == {frozenset(subject.diskful(name))}
        assert {one.sizes for one in found.values()} == {(SIZE,)}
        subject.controller.delete_snapshot(name, "first")
        assert [one.name for one in subject.controller.snapshots(name)] == ["second"]

    def test_a_taken_name(self, subject: Subject) -> None:
        name = subject.spawn()
        subject.controller.take_snapshot(name, "Snap")
        before = subject.controller.snapshots(name)
        with pytest.raises(ConflictError, match=r"(?i)snap"):
            subject.controller.take_snapshot(name, "SNAP")
        assert subject.controller.snapshots(name) == before

    def test_what_is_not_there(self, subject: Subject) -> None:
        name = subject.spawn()
        assert subject.controller.snapshots("OneTest-none") == []
        subject.controller.delete_snapshot(name, "none")
        subject.controller.delete_snapshot("OneTest-none", "none")
        for call in (subject.controller.roll_back, subject.controller.take_snapshot):
            with pytest.raises(NotFoundError, match="OneTest-none"):
                call("OneTest-none", "s1")
        with pytest.raises(NotFoundError, match="no-such-snap"):
            subject.controller.roll_back(name, "no-such-snap")

    def test_roll_back_to_one_that_is_not_the_newest(self, subject: Subject) -> None:
        """The size is that of the snapshot, all snapshots stay, and so do the replicas."""
        name = subject.spawn()
        replicas = subject.diskful(name)
        subject.controller.take_snapshot(name, "s1")
        subject.controller.take_snapshot(name, "s2")
        subject.controller.roll_back(name, "s1")
        made = subject.controller.resource_definition(name)
        assert made is not None
        assert made.sizes == (SIZE,)
        assert made.properties.items() >= OWNER.items()
        assert {one.name for one in subject.controller.snapshots(name) if one.usable} == {"s1", "s2"}
        assert subject.diskful(name) == replicas

    def test_restore(self, subject: Subject) -> None:
        """Properties of the time of the snapshot win over those of the call, which win over none."""
        source, name = subject.spawn(), subject.name()
        subject.controller.take_snapshot(source, "s1")
        subject.controller.modify(source, {"Aux/one/vm": "9"})
        wanted = {"Aux/one/datastore": "7", "Aux/one/image": "5"}
        subject.controller.restore(source, "S1", name, group=subject.group, properties=wanted)
        made = subject.controller.resource_definition(name)
        assert made is not None
        assert (made.name, made.resource_group, made.sizes) == (name, subject.group, (SIZE,))
        aux = {key: value for key, value in made.properties.items() if key.startswith("Aux/")}
        assert aux == {**OWNER, "Aux/one/image": "5"}
        assert subject.diskful(name) == subject.diskful(source)
        assert {one.layers for one in subject.controller.resources(name)} == {
            one.layers for one in subject.controller.resources(source)
        }
        # an independent object: the snapshot and its source can go
        assert subject.controller.delete(source) is True
        assert subject.controller.resource_definition(name) is not None

    def test_restore_into_a_taken_name(self, subject: Subject) -> None:
        source, taken = subject.spawn(), subject.spawn()
        subject.controller.take_snapshot(source, "s1")
        before = (subject.controller.resource_definition(taken), subject.controller.resources(taken))
        with pytest.raises(ConflictError, match=f"(?i){taken}"):
            subject.controller.restore(
                source, "s1", taken.upper(), group=subject.group, properties={"Aux/a": "1"}
            )
        assert (subject.controller.resource_definition(taken), subject.controller.resources(taken)) == before

    def test_restore_of_what_is_not_there(self, subject: Subject) -> None:
        source, name = subject.spawn(), subject.name()
        with pytest.raises(NotFoundError, match="no-such-group"):
            subject.controller.restore(source, "s1", name, group="no-such-group", properties={})
        assert subject.controller.resource_definition(name) is None
        with pytest.raises(NotFoundError, match="no-such-snap"):
            subject.controller.restore(source, "no-such-snap", name, group=subject.group, properties={})
        left = subject.controller.resource_definition(name)
        assert left is not None
        assert left.sizes == ()

    def test_replicas_tell_their_size(self, subject: Subject) -> None:
        name = subject.spawn()
        subject.controller.resize(name, Size.of_mib(13))
        for found in (subject.controller.resources(name), subject.controller.placement(name)):
            sizes = {one.size for one in found if not one.diskless}
            assert sizes
            assert all(one is not None and one >= Size.of_mib(13) for one in sizes)


def test_the_bytes_are_those_of_the_snapshot(
    controller: LinstorController, devices: NoDevices, vm: str
) -> None:
    """Also when it is taken while the volume is in use, and deleted then."""
    devices.write("VM-1/0", 0, A)
    devices.open("VM-1/0", "alice")
    controller.take_snapshot(vm, "s1")
    controller.take_snapshot(vm, "s2")
    controller.delete_snapshot(vm, "s2")
    devices.write("VM-1/0", 0, B)
    controller.restore(vm, "s1", "vm-2", group="one-three", properties={})
    assert devices.read("VM-2/0", 0, 4096) == A
    with pytest.raises(InUseError, match=r"vm-1.*alice"):
        controller.roll_back(vm, "s1")
    assert devices.read("VM-1/0", 0, 4096) == B
    devices.close("VM-1/0", "alice")
    controller.roll_back(vm, "s1")
    assert devices.read("VM-1/0", 0, 4096) == A


def test_a_replica_without_snapshot_is_told(
    server: ControllerServer, controller: LinstorController, vm: str
) -> None:
    server.cluster.set_online("bob", False)
    controller.take_snapshot(vm, "s1")
    (found,) = controller.snapshots(vm)
    assert (found.nodes, found.usable) == (("alice",), True)
    assert any("bob" in warning for warning in controller.warnings)


def test_all_replicas_are_being_evacuated(
    server: ControllerServer, controller: LinstorController, vm: str
) -> None:
    """The volume is there: LINSTOR speaks of resources that it finds none of."""
    for node in ("alice", "bob"):
        server.cluster.node(node).flags.add("EVACUATE")
    with pytest.raises(NotReadyError):
        controller.take_snapshot(vm, "s1")
    assert controller.snapshots(vm) == []


def test_no_replica_is_reachable(server: ControllerServer, controller: LinstorController, vm: str) -> None:
    for node in ("alice", "bob"):
        server.cluster.set_online(node, False)
    with pytest.raises(NotReadyError, match="vm-1"):
        controller.take_snapshot(vm, "s1")
    assert controller.snapshots(vm) == []


def test_a_replica_that_is_not_up_to_date(
    server: ControllerServer, controller: LinstorController, vm: str
) -> None:
    server.cluster.sync_seconds = 60.0
    server.cluster.availability.make(vm, "charlie", {"diskful": True})
    with pytest.raises(NotReadyError):
        controller.take_snapshot(vm, "s1")
    assert controller.snapshots(vm) == []


def test_a_provider_without_snapshots(serve: Serve, connect: Connect) -> None:
    """Thick LVM has them since LINSTOR 1.35."""
    controller = connect(serve("1.28.0", provider="LVM").url)
    controller.spawn("one", "vm-1", SIZE, {})
    with pytest.raises(CannotSnapshot, match="vm-1"):
        controller.take_snapshot("vm-1", "s1")
    assert controller.snapshots("vm-1") == []
    newer = connect(serve("1.29.1", provider="LVM").url)
    newer.spawn("one", "vm-1", SIZE, {})
    newer.take_snapshot("vm-1", "s1")
    assert newer.snapshots("vm-1")[0].usable


def test_snapshots_that_prevent_growth(serve: Serve, connect: Connect) -> None:
    """Those of plain LVM, which have a size of their own."""
    controller = connect(serve("1.29.1", provider="LVM").url)
    controller.spawn("one", "vm-1", SIZE, {})
    controller.take_snapshot("vm-1", "s1")
    with pytest.raises(RefusedError, match=r"vm-1.*snapshot"):
        controller.resize("vm-1", Size.of_mib(16))
    controller.delete_snapshot("vm-1", "s1")
    controller.resize("vm-1", Size.of_mib(16))
    grown = controller.resource_definition("vm-1")
    assert grown is not None
    assert grown.sizes == (Size.of_mib(16),)


def test_a_failed_one_is_a_record_that_is_good_for_nothing(
    server: ControllerServer, controller: LinstorController, vm: str
) -> None:
    server.cluster.satellites.fail("bob", "snapshot", "no space left in the thin pool")
    with pytest.raises(Error, match=r"no space left in the thin pool.*ErrorReport"):
        controller.take_snapshot(vm, "s1")
    (found,) = controller.snapshots(vm)
    assert not found.usable
    with pytest.raises(ControllerError):
        controller.roll_back(vm, "s1")
    with pytest.raises(ControllerError):
        controller.restore(vm, "s1", "vm-2", group="one", properties={})
    controller.delete_snapshot(vm, "s1")
    assert controller.snapshots(vm) == []
    controller.take_snapshot(vm, "s1")
    assert controller.snapshots(vm)[0].usable


def test_no_rollback_while_a_node_is_offline(
    server: ControllerServer, controller: LinstorController, devices: NoDevices, vm: str
) -> None:
    controller.take_snapshot(vm, "s1")
    devices.write("VM-1/0", 0, B)
    server.cluster.set_online("charlie", False)
    with pytest.raises(NotReadyError, match="charlie"):
        controller.roll_back(vm, "s1")
    assert devices.read("VM-1/0", 0, 4096) == B


def test_a_definition_without_resources_is_made_anew(
    server: ControllerServer, controller: LinstorController, devices: NoDevices, vm: str
) -> None:
    """It had another size meanwhile; its replicas are those of the snapshot."""
    devices.write("VM-1/0", 0, A)
    controller.take_snapshot(vm, "s1")
    controller.resize(vm, Size.of_mib(32))
    for node in ("charlie", "alice", "bob"):
        server.cluster.deletion.delete_resource(vm, node)
    assert controller.resources(vm) == []
    with pytest.raises(NotFoundError, match="no-such-snap"):
        controller.rebuild(vm, "no-such-snap")
    controller.rebuild(vm, "S1")
    made = controller.resource_definition(vm)
    assert made is not None
    assert made.sizes == (SIZE,)
    assert {one.node for one in controller.resources(vm) if not one.diskless} == {"alice", "bob"}
    assert devices.read("VM-1/0", 0, 4096) == A


def test_what_has_resources_is_not_made_anew(
    controller: LinstorController, devices: NoDevices, vm: str
) -> None:
    controller.take_snapshot(vm, "s1")
    devices.write("VM-1/0", 0, B)
    before = controller.resources(vm)
    with pytest.raises(ConflictError, match="vm-1"):
        controller.rebuild(vm, "s1")
    assert controller.resources(vm) == before
    assert devices.read("VM-1/0", 0, 4096) == B


def test_zfs_does_not_roll_back_itself(serve: Serve, connect: Connect) -> None:
    """Not even where a cluster is set to let it: it does so on one node after the other, and to the newest only."""
    server = serve("1.28.0", provider="ZFS_THIN")
    controller = connect(server.url)
    controller.spawn("one", "vm-1", SIZE, {"StorDriver/Zfs/RollbackStrategy": "Rollback"})
    controller.take_snapshot("vm-1", "s1")
    controller.take_snapshot("vm-1", "s2")
    made = {one.uuid for one in controller.resources("vm-1")}
    controller.roll_back("vm-1", "s1")
    assert not made & {one.uuid for one in controller.resources("vm-1") if not one.diskless}
    assert {one.name for one in controller.snapshots("vm-1") if one.usable} == {"s1", "s2"}


def test_a_restored_volume_is_encrypted_as_its_source(serve: Serve, connect: Connect) -> None:
    server = serve("1.28.0")
    server.cluster.settings.create_passphrase("secret")
    server.cluster.groups.modify("one", {"select_filter": {"layer_stack": LUKS}})
    controller = connect(server.url)
    controller.spawn("one", "vm-1", SIZE, {})
    controller.take_snapshot("vm-1", "s1")
    controller.restore("vm-1", "s1", "vm-2", group="one", properties={})
    assert [one.layers for one in controller.resources("vm-2") if not one.diskless] == [tuple(LUKS)] * 2


def test_added_replicas_are_told_the_layers(serve: Serve, connect: Connect) -> None:
    """The group of a copy need not be that of its original; else a replica would be there without encryption."""
    server = serve("1.28.0")
    server.cluster.settings.create_passphrase("secret")
    server.cluster.groups.modify("one", {"select_filter": {"layer_stack": LUKS}})
    controller = connect(server.url)
    controller.spawn("one", "vm-1", SIZE, {})
    controller.regroup("vm-1", "one-three")
    controller.place("vm-1")
    assert server.requests[-1].body == {"select_filter": {"layer_stack": LUKS}}


def used(server: ControllerServer, node: str = "alice") -> int:
    """KiB of the node's pool that hold something."""
    return server.cluster.node(node).pools["THIN"].space.used


@pytest.mark.parametrize("inherited", ["true", "false"])
@pytest.mark.parametrize("dependent", [True, False])
def test_the_call_decides_whether_a_copy_shares_blocks(
    serve: Serve, connect: Connect, dependent: bool, inherited: str
) -> None:
    """Whatever the group says."""
    server = serve("1.25.0", provider="ZFS_THIN")
    server.cluster.groups.modify("one", {"override_props": {"UseZFSClone": inherited}})
    controller = connect(server.url)
    controller.spawn("one", "vm-1", SIZE, {})
    assert isinstance(server.cluster.devices, NoDevices)
    server.cluster.devices.write("VM-1/0", 0, A * 256)
    wishes: dict[str, Any] = {"group": None, "properties": {}, "drop": [], "size": None}
    controller.clone("vm-1", "vm-2", **wishes, dependent=dependent)
    for _ in range(100):
        if controller.clone_state("vm-1", "vm-2") == "COMPLETE":
            break
    server.cluster.pools.refresh()
    assert used(server) == (1024 if dependent else 2048)
    assert controller.delete("vm-1") is True
    assert server.cluster.devices.read("VM-2/0", 0, 4096) == A


REFUSED = b'[{"ret_code":-4611686018373385724,"message":"Strategy DELETE does not go with snapshots"}]'
DONE = b'[{"ret_code":%d,"message":"done"}]'
TAKEN_AWAY: dict[str, Callable[[LinstorController], bool]] = {
    "definition": lambda one: one.delete("vm-1"),
    "resource without a disk": lambda one: one.release("vm-1", "dave"),
}


@pytest.mark.parametrize("what", TAKEN_AWAY)
def test_a_cluster_that_does_not_keep_what_others_depend_on(connect: Connect, what: str) -> None:
    """Refused with 516, told to keep it for this definition, and gone."""
    version = json_reply(b'{"version":"1.35.0-rc.1","rest_api_version":"1.29.1"}')
    refused = json_reply(REFUSED, b"500 Internal Server Error")
    with speaking(version, refused, json_reply(DONE % 3), json_reply(DONE % 2)) as other:
        controller = connect(other.url)
        assert controller.version() == (1, 35, 0)
        assert TAKEN_AWAY[what](controller) is True
    first, change, second = other.heard[1:]
    assert first == second
    assert change.startswith(b"PUT /v1/resource-definitions/vm-1 ")
    assert b'{"StorDriver/Zfs/DeleteStrategy": "Rename"}' in change


def test_what_it_costs(server: ControllerServer, controller: LinstorController, vm: str) -> None:
    seen = len(server.requests)
    controller.version()
    controller.snapshots(vm)
    controller.take_snapshot(vm, "s1")
    controller.restore(vm, "s1", "vm-2", group="one", properties={})
    controller.roll_back(vm, "s1")
    controller.delete_snapshot(vm, "s1")
    rd = f"/resource-definitions/{vm}"
    assert calls(server, seen) == [
        f"GET {rd}/snapshots",
        f"POST {rd}/snapshots",
        "POST /resource-definitions",
        f"POST {rd}/snapshot-restore-volume-definition/s1",
        f"POST {rd}/snapshot-restore-resource/s1",
        f"POST {rd}/snapshot-rollback/s1",
        f"DELETE {rd}/snapshots/s1",
    ]
    assert server.connections == 1
