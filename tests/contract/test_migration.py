# SPDX-License-Identifier: Apache-2.0
"""Live migration behind the port: a window for two nodes that opens, is used, and is closed whatever happens."""

from __future__ import annotations

from typing import Callable

import pytest

from lab.controller import ControllerServer
from lab.controller.names import key
from lab.devices_protocol import DeviceBusy, NoDevices
from linstor_helper import names
from linstor_helper.errors import (
    ControllerError,
    Error,
    InUseError,
    NotFoundError,
    NotReadyError,
    RefusedError,
    UnknownOutcome,
)
from linstor_helper.linstor_api import LinstorController

from .support import OWNER, REST_VERSIONS, SIZE, calls, changes, flags, open_device

DISKLESS = {"DISKLESS", "DRBD_DISKLESS"}
TIE_BREAKER = {*DISKLESS, "TIE_BREAKER"}
OLD = ("1.25.0", "1.26.0", "1.28.0")

Serve = Callable[..., ControllerServer]
Connect = Callable[..., LinstorController]


@pytest.fixture
def vm(controller: LinstorController) -> str:
    """A resource with disks on alice and bob; its tie-breaker is on charlie, and nothing is on dave."""
    controller.spawn("one", "vm-1", SIZE, OWNER)
    return "vm-1"


def close_device(server: ControllerServer, name: str, node: str) -> None:
    devices = server.cluster.devices
    assert isinstance(devices, NoDevices)
    devices.close(f"{key(name)}/0", node)


def windows(server: ControllerServer, name: str) -> set[frozenset[str]]:
    """Pairs of nodes of which DRBD lets both be Primary."""
    return {frozenset(one.lower() for one in pair) for pair in server.cluster.rd(name).windows}


def left_behind(server: ControllerServer, name: str) -> dict[str, str]:
    """Everything that a migration sets, wherever it still stands."""
    rd = server.cluster.rd(name)
    found = {}
    for where in (rd.props, *rd.connections.values()):
        found.update(
            {k: v for k, v in where.items() if k in (names.TWO_PRIMARIES, names.PROTOCOL, names.MIGRATION)}
        )
    return found


def left(server: ControllerServer, name: str, node: str) -> bool:
    """Whether a node is free of a resource: gone, or the tie-breaker that LINSTOR makes of it before REST 1.28."""
    return flags(server, name).get(node, TIE_BREAKER) == TIE_BREAKER


def old(server: ControllerServer) -> bool:
    return server.cluster.rest_version_text in OLD


def tie_breakers(server: ControllerServer, name: str) -> list[str]:
    return [node for node, one in flags(server, name).items() if one == TIE_BREAKER]


@pytest.mark.parametrize(
    ("source", "target"), [("alice", "bob"), ("alice", "dave"), ("dave", "alice"), ("bob", "charlie")]
)
def test_a_migration(
    server: ControllerServer, controller: LinstorController, vm: str, source: str, target: str
) -> None:
    """Between replicas, to and from a node without one, and to the tie-breaker's node."""
    controller.make_available(vm, source)
    open_device(server, vm, source)
    controller.let_migrate(vm, source, target, clients=False)
    assert windows(server, vm) == {frozenset((source, target))}
    assert [set(pair) for pair in controller.two_primaries(vm)] == [{source, target}]
    open_device(server, vm, target)
    with pytest.raises(InUseError, match=f"{vm}.*{source}.*in use"):
        controller.release(vm, source)
    assert windows(server, vm) == {frozenset((source, target))}
    close_device(server, vm, source)
    assert controller.release(vm, source) is True
    assert (windows(server, vm), left_behind(server, vm), controller.two_primaries(vm)) == (set(), {}, [])
    assert flags(server, vm).items() >= {"alice": set(), "bob": set()}.items()
    assert left(server, vm, "dave") or target == "dave"
    assert controller.warnings == []


def test_a_migration_that_failed(server: ControllerServer, controller: LinstorController, vm: str) -> None:
    """The VM stays on the source: the target is released while the source has the volume open."""
    open_device(server, vm, "alice")
    controller.let_migrate(vm, "alice", "dave", clients=False)
    controller.release(vm, "dave")
    assert (windows(server, vm), left_behind(server, vm)) == (set(), {})
    assert left(server, vm, "dave")
    with pytest.raises(DeviceBusy):
        open_device(server, vm, "bob")


