# SPDX-License-Identifier: Apache-2.0
"""Invariants 8 to 11: names and properties."""

from __future__ import annotations

import pytest

from .support import Rest


def _definition(rest: Rest, name: str) -> tuple[int, str]:
    return rest.post("resource-definitions", {"resource_definition": {"name": name}}).problem


def test_names_compare_without_case_and_keep_their_spelling(rest: Rest) -> None:
    """Invariant 8."""
    rest.spawn("Vm-One")
    assert rest.spawn("VM-ONE").problem == (500, "E501")
    assert rest.get("resource-definitions/vm-one")["name"] == "Vm-One"
    assert rest.get("resource-definitions?resource_definitions=vM-oNe")[0]["name"] == "Vm-One"
    assert rest.resource("VM-ONE", "ALICE")["node_name"] == "alice"
    assert rest.get("view/resources?resources=vm-ONE&nodes=ALICE")[0]["name"] == "Vm-One"
    rest.snapshot("vm-one", "Snap-A")
    assert rest.snapshot("vm-one", "SNAP-a").problem == (500, "E514")
    assert rest.get("resource-definitions/VM-ONE/snapshots/snap-a")["name"] == "Snap-A"
    assert rest.delete("resource-definitions/vm-one/snapshots/SNAP-A").told == ["S2"]
    assert rest.delete("resource-definitions/vM-one").status == 200


@pytest.mark.parametrize("name", ["", "x", "1vm", "vm one", "vm.1", "_-", "a" * 49, "All", "proxy", "ü1"])
def test_bad_resource_names(rest: Rest, name: str) -> None:
    """Invariant 8: 202; a definition without any name misses the external one."""
    assert _definition(rest, name) == (500, "E202" if name else "E606")


@pytest.mark.parametrize("name", ["ab", "_a", "a" * 48, "A1_-"])
def test_good_resource_names(rest: Rest, name: str) -> None:
    """Invariant 8."""
    assert _definition(rest, name) == (201, "")


def test_other_bad_names(rest: Rest) -> None:
    """Invariant 8: 218 and 237."""
    rest.spawn("vm-1")
    assert rest.snapshot("vm-1", "s").problem == (500, "E218")
    assert rest.post("resource-groups", {"name": "1g"}).problem == (500, "E237")


def test_props_are_merged_and_deleted(rest: Rest) -> None:
    """Invariant 9."""
    rest.spawn("vm-1", resource_definition_props={"Aux/one/a": "1", "Aux/one/b": "2", "Aux/c": "3"})
    path = "resource-definitions/vm-1"
    rest.put(path, {"override_props": {"Aux/one/a": "9"}, "delete_props": ["Aux/one/b", "Aux/missing"]})
    aux = {name: value for name, value in rest.get(path)["props"].items() if name.startswith("Aux/")}
    assert aux == {"Aux/one/a": "9", "Aux/c": "3"}
    assert rest.put(path, {"delete_namespaces": ["Aux/one"]}).status == 200
    assert "Aux/one/a" not in rest.get(path)["props"]
    assert rest.get(path)["props"]["Aux/c"] == "3"


@pytest.mark.parametrize(
    ("path", "settings"),
    [
        ("resource-definitions/vm-1", {"Nonsense": "1"}),
        ("resource-definitions/vm-1", {"Aux/" + "x" * 253: "1"}),
        ("resource-definitions/vm-1", {"DrbdOptions/Net/allow-two-primaries": "True"}),
        ("resource-definitions/vm-1", {"DrbdOptions/Net/protocol": "D"}),
        ("resource-definitions/vm-1/resources/alice", {"DrbdOptions/Net/protocol": "C"}),
        ("resource-definitions/vm-1/volume-definitions/0", {"AutoplaceTarget": "true"}),
        ("nodes/alice", {"AutoplaceTarget": "maybe"}),
        ("resource-groups/one", {"one": "2"}),
        ("resource-definitions/vm-1/resource-connections/alice/bob", {"StorPoolName": "thin"}),
    ],
)
def test_keys_and_values_outside_of_the_whitelist(rest: Rest, path: str, settings: dict[str, str]) -> None:
    """Invariant 9: 213, and nothing of the request is applied."""
    rest.spawn("vm-1")
    before = rest.call("GET", path).json
    assert rest.put(path, {"override_props": {"Aux/fine": "1", **settings}}).problem == (500, "E213")
    assert rest.call("GET", path).json.get("props") == before.get("props")


@pytest.mark.parametrize(
    ("path", "settings"),
    [
        ("resource-definitions/vm-1", {"DrbdOptions/Net/allow-two-primaries": "yes"}),
        ("resource-definitions/vm-1/volume-definitions/0", {"sys/fs/blkio_throttle_read_iops": "200"}),
        ("nodes/alice", {"AutoplaceTarget": "False"}),
        ("resource-groups/one", {"DrbdOptions/auto-add-quorum-tiebreaker": "False"}),
        ("resource-definitions/vm-1/resource-connections/bob/alice", {"DrbdOptions/Net/protocol": "A"}),
    ],
)
def test_known_keys(rest: Rest, path: str, settings: dict[str, str]) -> None:
    """Invariant 9."""
    rest.spawn("vm-1")
    assert rest.put(path, {"override_props": settings}).status == 200
    assert settings.items() <= rest.get(path)["props"].items()


def test_props_filters(rest: Rest) -> None:
    """Invariant 10: all filters must match, exactly and with case."""
    rest.spawn("vm-1", resource_definition_props={"Aux/one/ds": "1", "Aux/one/vm": "7"})
    rest.spawn("vm-2", resource_definition_props={"Aux/one/ds": "1"})
    rest.spawn("vm-3", resource_definition_props={"Aux/one/ds": "11"})

    def names(query: str) -> list[str]:
        return [one["name"] for one in rest.get(f"resource-definitions?{query}")]

    assert names("props=Aux/one/ds=1") == ["vm-1", "vm-2"]
    assert names("props=Aux/one/ds=1&props=Aux/one/vm") == ["vm-1"]
    assert names("props=Aux/one/DS=1") == []
    assert names("props=Aux/one/ds=1&resource_definitions=vm-2&resource_definitions=nope") == ["vm-2"]
    # resource views do not see the definition's properties
    assert rest.get("view/resources?props=Aux/one/ds=1") == []


def test_group_props_on_creation_are_ignored(rest: Rest) -> None:
    """Invariant 11."""
    assert rest.post("resource-groups", {"name": "g1", "props": {"Aux/a": "1"}}).status == 201
    assert "props" not in rest.get("resource-groups/g1")
    rest.put("resource-groups/g1", {"override_props": {"Aux/a": "1"}})
    assert rest.get("resource-groups/g1")["props"] == {"Aux/a": "1"}
