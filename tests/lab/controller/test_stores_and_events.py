# SPDX-License-Identifier: Apache-2.0
"""Invariants 31, 33: key-value store, events; nodes, connections and error reports besides."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any, Callable

import pytest

from lab.controller import Cluster, ControllerServer
from lab.devices_protocol import NoDevices

from .support import Rest


def test_key_value_store(rest: Rest) -> None:
    """Invariant 31: one is an array of one; emptied it is gone; no whitelist."""
    assert rest.call("GET", "key-value-store/Mine").problem == (404, "E316")
    assert rest.put("key-value-store/Mine", {"override_props": {"any/key": "1", "b": "2"}}).status == 200
    assert rest.get("key-value-store/mine") == [{"name": "Mine", "props": {"any/key": "1", "b": "2"}}]
    assert rest.put("key-value-store/mine", {"override_props": {"k" * 257: "1"}}).problem == (500, "E213")
    assert rest.get("key-value-store") == rest.get("key-value-store/mine")
    rest.put("key-value-store/mine", {"delete_props": ["b"], "delete_namespaces": ["any"]})
    assert rest.call("GET", "key-value-store/mine").problem == (404, "E316")
    assert rest.delete("key-value-store/mine").told == ["W3000"]
    rest.put("key-value-store/mine", {"override_props": {"a": "1"}})
    assert rest.delete("key-value-store/MINE").told == ["S2"]
    assert rest.get("key-value-store") == []


class _Events:
    """Reads one stream until it is closed."""

    def __init__(self, server: ControllerServer, path: str, *headers: str) -> None:
        self._socket = socket.create_connection((server.host, server.port), timeout=5)
        lines = [f"GET {path} HTTP/1.1", f"Host: {server.host}", *headers]
        self._socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self._file = self._socket.makefile("rb")
        while self._file.readline().strip():
            pass

    def next(self) -> tuple[str, Any]:
        name = ""
        for raw in self._file:
            line = raw.decode().strip()
            if line.startswith("event: "):
                name = line[len("event: ") :]
            if line.startswith("data: "):
                return name, json.loads(line[len("data: ") :])
        raise EOFError

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@pytest.fixture
def listen(server: ControllerServer) -> Iterator[Callable[..., _Events]]:
    opened: list[_Events] = []

    def made(path: str, *headers: str) -> _Events:
        opened.append(_Events(server, path, *headers))
        return opened[-1]

    yield made
    for one in opened:
        one.close()


def test_node_events(cluster: Cluster, listen: Callable[..., _Events]) -> None:
    """Invariant 33: old and new state of a node."""
    events = listen("/v1/events/nodes")
    cluster.set_online("bob", True)
    cluster.set_online("bob", False)
    cluster.add_node("erin")
    name, payload = events.next()
    assert name == "node-modified"
    assert payload["old_node"]["connection_status"] == "ONLINE"
    assert payload["new_node"]["connection_status"] == "OFFLINE"
    name, payload = events.next()
    assert (name, payload["node"]["name"]) == ("node-create", "erin")


def test_promotion_events(rest: Rest, devices: NoDevices, listen: Callable[..., _Events]) -> None:
    """Invariant 33: ``Last-Event-ID: current`` sends the whole state first."""
    rest.spawn("vm-1")
    events = listen("/v1/events/drbd/promotion", "Last-Event-ID: current")
    state = {}
    for _ in range(3):
        name, payload = events.next()
        assert name == "may-promote-change"
        state[payload["node_name"]] = payload["may_promote"]
    assert state == {"alice": True, "bob": True, "charlie": True}
    devices.open("VM-1/0", "alice")
    assert events.next()[1]["may_promote"] is False


def test_there_are_no_other_events(rest: Rest) -> None:
    """Invariant 33."""
    for name in ("resources", "snapshots", "drbd/state", "drbd"):
        assert rest.call("GET", f"events/{name}").problem == (404, "E998")


def test_nodes(rest_of: Callable[..., Any]) -> None:
    """Guide 2.2: filters; an unknown name in the filter was an error before 1.34."""
    _, rest = rest_of()
    assert [one["name"] for one in rest.get("nodes?nodes=ALICE&nodes=nobody")] == ["alice"]
    assert rest.get("nodes?props=NodeUname=bob")[0]["name"] == "bob"
    assert rest.call("GET", "nodes/nobody").problem == (404, "E300")
    assert (
        rest.get("nodes/alice/net-interfaces")[0]["address"]
        == rest.get("nodes/alice")["net_interfaces"][0]["address"]
    )
    _, old = rest_of(rest_version="1.27.0", devices=NoDevices())
    assert old.call("GET", "nodes?nodes=nobody").problem == (404, "E300")


def test_controller_properties(rest: Rest) -> None:
    """Guide 2.1."""
    rest.post("controller/properties", {"override_props": {"Aux/a/b": "1", "MaxOversubscriptionRatio": "3"}})
    assert rest.get("controller/properties") == {"Aux/a/b": "1", "MaxOversubscriptionRatio": "3"}
    rest.delete("controller/properties/Aux%2Fa%2Fb")
    rest.post("controller/properties", {"delete_props": ["MaxOversubscriptionRatio"]})
    assert rest.get("controller/properties") == {}
    assert rest.post("controller/properties", {"override_props": {"Nope": "1"}}).problem == (500, "E213")


def test_counts(rest: Rest) -> None:
    """Guide 2.1."""
    rest.spawn("vm-1")
    counts = {
        name: rest.get(f"stats/{name}")["count"]
        for name in ("nodes", "resource-definitions", "resources", "resource-groups", "error-reports")
    }
    assert counts == {
        "nodes": 4,
        "resource-definitions": 1,
        "resources": 3,
        "resource-groups": 3,
        "error-reports": 0,
    }


def test_connections(rest: Rest) -> None:
    """Guide 2.15: both spellings of a pair are one; all pairs are listed, whether anything is set or not."""
    rest.spawn("vm-1")
    path = "resource-definitions/vm-1/resource-connections"
    rest.put(f"{path}/bob/alice", {"override_props": {"Aux/a": "1"}})
    assert rest.get(f"{path}/ALICE/BOB")["props"] == {"Aux/a": "1"}
    rest.put(f"{path}/alice/bob", {"delete_props": ["Aux/a", "Aux/never-set"]})
    assert "props" not in rest.get(f"{path}/bob/alice")
    pairs = [(one["node_a"], one["node_b"]) for one in rest.get(path)]
    assert pairs == [("alice", "bob"), ("alice", "charlie"), ("bob", "charlie")]
    assert rest.call("GET", f"{path}/alice/dave").problem == (404, "E307")
    assert rest.put(f"{path}/alice/bob", {"override_props": {"Nope": "1"}}).problem == (500, "E213")
    two = {"DrbdOptions/Net/allow-two-primaries": "True"}
    assert rest.put(f"{path}/alice/bob", {"override_props": two}).problem == (500, "E213")


@pytest.mark.parametrize(
    ("version", "resource", "definition"),
    [("1.28.0", (500, "E998"), (500, "E998")), ("1.29.0", (404, "E302"), (404, "E301"))],
)
def test_connections_that_cannot_be(
    rest_of: Callable[..., Any], version: str, resource: tuple[int, str], definition: tuple[int, str]
) -> None:
    """Before LINSTOR 1.35 a missing resource of the pair is a crash of the call."""
    _, rest = rest_of(rest_version=version)
    rest.spawn("vm-1")
    path = "resource-definitions/vm-1/resource-connections"
    assert rest.put(f"{path}/alice/dave", {}).problem == resource
    assert rest.put("resource-definitions/nope/resource-connections/alice/bob", {}).problem == definition
    assert rest.put(f"{path}/alice/nobody", {}).problem == (404, "E300")


def test_a_connection_vanishes_with_a_resource(rest: Rest) -> None:
    rest.spawn("vm-1")
    rest.make_available("vm-1", "dave")
    path = "resource-definitions/vm-1/resource-connections/alice/dave"
    rest.put(path, {"override_props": {"Aux/a": "1"}})
    rest.delete_resource("dave")
    assert rest.call("GET", path).problem == (404, "E307")
    rest.make_available("vm-1", "dave")
    assert "props" not in rest.get(path)