def test_two_diskless_nodes(server: ControllerServer, controller: LinstorController, vm: str) -> None:
    """DRBD has no connection between them: the definition must allow it, and must forbid it again."""
    server.cluster.add_node("eve", address="192.0.2.5")
    controller.make_available(vm, "dave")
    open_device(server, vm, "dave")
    before = controller.resource_definition(vm)
    controller.let_migrate(vm, "dave", "eve", clients=True)
    assert frozenset(("dave", "eve")) in windows(server, vm)
    assert server.cluster.rd(vm).props[names.TWO_PRIMARIES] == "yes"
    assert server.cluster.rd(vm).props.get(names.MIGRATION) == ("dave eve" if old(server) else None)
    open_device(server, vm, "eve")
    close_device(server, vm, "dave")
    assert controller.release(vm, "dave") is True
    assert (windows(server, vm), left_behind(server, vm)) == (set(), {})
    assert flags(server, vm)["eve"] == DISKLESS
    assert "dave" not in flags(server, vm)
    assert controller.resource_definition(vm) == before
    assert controller.warnings == []


def test_a_migration_between_diskless_nodes_that_failed(
    server: ControllerServer, controller: LinstorController, vm: str
) -> None:
    server.cluster.add_node("eve", address="192.0.2.5")
    controller.make_available(vm, "dave")
    open_device(server, vm, "dave")
    controller.let_migrate(vm, "dave", "eve", clients=True)
    controller.release(vm, "eve")
    assert (windows(server, vm), left_behind(server, vm)) == (set(), {})
    assert "eve" not in flags(server, vm)
    assert flags(server, vm)["dave"] == DISKLESS


def test_twenty_rounds(server: ControllerServer, controller: LinstorController, vm: str) -> None:
    """From a replica to a diskless node, on to the tie-breaker's, and back: nothing wears out."""
    start = flags(server, vm)
    open_device(server, vm, "alice")
    for _ in range(20):
        for source, target in (("alice", "dave"), ("dave", "charlie"), ("charlie", "alice")):
            diskful = {one.node for one in controller.resources(vm) if not one.diskless}
            controller.let_migrate(vm, source, target, clients=not {source, target} & diskful)
            open_device(server, vm, target)
            close_device(server, vm, source)
            controller.release(vm, source)
            assert (windows(server, vm), left_behind(server, vm)) == (set(), {})
            assert (flags(server, vm)["alice"], flags(server, vm)["bob"]) == (set(), set())
        assert len(tie_breakers(server, vm)) == 1
        assert len(flags(server, vm)) == len(start)
    assert server.cluster.rd(vm).props.get("DrbdOptions/auto-add-quorum-tiebreaker", "True") == "True"
    assert server.cluster.rd(vm).props["DrbdOptions/Resource/quorum"] == "majority"
    assert controller.warnings == []


def test_the_group_has_another_protocol(
    server: ControllerServer, controller: LinstorController, vm: str
) -> None:
    """Two primaries need C; afterwards the group's counts again."""
    server.cluster.groups.modify("one", {"override_props": {names.PROTOCOL: "A"}})
    open_device(server, vm, "alice")
    controller.let_migrate(vm, "alice", "bob", clients=False)
    open_device(server, vm, "bob")
    close_device(server, vm, "alice")
    controller.release(vm, "alice")
    assert left_behind(server, vm) == {}


@pytest.mark.parametrize("server", OLD, indirect=True)
def test_an_administrator_wants_another_protocol(
    server: ControllerServer, controller: LinstorController, vm: str
) -> None:
    """The driver does not know what to set it back to."""
    server.cluster.add_node("eve", address="192.0.2.5")
    controller.modify(vm, {names.PROTOCOL: "B"})
    controller.make_available(vm, "dave")
    with pytest.raises(RefusedError, match=f"^{vm} has DRBD protocol B"):
        controller.let_migrate(vm, "dave", "eve", clients=True)
    assert "eve" not in flags(server, vm)
    assert left_behind(server, vm) == {names.PROTOCOL: "B"}


def test_what_others_set_on_the_definition_goes_with_a_word(
    server: ControllerServer, controller: LinstorController, vm: str
) -> None:
    """Addon-linstor allows it for all nodes, and on ssh and shared system datastores for good."""
    controller.make_available(vm, "dave")
    controller.modify(vm, {names.TWO_PRIMARIES: "yes"})
    controller.release(vm, "dave")
    assert (windows(server, vm), left_behind(server, vm)) == (set(), {})
    if old(server):
        assert controller.warnings == [f"{vm} had {names.TWO_PRIMARIES}, set by somebody else: removed"]


