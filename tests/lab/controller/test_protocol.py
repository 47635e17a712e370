# SPDX-License-Identifier: Apache-2.0
"""Invariants 1 to 7: replies, statuses, versions."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
from typing import Any, Callable

import pytest

from lab.controller import ControllerServer, codes
from lab.devices_protocol import NoDevices

from .openapi import OpenApi
from .support import GIB, Rest

# the API guide's wire examples
VECTORS = [
    (codes.SUCCESS, codes.CREATED, codes.CREATE, codes.RSC_DFN, 20447233),
    (codes.SUCCESS, codes.CREATED, codes.CREATE, codes.RSC, 20185089),
    (codes.ERROR, 501, codes.CREATE, codes.RSC_DFN, -4611686018406940171),
    (codes.ERROR, 301, 0, 0, -4611686018427387603),
    (codes.WARNING, 3000, codes.DELETE, codes.RSC_DFN, -9223372036800771144),
    (codes.ERROR, 997, codes.DELETE, codes.RSC_DFN, -4611686018373385243),
    (codes.ERROR, 996, codes.CREATE, codes.RSC_GRP, -4611686018406153244),
    (codes.WARNING, 1023, codes.MODIFY, codes.VLM_DFN, -9223372036818074625),
    (codes.ERROR, 514, codes.CREATE, codes.SNAPSHOT, -4611686018409823742),
    (codes.WARNING, 1002, 0, 0, -9223372036854774806),
]


@pytest.mark.parametrize(("kind", "code", "operation", "obj", "number"), VECTORS)
def test_ret_code_is_the_signed_number_of_the_wire(
    kind: int, code: int, operation: int, obj: int, number: int
) -> None:
    """Invariant 1."""
    assert codes.ret_code(kind, code, operation, obj) == number
    assert (codes.kind_of(number), codes.code_of(number)) == (kind, code)


def test_replies_of_the_server_have_these_numbers(rest: Rest) -> None:
    """Invariants 1, 2: the whole number of some replies, and their statuses."""
    created = rest.post("resource-definitions", {"resource_definition": {"name": "rd-1"}})
    again = rest.post("resource-definitions", {"resource_definition": {"name": "rd-1"}})
    missing = rest.call("GET", "resource-definitions/rd-2")
    gone = rest.delete("resource-definitions/rd-2")
    no_room = rest.spawn("rd-3", 1 << 39)
    assert (created.status, created.json[-1]["ret_code"]) == (201, 20447233)
    assert (again.status, again.json[0]["ret_code"]) == (500, -4611686018406940171)
    assert (missing.status, missing.json[0]["ret_code"]) == (404, -4611686018427387603)
    assert (gone.status, gone.json[0]["ret_code"]) == (200, -9223372036800771144)
    assert (no_room.status, no_room.json[-1]["ret_code"]) == (500, -4611686018406153244)


def test_status_comes_from_the_first_error(cluster: Any, rest: Rest) -> None:
    """Invariant 1: earlier successes do not help, later errors do not count."""
    cluster.satellites.fail("alice", "create", "no such volume group")
    answer = rest.spawn("vm-1")
    assert answer.told[0] == "S1"
    assert answer.problem == (500, "E998")
    first = next(entry for entry in answer.json if "error_report_ids" in entry)
    assert first["message"].startswith("(alice) ")
    assert rest.get(f"error-reports/{first['error_report_ids'][0]}")[0]["node_name"] == "alice"


def test_created_is_201_and_changed_is_200(rest: Rest) -> None:
    """Invariant 2."""
    assert rest.spawn("vm-1").status == 201
    assert rest.snapshot("vm-1", "s1").status == 201
    assert rest.clone("vm-1", "vm-2").status == 201
    assert rest.make_available("vm-1", "dave").status == 200
    assert rest.put("resource-definitions/vm-1", {"override_props": {"Aux/a": "b"}}).status == 200
    assert rest.post("resource-definitions/vm-1/snapshot-rollback/s1", {}).status == 200
    assert rest.post("controller/properties", {"override_props": {"Aux/a": "b"}}).status == 201
    assert rest.delete("resource-definitions/vm-2").status == 200


def test_unknown_path_and_method(rest: Rest) -> None:
    """Invariant 3."""
    assert rest.call("GET", "no-such-thing").problem == (404, "E998")
    assert rest.call("POST", "resource-definitions/x/y/z", {}).problem == (404, "E998")
    assert rest.call("PATCH", "nodes", {}).status == 405


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "resource-groups", {"name": "g", "nonsense": 1}, 400),
        ("POST", "resource-groups", "{not json", 400),
        ("PUT", "resource-definitions/vm-1", {"nonsense": 1}, 500),
        ("PUT", "resource-definitions/vm-1", "{not json", 500),
        ("POST", "resource-groups/one/spawn", {"select_filter": {"nonsense": 1}}, 500),
        ("POST", "resource-definitions/vm-1/resources", {"resource": {}}, 500),
        ("POST", "resource-definitions/vm-1/resources/dave/make-available", "", 500),
        ("PUT", "resource-definitions/vm-1/volume-definitions/0", {"size_kib": "much"}, 500),
    ],
)
def test_bad_body(rest: Rest, method: str, path: str, body: Any, status: int) -> None:
    """Invariant 3: 32765, with 400 from synchronous and 500 from asynchronous handlers."""
    rest.spawn("vm-1")
    assert rest.call(method, path, body).problem == (status, "E32765")


def test_unknown_query_parameters_are_ignored(rest: Rest) -> None:
    """Invariant 3."""
    rest.spawn("vm-1")
    assert [one["name"] for one in rest.get("resource-definitions?nonsense=1&limit=x")] == ["vm-1"]


def test_empty_values_are_left_out_zero_and_false_stay(rest: Rest) -> None:
    """Invariant 4."""
    rest.spawn("vm-1")
    definition = rest.get("resource-definitions/vm-1")
    assert not {"external_name", "flags", "volume_definitions"} & set(definition)
    resource = rest.resource("vm-1", "alice")
    assert resource["state"] == {"in_use": False}
    assert "flags" not in resource
    assert rest.volume("vm-1", "alice")["allocated_size_kib"] == 0
    assert rest.volume("vm-1", "alice")["volume_number"] == 0


def test_clone_may_swallow_a_bad_body(server: ControllerServer, connect: Callable[..., Rest]) -> None:
    """Invariant 5: switched on, the client waits until its own timeout; else 32765."""
    rest = connect(server)
    rest.spawn("vm-1")
    assert rest.clone("vm-1", "vm-2", nonsense=1).problem == (500, "E32765")
    server.api.clone_swallows_bad_bodies = True
    impatient = connect(server, timeout=0.2)
    with pytest.raises(socket.timeout):
        impatient.clone("vm-1", "vm-2", nonsense=1)
    assert rest.call("GET", "resource-definitions/vm-2").status == 404


@pytest.mark.parametrize(
    ("older", "newer", "method", "path", "body"),
    [
        ("1.25.0", "1.26.0", "POST", "clone", {"name": "vm-2", "override_props": {"Aux/a": "b"}}),
        ("1.29.0", "1.29.1", "POST", "clone", {"name": "vm-2", "volume_sizes": [2 * GIB]}),
        ("1.23.0", "1.24.0", "POST", "clone", {"name": "vm-2", "resource_group": "one"}),
        ("1.28.0", "1.29.0", "POST", "resources/dave/make-available", {"auto_manage_dual_primary": True}),
        ("1.25.0", "1.26.0", "POST", "snapshot-rollback/s1", {"zfs_rollback_strategy": "clone"}),
        ("1.27.0", "1.28.0", "PUT", "resources/charlie", {"drbd_client": True}),
    ],
)
def test_fields_of_later_versions_are_unknown(
    rest_of: Callable[..., Any], older: str, newer: str, method: str, path: str, body: Any
) -> None:
    """Invariant 6."""
    answers = {}
    for version in (older, newer):
        _, rest = rest_of(rest_version=version, devices=NoDevices())
        rest.spawn("vm-1")
        rest.snapshot("vm-1", "s1")
        answers[version] = rest.call(method, f"resource-definitions/vm-1/{path}", body)
    assert answers[older].problem == (500, "E32765")
    assert answers[newer].status in (200, 201), answers[newer]


@pytest.mark.parametrize(
    ("older", "newer", "method", "path"),
    [
        ("1.28.0", "1.29.0", "POST", "resource-definitions/vm-1/resources/dave/unmake-available"),
        ("1.27.0", "1.28.0", "PUT", "resource-definitions/vm-1/resources/charlie/toggle-disk"),
        ("1.18.0", "1.19.0", "POST", "queries/resource-groups/query-all-size-info"),
    ],
)
def test_paths_of_later_versions_are_unknown(
    rest_of: Callable[..., Any], older: str, newer: str, method: str, path: str
) -> None:
    """Invariant 6: 404 with 998, so that a client can tell it from a missing object."""
    _, old = rest_of(rest_version=older, devices=NoDevices())
    _, new = rest_of(rest_version=newer, devices=NoDevices())
    for rest in (old, new):
        rest.spawn("vm-1")
    assert old.call(method, path, {}).problem == (404, "E998")
    assert new.call(method, path, {}).status == 200


def test_version_call(rest_of: Callable[..., Any]) -> None:
    """Invariant 6."""
    _, rest = rest_of(rest_version="1.25.0")
    version = rest.get("controller/version")
    assert (version["rest_api_version"], version["version"]) == ("1.25.0", "1.31.0")
    assert rest.call("GET", "/health").status == 200


def test_references_tell_generated_names(rest: Rest) -> None:
    """Invariant 7."""
    answer = rest.post(
        "resource-groups/one/spawn",
        {"resource_definition_external_name": "Größe/1", "volume_sizes": [GIB]},
    )
    name = answer.json[0]["obj_refs"]["RscDfn"]
    assert rest.get(f"resource-definitions/{name}")["external_name"] == "Größe/1"
    node = next(entry["obj_refs"]["Node"] for entry in answer.json if "Node" in entry.get("obj_refs", {}))
    assert node in rest.flags(name)
    volume = rest.post(
        f"resource-definitions/{name}/volume-definitions", {"volume_definition": {"size_kib": 4096}}
    )
    assert volume.json[0]["obj_refs"]["VlmNr"] == "1"


def test_keep_alive_gzip_and_the_record(server: ControllerServer) -> None:
    """One connection serves many requests; the record tells bytes and connections."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=10)
    for _ in range(3):
        connection.request("GET", "/v1/nodes", headers={"Accept-Encoding": "gzip"})
        response = connection.getresponse()
        packed = response.read()
        nodes = json.loads(gzip.decompress(packed))
        assert [one["name"] for one in nodes] == ["alice", "bob", "charlie", "dave"]
    connection.close()
    assert server.connections == 1
    assert [one.path for one in server.requests] == ["/v1/nodes"] * 3
    assert len({one.connection_id for one in server.requests}) == 1
    assert server.requests[0].status == 200
    assert len(packed) < server.requests[0].bytes_sent < len(server.requests[0].reply)


def test_the_description_is_applied(openapi: OpenApi | None, server: ControllerServer, rest: Rest) -> None:
    """Guards the guard: a reply with an undescribed field is found."""
    if openapi is None:
        pytest.skip("LINSTOR's OpenAPI description is not at hand ($LINSTOR_OPENAPI)")
    rest.get("nodes")
    record = server.requests[-1]
    assert openapi.check(record)
    good = record.reply
    record.reply = good.replace(b'"connection_status"', b'"connection_state"')
    with pytest.raises(AssertionError, match="connection_state"):
        openapi.check(record)
    record.reply = good
