# SPDX-License-Identifier: Apache-2.0
"""What every LINSTOR cluster must do behind ``ports.Controller``, seen through the port alone."""

from __future__ import annotations

import time

import pytest

from linstor_helper.errors import ConflictError, NoSpaceError, NotFoundError, RefusedError
from linstor_helper.ports import Controller
from linstor_helper.units import GIB, Size

from .support import OWNER, SIZE, Subject


def finished(subject: Subject, source: str, name: str) -> str:
    for _ in range(600):
        state = subject.controller.clone_state(source, name)
        if state != "CLONING":
            return state
        time.sleep(0.01)
    return "CLONING"


def test_is_the_port(subject: Subject) -> None:
    port: Controller = subject.controller
    assert port.identity() == subject.controller.identity()


def test_spawn(subject: Subject) -> None:
    name = subject.name()
    subject.controller.spawn(subject.group, name, Size(SIZE.bytes + 1), OWNER)
    made = subject.controller.resource_definition(name.lower())
    assert made is not None
    assert (made.name, made.resource_group) == (name, subject.group)
    assert made.sizes == (Size(SIZE.bytes + 1024),)
    assert made.properties.items() >= OWNER.items()
    assert made.uuid
    assert len({one.uuid for one in subject.controller.resources(name)} - {""}) == len(
        subject.controller.resources(name)
    )
    assert not made.deleting
    resources = subject.controller.resources(name)
    assert subject.diskful(name)
    assert {one.name for one in resources} == {name}
    assert all(not one.silent and one.in_use is False for one in resources if one.layers[0] == "DRBD")


def test_spawn_of_a_taken_name(subject: Subject) -> None:
    name = subject.spawn()
    before = subject.controller.resource_definition(name)
    with pytest.raises(ConflictError, match=f"(?i){name}"):
        subject.controller.spawn(subject.group, name.upper(), Size.of_mib(16), {})
    assert subject.controller.resource_definition(name) == before


def test_spawn_without_room_leaves_nothing(subject: Subject) -> None:
    name = subject.name()
    with pytest.raises(NoSpaceError, match=name):
        subject.controller.spawn(subject.group, name, Size(1_000_000 * GIB), OWNER)
    assert subject.controller.resource_definition(name) is None


def test_spawn_in_no_group(subject: Subject) -> None:
    with pytest.raises(NotFoundError, match="no-such-group"):
        subject.controller.spawn("no-such-group", subject.name(), SIZE, OWNER)


def test_spawn_of_an_impossible_name(subject: Subject) -> None:
    with pytest.raises(RefusedError, match="all"):
        subject.controller.spawn(subject.group, "all", SIZE, OWNER)


def test_what_is_not_there(subject: Subject) -> None:
    name = subject.name()
    assert subject.controller.resource_definition(name) is None
    assert subject.controller.resources(name) == []
    assert subject.controller.placement(name) == []
    assert subject.controller.delete(name) is False


def test_modify(subject: Subject) -> None:
    name = subject.spawn()
    subject.controller.modify(name, {"Aux/one/complete": name}, ["Aux/one/datastore", "Aux/one/none"])
    made = subject.controller.resource_definition(name)
    assert made is not None
    assert {key: value for key, value in made.properties.items() if key.startswith("Aux/")} == {
        "Aux/one/instance": "one",
        "Aux/one/complete": name,
    }
    with pytest.raises(NotFoundError, match="OneTest-none"):
        subject.controller.modify("OneTest-none", OWNER)


def test_resize_grows_and_never_shrinks(subject: Subject) -> None:
    name = subject.spawn()
    for wanted, size in ((12, 12), (12, 12), (4, 12), (16, 16)):
        subject.controller.resize(name, Size.of_mib(wanted))
        made = subject.controller.resource_definition(name)
        assert made is not None
        assert made.sizes == (Size.of_mib(size),)
    with pytest.raises(NotFoundError, match="OneTest-none"):
        subject.controller.resize("OneTest-none", SIZE)


def test_delete(subject: Subject) -> None:
    name = subject.spawn()
    assert subject.controller.delete(name.upper()) is True
    assert subject.controller.resource_definition(name) is None
    assert subject.controller.delete(name) is False


def test_attach_and_detach(subject: Subject) -> None:
    """A diskless node sees the device of the replicas; detaching leaves these, and a quorum's tie-breaker."""
    name = subject.spawn()
    replicas, node = subject.diskful(name), subject.other_node(name)
    assert subject.controller.release(name, node) is False
    for _ in range(2):
        subject.controller.make_available(name, node)
        resources = {one.node: one for one in subject.controller.resources(name)}
        assert resources[node].diskless
        assert not resources[node].tie_breaker
        assert resources[node].device_path == resources[min(replicas)].device_path
        assert resources[node].device_path
    assert subject.controller.release(name, node) is True
    for _ in range(2):
        left = {one.node: one for one in subject.controller.resources(name)}
        assert node not in left or left[node].tie_breaker
        assert subject.diskful(name) == replicas
        subject.controller.release(name, node)