def test_a_shared_volume_stays_one(server: ControllerServer, controller: LinstorController, vm: str) -> None:
    """Release of one VM's node must not end what the other VMs need, nor take disks or the tie-breaker."""
    shared = {names.TWO_PRIMARIES: "yes", names.PROTOCOL: "C", names.SHARED: "yes"}
    server.cluster.add_node("eve", address="192.0.2.5")
    controller.modify(vm, shared)
    for node in ("alice", "dave", "eve"):
        controller.make_available(vm, node)
        open_device(server, vm, node)
    for node in ("alice", "dave"):
        with pytest.raises(InUseError, match=f"{vm}.*{node}"):
            controller.release(vm, node, shared=True)
    for node in ("alice", "dave"):
        close_device(server, vm, node)
        assert controller.release(vm, node, shared=True) is True
    assert server.cluster.rd(vm).props.items() >= shared.items()
    assert frozenset(("alice", "eve")) in windows(server, vm)
    assert flags(server, vm)["alice"] == set()
    assert "dave" not in flags(server, vm)
    assert controller.release(vm, "dave", shared=True) is False
    for node in tie_breakers(server, vm):
        assert controller.release(vm, node, shared=True) is True
        assert flags(server, vm)[node] == TIE_BREAKER


def test_a_volume_is_shared_no_longer(
    server: ControllerServer, controller: LinstorController, vm: str
) -> None:
    """Its mark says who allowed it: nothing to warn of."""
    server.cluster.add_node("eve", address="192.0.2.5")
    controller.modify(vm, {names.TWO_PRIMARIES: "yes", names.PROTOCOL: "C", names.SHARED: "yes"})
    for node in ("dave", "eve"):
        controller.make_available(vm, node)
    controller.release(vm, "dave")
    assert windows(server, vm) == set()
    assert controller.warnings == []


def test_nothing_of_one_resource_touches_another(
    server: ControllerServer, controller: LinstorController, vm: str
) -> None:
    controller.spawn("one", "vm-10", SIZE, OWNER)
    for name in (vm, "vm-10"):
        open_device(server, name, "alice")
        controller.let_migrate(name, "alice", "bob", clients=False)
    controller.release(vm, "bob")
    assert windows(server, "vm-10") == {frozenset(("alice", "bob"))}
    assert (windows(server, vm), left_behind(server, vm)) == (set(), {})


def test_what_cannot_be_migrated(server: ControllerServer, controller: LinstorController, vm: str) -> None:
    before = flags(server, vm)
    for clients in (False, True):
        with pytest.raises(NotFoundError, match="no-such-node"):
            controller.let_migrate(vm, "alice", "no-such-node", clients=clients)
        with pytest.raises(NotFoundError, match="vm-none"):
            controller.let_migrate("vm-none", "alice", "bob", clients=clients)
    assert (flags(server, vm), left_behind(server, vm)) == (before, {})
    assert controller.two_primaries("vm-none") == []
    assert controller.release("vm-none", "alice") is False
    assert controller.release("vm-none", "alice", shared=True) is False


def test_a_target_that_is_offline(server: ControllerServer, controller: LinstorController, vm: str) -> None:
    open_device(server, vm, "alice")
    server.cluster.set_online("dave", False)
    with pytest.raises(NotReadyError, match=f"dave.*{vm}"):
        controller.let_migrate(vm, "alice", "dave", clients=False)
    assert "dave" not in flags(server, vm)
    assert left_behind(server, vm) == {}


@pytest.mark.parametrize("server", ["1.29.1"], indirect=True)
def test_another_migration_is_under_way(
    server: ControllerServer, controller: LinstorController, vm: str
) -> None:
    open_device(server, vm, "alice")
    controller.let_migrate(vm, "alice", "bob", clients=False)
    with pytest.raises(NotReadyError, match=vm):
        controller.let_migrate(vm, "alice", "dave", clients=False)
    assert windows(server, vm) == {frozenset(("alice", "bob"))}


@pytest.mark.parametrize("server", OLD, indirect=True)
@pytest.mark.parametrize("released", ["dave", "charlie", "bob"])
def test_an_earlier_migration_that_nobody_ended(
    server: ControllerServer, controller: LinstorController, vm: str, released: str
) -> None:
    """Any release ends it: that of another node, of a node without the resource, of the tie-breaker."""
    open_device(server, vm, "alice")
    controller.let_migrate(vm, "alice", "bob", clients=False)
    controller.release(vm, released)
    assert (windows(server, vm), left_behind(server, vm)) == (set(), {})


