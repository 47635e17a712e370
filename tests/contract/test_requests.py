# SPDX-License-Identifier: Apache-2.0
"""What each method costs: exact requests, on one connection, after one look at the version."""

from __future__ import annotations

import time
from typing import Callable

import pytest

from lab.controller import ControllerServer, populate
from linstor_helper.linstor_api import LinstorController
from linstor_helper.linstor_api.addresses import Address
from linstor_helper.linstor_api.connection import Patience
from linstor_helper.linstor_api.credentials import Credentials
from linstor_helper.linstor_api.transport import Transport
from linstor_helper.units import Size

from .support import OWNER, SIZE, calls, open_device

RD = "/resource-definitions"


@pytest.fixture
def vm(controller: LinstorController) -> str:
    controller.spawn("one", "vm-1", SIZE, OWNER)
    return "vm-1"


def new(version: str) -> bool:
    return tuple(int(part) for part in version.split(".")) >= (1, 29)


def test_requests_per_method(server: ControllerServer, controller: LinstorController) -> None:
    server.cluster.clone_looks = 0
    version = server.cluster.rest_version_text
    seen = 0

    def cost() -> list[str]:
        nonlocal seen
        seen, since = len(server.requests), seen
        return calls(server, since)

    controller.spawn("one", "vm-1", SIZE, OWNER)
    assert cost() == ["GET /controller/version", "POST /resource-groups/one/spawn"]
    controller.resource_definition("vm-1")
    assert cost() == [f"GET {RD}?resource_definitions=vm-1&with_volume_definitions=true"]
    controller.resources("vm-1")
    assert cost() == [f"GET {RD}/vm-1/resources"]
    controller.placement("vm-1")
    assert cost() == ["GET /view/resources?resources=vm-1"]
    controller.make_available("vm-1", "dave")
    assert cost() == [f"POST {RD}/vm-1/resources/dave/make-available"]
    controller.release("vm-1", "dave")
    assert cost() == (
        [f"POST {RD}/vm-1/resources/dave/unmake-available"]
        if new(version)
        else [
            f"GET {RD}/vm-1/resources",
            f"GET {RD}/vm-1/resource-connections",
            f"GET {RD}?resource_definitions=vm-1&with_volume_definitions=true",
            f"DELETE {RD}/vm-1/resources/dave?keep_tiebreaker=True",
        ]
    )
    tie_breaker = next(one.node for one in controller.resources("vm-1") if one.tie_breaker)
    cost()
    for node in ("alice", tie_breaker):
        controller.release("vm-1", node)
        assert cost() == (
            [f"POST {RD}/vm-1/resources/{node}/unmake-available"]
            if new(version)
            else [
                f"GET {RD}/vm-1/resources",
                f"GET {RD}/vm-1/resource-connections",
                f"GET {RD}?resource_definitions=vm-1&with_volume_definitions=true",
            ]
        )
    controller.regroup("vm-1", "one")
    assert cost() == [f"PUT {RD}/vm-1"]
    controller.modify("vm-1", {"Aux/one/vm": "1"})
    assert cost() == [f"PUT {RD}/vm-1"]
    controller.clone(
        "vm-1", "vm-2", group="one", properties=OWNER, drop=["Aux/one/vm"], size=SIZE, dependent=False
    )
    assert cost() == [f"POST {RD}/vm-1/clone"]
    controller.clone_state("vm-1", "vm-2")
    assert cost() == [f"GET {RD}/vm-1/clone/vm-2"]
    controller.place("vm-1")
    assert cost() == [f"GET {RD}/vm-1/resources", f"POST {RD}/vm-1/autoplace"]
    controller.resize("vm-1", SIZE)
    assert cost() == [f"GET {RD}?resource_definitions=vm-1&with_volume_definitions=true"]
    controller.resize("vm-1", Size.of_mib(16))
    assert cost() == [
        f"GET {RD}?resource_definitions=vm-1&with_volume_definitions=true",
        f"PUT {RD}/vm-1/volume-definitions/0",
    ]
    controller.space("one")
    assert cost() == ["POST /resource-groups/one/query-size-info"]
    controller.nodes()
    assert cost() == ["GET /nodes"]
    controller.delete("vm-2")
    assert cost() == [f"DELETE {RD}/vm-2"]
    server.cluster.snapshots.create("vm-1", {"name": "s1"})
    controller.delete("vm-1")
    assert cost() == [
        f"DELETE {RD}/vm-1",
        f"GET {RD}/vm-1/snapshots",
        f"DELETE {RD}/vm-1/snapshots/s1",
        f"DELETE {RD}/vm-1",
    ]
    controller.identity()
    assert cost() == []
    assert server.connections == 1
    assert {one.status for one in server.requests} <= {200, 201, 500}