def test_attach_and_detach_where_a_replica_is(subject: Subject) -> None:
    name = subject.spawn()
    replicas = subject.diskful(name)
    subject.controller.make_available(name, min(replicas))
    assert subject.controller.release(name, min(replicas)) is True
    assert subject.diskful(name) == replicas


def test_detach_of_what_is_not_there(subject: Subject) -> None:
    name = subject.spawn()
    before = subject.controller.resources(name)
    assert subject.controller.release("OneTest-none", before[0].node) is False
    assert subject.controller.release(name, "no-such-node") is False
    assert subject.controller.resources(name) == before


def test_attach_to_what_is_not_there(subject: Subject) -> None:
    name = subject.spawn()
    before = subject.controller.resources(name)
    with pytest.raises(NotFoundError, match=r"no-such-node.*" + name):
        subject.controller.make_available(name, "no-such-node")
    with pytest.raises(NotFoundError, match="OneTest-none"):
        subject.controller.make_available("OneTest-none", before[0].node)
    assert subject.controller.resources(name) == before


def test_clone(subject: Subject) -> None:
    """What the call could not do is told, and can be done afterwards with the same end."""
    source, name = subject.spawn(), subject.name()
    own = {"Aux/one/instance": "one", "Aux/one/vm": "7"}
    wanted = Size.of_mib(16)
    done = subject.controller.clone(
        source,
        name,
        group=subject.group,
        properties=own,
        drop=["Aux/one/datastore"],
        size=wanted,
        dependent=False,
    )
    assert finished(subject, source, name) == "COMPLETE"
    made = subject.controller.resource_definition(name)
    assert made is not None
    assert made.sizes == (wanted if done.size_set else SIZE,)
    if not done.properties_set:
        assert made.properties.items() >= OWNER.items()
        subject.controller.modify(name, own, ["Aux/one/datastore"])
    if not done.size_set:
        subject.controller.resize(name, wanted)
    made = subject.controller.resource_definition(name)
    assert made is not None
    assert made.sizes == (wanted,)
    assert {k: v for k, v in made.properties.items() if k.startswith("Aux/")} == own
    assert subject.diskful(name)


def test_clone_without_wishes(subject: Subject) -> None:
    source, name = subject.spawn(), subject.name()
    done = subject.controller.clone(
        source, name, group=None, properties={}, drop=[], size=None, dependent=False
    )
    assert done == (True, True)
    assert finished(subject, source, name) == "COMPLETE"
    copy, origin = (subject.controller.resource_definition(one) for one in (name, source))
    assert copy is not None
    assert origin is not None
    assert (copy.sizes, copy.resource_group) == (origin.sizes, origin.resource_group)
    assert copy.uuid != origin.uuid


def test_clone_refused(subject: Subject) -> None:
    source, taken = subject.spawn(), subject.spawn()
    before = subject.controller.resource_definition(taken)
    with pytest.raises(ConflictError, match=taken):
        subject.controller.clone(
            source, taken, group=None, properties={}, drop=[], size=None, dependent=False
        )
    assert subject.controller.resource_definition(taken) == before
    name = subject.name()
    with pytest.raises(NotFoundError, match="OneTest-none"):
        subject.controller.clone(
            "OneTest-none", name, group=None, properties={}, drop=[], size=None, dependent=False
        )
    assert subject.controller.resource_definition(name) is None


def test_clone_state_of_what_is_no_clone(subject: Subject) -> None:
    name = subject.spawn()
    for one in (name, "OneTest-none"):
        with pytest.raises(NotFoundError, match=one):
            subject.controller.clone_state(name, one)


def test_placement_tells_the_provider(subject: Subject) -> None:
    name = subject.spawn()
    assert {one.provider for one in subject.controller.placement(name.lower()) if not one.diskless} <= {
        "LVM",
        "LVM_THIN",
        "ZFS",
        "ZFS_THIN",
        "FILE",
        "FILE_THIN",
    }
    assert {one.node for one in subject.controller.placement(name)} == {
        one.node for one in subject.controller.resources(name)
    }


def test_place_is_done_when_all_are_there(subject: Subject) -> None:
    name = subject.spawn()
    before = subject.diskful(name)
    subject.controller.place(name)
    assert subject.diskful(name) == before
    with pytest.raises(NotFoundError, match="OneTest-none"):
        subject.controller.place("OneTest-none")


def test_space(subject: Subject) -> None:
    space = subject.controller.space(subject.group)
    assert Size(0) < space.available <= space.capacity
    assert space.largest_volume > Size(0)
    with pytest.raises(NotFoundError, match="no-such-group"):
        subject.controller.space("no-such-group")


def test_nodes(subject: Subject) -> None:
    nodes = subject.controller.nodes()
    assert any(one.status == "ONLINE" and one.addresses and one.uname for one in nodes)
    assert len({one.name for one in nodes}) == len(nodes)


def test_nothing_was_warned_of(subject: Subject) -> None:
    name = subject.spawn()
    subject.controller.place(name)
    subject.controller.delete(name)
    subject.controller.delete(name)
    assert subject.controller.warnings == []