@pytest.mark.parametrize("server", ["1.29.1"], indirect=True)
@pytest.mark.parametrize("released", ["dave", "charlie", "bob"])
def test_an_earlier_migration_that_the_controller_manages(
    server: ControllerServer, controller: LinstorController, vm: str, released: str
) -> None:
    test_an_earlier_migration_that_nobody_ended(server, controller, vm, released)


def test_what_was_allowed_by_hand_can_be_forbidden(
    server: ControllerServer, controller: LinstorController, vm: str
) -> None:
    allowed = {names.TWO_PRIMARIES: "yes", names.PROTOCOL: "C", "DrbdOptions/Net/ping-timeout": "9"}
    server.cluster.connections.modify(vm, "alice", "bob", {"override_props": allowed})
    server.cluster.connections.modify(vm, "bob", "charlie", {"override_props": {names.TWO_PRIMARIES: "no"}})
    assert controller.two_primaries(vm) == [("alice", "bob")]
    controller.forbid_two_primaries(vm, ("bob", "alice"))
    assert controller.two_primaries(vm) == []
    assert windows(server, vm) == set()
    assert server.cluster.rd(vm).connections["ALICE", "BOB"] == {"DrbdOptions/Net/ping-timeout": "9"}
    controller.forbid_two_primaries(vm, ("alice", "bob"))


@pytest.mark.parametrize("pair", [("alice", "dave"), ("dave", "alice"), ("alice", "no-such-node")])
def test_a_pair_that_is_no_more(
    server: ControllerServer, controller: LinstorController, vm: str, pair: tuple[str, str]
) -> None:
    """Its connection went with the resource; servers before REST 1.29 answer an unknown error."""
    controller.forbid_two_primaries(vm, pair)
    controller.forbid_two_primaries("vm-none", pair)


def test_drbd_does_not_forbid_while_both_are_primary(
    server: ControllerServer, controller: LinstorController, vm: str
) -> None:
    """Told, and nothing is taken away; as soon as one has closed the volume it works."""
    server.cluster.connections.modify(vm, "alice", "bob", {"override_props": {names.TWO_PRIMARIES: "yes"}})
    controller.make_available(vm, "dave")
    for node in ("alice", "bob"):
        open_device(server, vm, node)
    with pytest.raises(ControllerError, match=f"Failed to adjust.*{vm}"):
        controller.forbid_two_primaries(vm, ("alice", "bob"))
    assert windows(server, vm) == {frozenset(("alice", "bob"))}
    if old(server):
        server.cluster.connections.modify(
            vm, "alice", "bob", {"override_props": {names.TWO_PRIMARIES: "yes"}}
        )
        with pytest.raises(ControllerError, match=f"Failed to adjust.*{vm}"):
            controller.release(vm, "dave")
        assert flags(server, vm)["dave"] == DISKLESS
    close_device(server, vm, "alice")
    controller.forbid_two_primaries(vm, ("alice", "bob"))
    controller.release(vm, "dave")
    assert windows(server, vm) == set()
    assert left(server, vm, "dave")


@pytest.mark.parametrize("server", OLD, indirect=True)
@pytest.mark.parametrize("step", ["POST", "PUT"])
@pytest.mark.parametrize("action", ["fail_before", "lose_reply"])
@pytest.mark.parametrize("clients", [False, True])
def test_lost_replies_of_a_beginning(
    server: ControllerServer, controller: LinstorController, vm: str, step: str, action: str, clients: bool
) -> None:
    """Never sent again blindly; the caller's undo is the release of the target."""
    server.cluster.add_node("eve", address="192.0.2.5")
    source, target = ("dave", "eve") if clients else ("alice", "bob")
    controller.make_available(vm, source)
    open_device(server, vm, source)
    sent = len(changes(server))
    server.faults.add(action, method=step)
    with pytest.raises(UnknownOutcome):
        controller.let_migrate(vm, source, target, clients=clients)
    assert len(changes(server)) - sent == {"POST": 1, "PUT": 2}[step]
    controller.release(vm, target)
    assert (windows(server, vm), left_behind(server, vm)) == (set(), {})
    assert "eve" not in flags(server, vm)
    controller.let_migrate(vm, source, target, clients=clients)
    assert frozenset((source, target)) in windows(server, vm)