def test_requests_of_a_migration(server: ControllerServer, controller: LinstorController, vm: str) -> None:
    """From REST 1.29 on one to begin and one to end."""
    modern = new(server.cluster.rest_version_text)
    rd, connection = f"{RD}/{vm}", f"{RD}/{vm}/resource-connections/alice"
    server.cluster.add_node("eve", address="192.0.2.5")
    seen = len(server.requests)

    def cost() -> list[str]:
        nonlocal seen
        seen, since = len(server.requests), seen
        return calls(server, since)

    open_device(server, vm, "alice")
    controller.let_migrate(vm, "alice", "dave", clients=False)
    attach = f"POST {rd}/resources/dave/make-available"
    assert cost() == ([attach] if modern else [attach, f"PUT {connection}/dave"])
    controller.two_primaries(vm)
    assert cost() == [f"GET {rd}/resource-connections"]
    controller.forbid_two_primaries(vm, ("alice", "dave"))
    assert cost() == [f"PUT {connection}/dave"]
    controller.release(vm, "dave")
    cost()
    controller.let_migrate(vm, "alice", "dave", clients=False)
    cost()
    controller.release(vm, "dave")
    look = [f"GET {rd}/resources", f"GET {rd}/resource-connections"]
    detach = [f"DELETE {rd}/resources/dave?keep_tiebreaker=True"]
    unmake = [f"POST {rd}/resources/dave/unmake-available"]
    definition = f"GET {RD}?resource_definitions={vm}&with_volume_definitions=true"
    assert cost() == (unmake if modern else [*look, f"PUT {connection}/dave", definition, *detach])
    controller.make_available(vm, "dave")
    cost()
    controller.release(vm, "dave", shared=True)
    assert cost() == [look[0], *detach]


def test_requests_of_a_migration_between_diskless_nodes(
    server: ControllerServer, controller: LinstorController, vm: str
) -> None:
    modern = new(server.cluster.rest_version_text)
    rd = f"{RD}/{vm}"
    definition = f"GET {RD}?resource_definitions={vm}&with_volume_definitions=true"
    server.cluster.add_node("eve", address="192.0.2.5")
    controller.make_available(vm, "dave")
    open_device(server, vm, "dave")
    since = len(server.requests)
    controller.let_migrate(vm, "dave", "eve", clients=True)
    attach = f"POST {rd}/resources/eve/make-available"
    assert calls(server, since) == ([attach] if modern else [definition, attach, f"PUT {rd}"])
    since = len(server.requests)
    controller.release(vm, "eve")
    assert calls(server, since) == (
        [f"POST {rd}/resources/eve/unmake-available"]
        if modern
        else [
            f"GET {rd}/resources",
            f"GET {rd}/resource-connections",
            definition,
            f"PUT {rd}",
            f"DELETE {rd}/resources/eve?keep_tiebreaker=True",
        ]
    )


def test_nothing_is_sent_before_the_first_call(
    server: ControllerServer, controller: LinstorController
) -> None:
    controller.identity()
    controller.close()
    assert (server.requests, server.connections) == ([], 0)


def test_sizes_are_sent_in_kib_rounded_up(server: ControllerServer, controller: LinstorController) -> None:
    controller.spawn("one", "vm-1", Size(SIZE.bytes + 1), OWNER)
    assert server.requests[-1].body["volume_sizes"] == [SIZE.kib_up + 1]


def test_answers_do_not_grow_with_the_cluster(
    server: ControllerServer, controller: LinstorController
) -> None:
    """The same bytes whether there is one volume more or a thousand."""
    controller.spawn("one", "vm-1", SIZE, OWNER)

    def answers() -> list[int]:
        since = len(server.requests)
        controller.resource_definition("vm-1")
        controller.resources("vm-1")
        controller.placement("vm-1")
        controller.space("one")
        return [len(one.reply) for one in server.requests[since:]]

    alone = answers()
    populate(server.cluster, 1000)
    assert answers() == alone


def test_names_are_quoted(server: ControllerServer, controller: LinstorController) -> None:
    """A SOURCE that somebody wrote by hand must not become another path or query."""
    strange = ["vm-1?x=y", "vm-1&nodes=alice", "vm-1%2e", "v m", "vm-1#"]
    controller.spawn("one", "vm-1", SIZE, OWNER)
    for name in strange:
        assert controller.resources(name) == []
        assert controller.resource_definition(name) is None
        assert controller.delete(name) is False
    assert [one.path for one in server.requests if one.method == "DELETE"] == [
        f"/v1{RD}/{name}" for name in strange
    ]
    assert set(server.cluster.rds) == {"VM-1"}


def test_a_connection_that_the_server_ended_is_replaced(
    server: ControllerServer, controller: LinstorController
) -> None:
    """LINSTOR ends idle connections; a change after a long copy must not be lost to that."""
    controller.nodes()
    server.stop()
    server.start()
    time.sleep(0.05)
    controller.spawn("one", "vm-1", SIZE, OWNER)
    controller.nodes()
    assert "VM-1" in server.cluster.rds
    assert calls(server) == [
        "GET /controller/version",
        "GET /nodes",
        "POST /resource-groups/one/spawn",
        "GET /nodes",
    ]
    assert server.connections == 2


@pytest.mark.parametrize(("idle", "connections"), [(0.05, 2), (60.0, 1)])
def test_a_connection_that_was_idle_for_long_is_replaced(
    serve: Callable[..., ControllerServer], idle: float, connections: int
) -> None:
    server = serve()
    transport = Transport([Address.parse(server.url)], Credentials(), Patience(2.0, 5.0, idle), [])
    transport.raw("GET", "/nodes")
    time.sleep(0.1)
    transport.raw("GET", "/nodes")
    transport.disconnect()
    assert server.connections == connections
    assert calls(server) == ["GET /controller/version", "GET /nodes", "GET /nodes"]


def test_a_closed_controller_can_be_used_again(
    server: ControllerServer, controller: LinstorController
) -> None:
    controller.nodes()
    controller.close()
    assert controller.nodes()
    assert server.connections == 2
