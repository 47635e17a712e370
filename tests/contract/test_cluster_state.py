# SPDX-License-Identifier: Apache-2.0
"""States that only a simulator can be brought into (in use, offline, full), seen in its database."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from lab.controller import ControllerServer
from linstor_helper.errors import (
    CannotClone,
    ControllerError,
    InUseError,
    NoSpaceError,
    NotReadyError,
)
from linstor_helper.linstor_api import LinstorController
from linstor_helper.units import Size

from .support import OWNER, SIZE, flags, open_device

TIE_BREAKER = {"DISKLESS", "DRBD_DISKLESS", "TIE_BREAKER"}
DISKLESS = {"DISKLESS", "DRBD_DISKLESS"}

Serve = Callable[..., ControllerServer]
Connect = Callable[..., LinstorController]


@pytest.fixture
def vm(controller: LinstorController) -> str:
    """A resource with disks on alice and bob; its tie-breaker is on charlie."""
    controller.spawn("one", "vm-1", SIZE, OWNER)
    return "vm-1"


def clone(controller: LinstorController, source: str, name: str, **wishes: Any) -> Any:
    return controller.clone(
        source,
        name,
        **{"group": None, "properties": {}, "drop": [], "size": None, "dependent": False, **wishes},
    )


def test_spawned_as_the_group_says(server: ControllerServer, controller: LinstorController, vm: str) -> None:
    assert flags(server, vm) == {"alice": set(), "bob": set(), "charlie": TIE_BREAKER}
    rd = server.cluster.rd(vm)
    assert {number: one.size_kib for number, one in rd.volumes.items()} == {0: SIZE.kib_up}
    assert rd.props.items() >= OWNER.items()


def test_a_resource_tells_its_state(server: ControllerServer, controller: LinstorController, vm: str) -> None:
    open_device(server, vm, "alice")
    server.cluster.set_online("bob", False)
    alice, bob, charlie = controller.resources(vm)
    assert (alice.in_use, bob.in_use, charlie.in_use) == (True, None, False)
    assert (alice.silent, bob.silent) == (False, True)
    assert (alice.disk_state, bob.disk_state, charlie.disk_state) == ("UpToDate", None, "Diskless")
    assert alice.layers == ("DRBD", "STORAGE")
    assert {alice.device_path, bob.device_path, charlie.device_path} == {"/dev/drbd1000"}
    assert (charlie.tie_breaker, charlie.diskless, alice.diskless) == (True, True, False)


def test_a_resource_tells_whether_drbd_would_promote(
    server: ControllerServer, controller: LinstorController, vm: str
) -> None:
    """Not without quorum, not while a node writes, also not that one; unknown when the satellite is gone."""

    def told() -> dict[str, tuple[bool | None, tuple[str, ...]]]:
        return {one.node: (one.may_promote, one.lost) for one in controller.resources(vm)}

    assert told() == {"alice": (True, ()), "bob": (True, ()), "charlie": (True, ())}
    server.cluster.partition(["alice"], ["bob", "charlie"])
    assert told() == {
        "alice": (False, ("bob", "charlie")),
        "bob": (True, ("alice",)),
        "charlie": (True, ("alice",)),
    }
    server.cluster.heal()
    open_device(server, vm, "alice")
    assert {may for may, _ in told().values()} == {False}
    server.cluster.set_online("alice", False)
    assert {node: may for node, (may, _) in told().items()} == {"alice": None, "bob": True, "charlie": True}
    assert told()["bob"][1] == ("alice",)


def test_a_replica_that_a_satellite_could_not_make(
    server: ControllerServer, controller: LinstorController
) -> None:
    """The definition stays behind (REST guide 2.4); the error says whose work failed and where to read on."""
    server.cluster.satellites.fail("bob", "create", "Failed to create the logical volume")
    with pytest.raises(ControllerError, match=r"\(bob\) .*logical volume.*LINSTOR error report") as failed:
        controller.spawn("one", "vm-1", SIZE, OWNER)
    assert failed.value.reports == tuple(f"ErrorReport-{one.id}" for one in server.cluster.satellites.reports)
    assert "vm-1" in failed.value.what
    bob = {one.node: one for one in controller.resources("vm-1")}["bob"]
    assert bob.device_path is None


@pytest.mark.parametrize(
    ("layers", "path"),
    [(["STORAGE"], "/dev/vg0/vm-1_00000"), (["LUKS", "STORAGE"], "/dev/mapper/Linstor-Crypt-vm-1_00000")],
)
def test_the_device_of_a_stack_without_drbd(
    serve: Serve, connect: Connect, layers: list[str], path: str
) -> None:
    server = serve()
    server.cluster.settings.create_passphrase("secret")
    server.cluster.groups.modify("one", {"select_filter": {"layer_stack": layers, "place_count": 1}})
    controller = connect(server.url)
    controller.spawn("one", "vm-1", SIZE, {})
    (only,) = controller.resources("vm-1")
    rd = server.cluster.rd("vm-1")
    assert only.layers == tuple(layers)
    assert only.device_path == path == server.cluster.attachment.paths(rd, rd.diskful[0], 0)[0]
    assert (only.in_use, only.disk_state) == (None, None)


def test_a_shrink_that_linstor_would_obey_is_not_asked_for(serve: Serve, connect: Connect) -> None:
    server = serve()
    server.cluster.groups.modify("one", {"select_filter": {"layer_stack": ["STORAGE"], "place_count": 1}})
    controller = connect(server.url)
    controller.spawn("one", "vm-1", SIZE, {})
    controller.resize("vm-1", Size.of_mib(4))
    assert server.cluster.rd("vm-1").volumes[0].size_kib == SIZE.kib_up


def test_somebody_else_resizes_at_the_same_time(
    server: ControllerServer, controller: LinstorController, vm: str
) -> None:
    """The volume is larger than wanted when our request arrives: refused, read back, fine."""
    larger = Size.of_mib(32).kib_up
    server.faults.add(
        "call_before",
        method="PUT",
        callback=lambda *_: server.cluster.volume_definitions.modify(vm, 0, {"size_kib": larger}),
    )
    controller.resize(vm, Size.of_mib(16))
    assert server.cluster.rd(vm).volumes[0].size_kib == larger


def test_no_resize_while_a_replica_is_offline(
    server: ControllerServer, controller: LinstorController, vm: str
) -> None:
    server.cluster.set_online("bob", False)
    with pytest.raises(NotReadyError, match="bob"):
        controller.resize(vm, Size.of_mib(16))
    assert server.cluster.rd(vm).volumes[0].size_kib == SIZE.kib_up


def test_delete_takes_the_snapshots_along(
    server: ControllerServer, controller: LinstorController, vm: str
) -> None:
    controller.spawn("one", "vm-10", SIZE, OWNER)
    for resource, snapshot in ((vm, "s1"), (vm, "S2"), ("vm-10", "s1")):
        server.cluster.snapshots.create(resource, {"name": snapshot})
    assert controller.delete(vm) is True
    assert set(server.cluster.rds) == {"VM-10"}
    assert set(server.cluster.rd("vm-10").snapshots) == {"S1"}


def test_delete_of_what_is_in_use(server: ControllerServer, controller: LinstorController, vm: str) -> None:
    open_device(server, vm, "bob")
    with pytest.raises(InUseError, match=r"vm-1.*bob"):
        controller.delete(vm)
    assert flags(server, vm) == {"alice": set(), "bob": set(), "charlie": TIE_BREAKER}


def test_delete_with_an_offline_satellite_is_put_off(
    server: ControllerServer, controller: LinstorController, vm: str
) -> None:
    server.cluster.set_online("bob", False)
    assert controller.delete(vm) is True
    assert any("bob" in one for one in controller.warnings)
    rest = controller.resource_definition(vm)
    assert rest is not None
    assert rest.deleting
    assert controller.delete(vm) is True
    server.cluster.set_online("bob", True)
    assert controller.delete(vm) is False


def test_attach_to_an_offline_node(server: ControllerServer, controller: LinstorController, vm: str) -> None:
    """Told with HTTP 404 and the code of a missing pool; nothing is missing, the node is not ready."""
    server.cluster.set_online("dave", False)
    with pytest.raises(NotReadyError, match=r"dave.*vm-1"):
        controller.make_available(vm, "dave")
    assert "dave" not in flags(server, vm)


def test_attach_where_the_device_cannot_appear_yet(
    server: ControllerServer, controller: LinstorController, vm: str
) -> None:
    controller.make_available(vm, "dave")
    server.cluster.set_online("dave", False)
    controller.make_available(vm, "dave")
    assert {one.node: one.silent for one in controller.resources(vm)}["dave"] is True


def test_detach_keeps_the_tie_breaker(
    server: ControllerServer, controller: LinstorController, vm: str
) -> None:
    controller.release(vm, "charlie")
    assert flags(server, vm)["charlie"] == TIE_BREAKER
    controller.make_available(vm, "charlie")
    assert flags(server, vm)["charlie"] == DISKLESS
    controller.release(vm, "charlie")
    assert flags(server, vm)["charlie"] == TIE_BREAKER
    assert server.cluster.rd(vm).props.get("DrbdOptions/auto-add-quorum-tiebreaker", "True") == "True"


def test_detach_leaves_one_tie_breaker(
    server: ControllerServer, controller: LinstorController, vm: str
) -> None:
    """Before REST 1.28 a diskless took its place; it must be there again afterwards."""
    controller.make_available(vm, "dave")
    controller.release(vm, "dave")
    assert [one for one in flags(server, vm).values() if one] == [TIE_BREAKER]


def test_detach_of_what_is_in_use(server: ControllerServer, controller: LinstorController, vm: str) -> None:
    controller.make_available(vm, "dave")
    open_device(server, vm, "dave")
    with pytest.raises(InUseError, match=r"vm-1.*dave"):
        controller.release(vm, "dave")
    assert flags(server, vm)["dave"] == DISKLESS


def test_clone_of_what_is_not_up_to_date(
    server: ControllerServer, controller: LinstorController, vm: str
) -> None:
    server.cluster.set_online("bob", False)
    with pytest.raises(NotReadyError, match=r"vm-1.*bob"):
        clone(controller, vm, "vm-2")
    assert set(server.cluster.rds) == {"VM-1"}


def test_clone_state_while_a_node_is_offline(
    server: ControllerServer, controller: LinstorController, vm: str
) -> None:
    """FAILED is not the end of it (REST guide 2.11)."""
    clone(controller, vm, "vm-2")
    server.cluster.set_online("bob", False)
    assert controller.clone_state(vm, "vm-2") == "FAILED"
    server.cluster.set_online("bob", True)
    assert controller.clone_state(vm, "vm-2") in ("CLONING", "COMPLETE")


@pytest.mark.parametrize("provider", ["FILE_THIN", "FILE"])
def test_a_provider_without_clones(serve: Serve, connect: Connect, provider: str) -> None:
    server = serve("1.29.1", provider=provider)
    controller = connect(server.url)
    controller.spawn("one", "vm-1", SIZE, OWNER)
    with pytest.raises(CannotClone, match="vm-1"):
        clone(controller, "vm-1", "vm-2")
    assert set(server.cluster.rds) == {"VM-1"}


def test_a_clone_for_which_there_is_no_room(serve: Serve, connect: Connect) -> None:
    server = serve(provider="LVM", pool_gib=1)
    controller = connect(server.url)
    controller.spawn("one", "vm-1", Size.of_mib(600), OWNER)
    with pytest.raises(NoSpaceError, match="vm-2"):
        clone(controller, "vm-1", "vm-2")
    assert set(server.cluster.rds) == {"VM-1"}


def test_what_a_clone_call_does_at_once(
    server: ControllerServer, controller: LinstorController, vm: str
) -> None:
    """All of it from REST 1.29.1; properties from 1.26 (REST guide 8)."""
    done = clone(controller, vm, "vm-2", properties={"Aux/one/vm": "7"}, size=Size.of_mib(16))
    assert done == {"1.25.0": (False, False), "1.29.1": (True, True)}.get(
        server.cluster.rest_version_text, (True, False)
    )
    rd = server.cluster.rd("vm-2")
    assert (rd.props.get("Aux/one/vm") == "7", rd.volumes[0].size_kib == Size.of_mib(16).kib_up) == done


def test_a_clone_moves_to_its_group_and_is_completed_there(
    server: ControllerServer, controller: LinstorController, vm: str
) -> None:
    """A clone is where its source is (REST guide 2.11); ``place`` adds what the group wants."""
    clone(controller, vm, "vm-2", group="one-three")
    rd = server.cluster.rd("vm-2")
    assert rd.group == "one-three"
    assert {one.node for one in rd.diskful} == {"alice", "bob"}
    while controller.clone_state(vm, "vm-2") == "CLONING":
        pass
    controller.place("vm-2")
    assert {one.node for one in rd.diskful} == {"alice", "bob", "charlie"}


def test_no_place_left(server: ControllerServer, controller: LinstorController, vm: str) -> None:
    server.cluster.set_online("charlie", False)
    server.cluster.groups.modify("one", {"select_filter": {"place_count": 3}})
    with pytest.raises(NoSpaceError, match="vm-1"):
        controller.place(vm)
    assert {one.node for one in server.cluster.rd(vm).diskful} == {"alice", "bob"}


def test_space_is_from_the_cache_of_the_age_that_was_asked_for(serve: Serve, connect: Connect) -> None:
    server = serve()
    young, old = connect(server.url, cache_seconds=0), connect(server.url, cache_seconds=600)
    before = young.space("one")
    for node in ("alice", "bob", "charlie"):
        server.cluster.set_pool_free(node, "thin", 1 << 20)
    assert old.space("one") == before
    now = young.space("one")
    assert (now.capacity, now.available) == (before.capacity, Size.of_kib(1 << 20))


def test_nodes_tell_why_one_cannot_work(server: ControllerServer, controller: LinstorController) -> None:
    server.cluster.add_node("Eve", address="192.0.2.5", props={"NodeUname": "eve.example"})
    server.cluster.set_online("bob", False, status="CONNECTED")
    server.cluster.evacuate("charlie")
    nodes = {one.name: one for one in controller.nodes()}
    assert nodes["bob"].status == "CONNECTED"
    assert nodes["charlie"].flags == {"EVACUATE"}
    assert (nodes["Eve"].uname, nodes["Eve"].addresses) == ("eve.example", ("192.0.2.5",))
    assert (nodes["alice"].status, nodes["alice"].flags) == ("ONLINE", frozenset())