@pytest.mark.parametrize("step", ["PUT", "DELETE"])
@pytest.mark.parametrize("action", ["fail_before", "lose_reply"])
@pytest.mark.parametrize("clients", [False, True])
def test_lost_replies_of_an_end(
    server: ControllerServer, controller: LinstorController, vm: str, step: str, action: str, clients: bool
) -> None:
    """Done again it ends at the same state."""
    server.cluster.add_node("eve", address="192.0.2.5")
    source, target = ("dave", "eve") if clients else ("alice", "dave")
    controller.make_available(vm, source)
    open_device(server, vm, source)
    controller.let_migrate(vm, source, target, clients=clients)
    server.faults.add(action, method=step if old(server) else "POST")
    with pytest.raises(UnknownOutcome):
        controller.release(vm, target)
    controller.release(vm, target)
    assert (windows(server, vm), left_behind(server, vm)) == (set(), {})
    assert left(server, vm, target)
    assert flags(server, vm)[source] == (DISKLESS if clients else set())


@pytest.mark.parametrize("server", OLD, indirect=True)
@pytest.mark.parametrize("step", ["PUT", "DELETE"])
def test_somebody_deletes_the_volume_meanwhile(
    server: ControllerServer, controller: LinstorController, vm: str, step: str
) -> None:
    controller.let_migrate(vm, "alice", "dave", clients=False)
    server.faults.add(
        "call_before",
        method=step,
        path=vm,
        callback=lambda *_: server.cluster.deletion.delete_definition(vm),
    )
    assert controller.release(vm, "dave") is True
    assert vm.upper() not in server.cluster.rds


def test_a_source_that_is_gone(server: ControllerServer, controller: LinstorController, vm: str) -> None:
    """Its host died in the middle: LINSTOR does not know whether it has the volume open, and DRBD has lost it."""
    controller.make_available(vm, "dave")
    open_device(server, vm, "dave")
    controller.let_migrate(vm, "dave", "alice", clients=False)
    server.cluster.set_online("dave", False)
    close_device(server, vm, "dave")
    assert controller.release(vm, "dave") is True
    assert any("dave" in one for one in controller.warnings)
    assert left_behind(server, vm) == {}
    dave = {one.node: one for one in controller.resources(vm)}["dave"]
    assert dave.deleting or dave.tie_breaker
    server.cluster.set_online("dave", True)
    assert left(server, vm, "dave")
    assert windows(server, vm) == set()


def test_regroup(server: ControllerServer, controller: LinstorController, vm: str) -> None:
    """Replicas stay where they are, and those that the group wants besides are added."""
    controller.regroup(vm, "one-three")
    assert server.cluster.rd(vm).group == "one-three"
    assert {one.node for one in server.cluster.rd(vm).diskful} == {"alice", "bob", "charlie"}
    controller.regroup(vm, "one")
    made = controller.resource_definition(vm)
    assert made is not None
    assert made.resource_group == "one"
    assert made.properties.items() >= OWNER.items()
    assert {one.node for one in server.cluster.rd(vm).diskful} == {"alice", "bob", "charlie"}


def test_regroup_of_what_is_not_there(controller: LinstorController, vm: str) -> None:
    with pytest.raises(NotFoundError, match="no-such-group"):
        controller.regroup(vm, "no-such-group")
    with pytest.raises(NotFoundError, match="vm-none"):
        controller.regroup("vm-none", "one")
    made = controller.resource_definition(vm)
    assert made is not None
    assert made.resource_group == "one"


def test_a_stack_without_drbd(serve: Serve, connect: Connect) -> None:
    """Nothing keeps two nodes apart there, and nothing can be allowed to them."""
    for version in REST_VERSIONS:
        server = serve(version)
        server.cluster.groups.modify("one", {"select_filter": {"layer_stack": ["STORAGE"], "place_count": 1}})
        controller = connect(server.url)
        controller.spawn("one", "vm-1", SIZE, {})
        (only,) = controller.resources("vm-1")
        with pytest.raises(Error):
            controller.let_migrate("vm-1", only.node, "bob", clients=False)
        assert controller.two_primaries("vm-1") == []
        assert controller.release("vm-1", only.node) is True
        assert [one.node for one in controller.resources("vm-1")] == [only.node]
        assert calls(server)
