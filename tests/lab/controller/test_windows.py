# SPDX-License-Identifier: Apache-2.0
"""Two Primaries: what DRBD refuses although LINSTOR's database has it, and the window that REST 1.29 manages."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from lab.controller import Cluster
from lab.devices_protocol import DeviceBusy, NoDevices

from .support import DISKLESS, TIE_BREAKER, Clock, Rest

KEY, PROTOCOL = "DrbdOptions/Net/allow-two-primaries", "DrbdOptions/Net/protocol"
TWO = {"override_props": {KEY: "yes"}}
ONE = {"delete_props": [KEY]}
RD = "resource-definitions/vm-1"
PAIR = f"{RD}/resource-connections/alice/bob"
LEVELS = [RD, PAIR, "resource-groups/one"]


def _unmake(rest: Rest, node: str) -> Any:
    return rest.call("POST", f"{RD}/resources/{node}/unmake-available")


def _migrate(rest: Rest, node: str) -> Any:
    return rest.make_available("vm-1", node, auto_manage_dual_primary=True)


def _props(rest: Rest, path: str) -> Any:
    found = rest.get(path).get("props", {})
    return {name: value for name, value in found.items() if name in (KEY, PROTOCOL)}


@pytest.fixture
def two(rest: Rest, devices: NoDevices) -> Rest:
    """vm-1, Primary on alice and bob."""
    rest.spawn("vm-1")
    rest.put(PAIR, TWO)
    for node in ("alice", "bob"):
        devices.open("VM-1/0", node)
    return rest


@pytest.mark.parametrize("path", LEVELS)
def test_a_window_in_use_cannot_be_closed(rest: Rest, devices: NoDevices, clock: Clock, path: str) -> None:
    """The property goes, both satellites fail, both Primaries go on; an adjust after a minute closes it."""
    rest.spawn("vm-1")
    rest.put(path, TWO)
    for node in ("alice", "bob"):
        devices.open("VM-1/0", node)
    answer = rest.put(path, ONE)
    assert answer.problem == (500, "E998")
    failed = [one for one in answer.json if one.get("error_report_ids")]
    assert [one["message"][:7] for one in failed] == ["(alice)", "(bob) F"]
    report = rest.get(f"error-reports/{failed[0]['error_report_ids'][0]}")
    assert report[0]["node_name"] == "alice"
    assert _props(rest, path) == {}
    devices.close("VM-1/0", "bob")
    assert rest.put(path, ONE).status == 200
    # nothing has changed, so no satellite was asked
    devices.open("VM-1/0", "bob")
    clock.advance(61)
    rest.resource("vm-1", "bob")
    devices.close("VM-1/0", "bob")
    devices.open("VM-1/0", "bob")
    devices.close("VM-1/0", "bob")
    clock.advance(61)
    rest.resource("vm-1", "bob")
    with pytest.raises(DeviceBusy):
        devices.open("VM-1/0", "bob")


def test_any_later_change_adjusts_again(two: Rest, devices: NoDevices) -> None:
    """It fails as long as both are Primary, and closes the window when not."""
    two.put(PAIR, ONE)
    assert two.put(RD, {"override_props": {"Aux/x": "1"}}).problem == (500, "E998")
    devices.close("VM-1/0", "alice")
    assert two.put(RD, {"override_props": {"Aux/x": "2"}}).status == 200
    with pytest.raises(DeviceBusy):
        devices.open("VM-1/0", "alice")


def test_no_deletion_while_the_adjust_fails(two: Rest, devices: NoDevices) -> None:
    """Nothing is lost: the resource waits half deleted."""
    two.make_available("vm-1", "dave")
    two.put(PAIR, ONE)
    assert two.delete_resource("dave", keep=True).problem == (500, "E998")
    assert "DRBD_DELETE" in two.flags("vm-1")["dave"]
    devices.close("VM-1/0", "bob")
    assert two.delete_resource("dave", keep=True).status == 200
    assert "dave" not in two.flags("vm-1")


@pytest.mark.parametrize("protocol", ["A", "B"])
def test_only_protocol_c_takes_two_primaries(rest: Rest, devices: NoDevices, protocol: str) -> None:
    rest.spawn("vm-1")
    rest.put("resource-groups/one", {"override_props": {PROTOCOL: protocol}})
    devices.open("VM-1/0", "alice")
    assert rest.put(PAIR, TWO).problem == (500, "E998")
    with pytest.raises(DeviceBusy):
        devices.open("VM-1/0", "bob")
    assert rest.put(PAIR, {"override_props": {PROTOCOL: "C"}}).status == 200
    devices.open("VM-1/0", "bob")
    assert rest.put(PAIR, {"delete_props": [PROTOCOL]}).problem == (500, "E998")
    assert rest.resource("vm-1", "bob")["state"] == {"in_use": True}


def test_between_diskless_nodes_nobody_refuses(cluster: Cluster, rest: Rest, devices: NoDevices) -> None:
    """They have no connection whose adjust could fail."""
    cluster.add_node("erin")
    rest.spawn("vm-1")
    rest.put(RD, TWO)
    for node in ("dave", "erin"):
        rest.make_available("vm-1", node)
        devices.open("VM-1/0", node)
    assert rest.put(RD, ONE).status == 200
    assert [rest.resource("vm-1", node)["state"]["in_use"] for node in ("dave", "erin")] == [True, True]
    devices.close("VM-1/0", "erin")
    rest.put(RD, {"override_props": {"Aux/x": "1"}})
    with pytest.raises(DeviceBusy):
        devices.open("VM-1/0", "erin")


def test_a_change_while_an_end_is_away(cluster: Cluster, rest: Rest) -> None:
    rest.spawn("vm-1")
    cluster.set_online("bob", False)
    answer = rest.put(PAIR, TWO)
    assert (answer.status, answer.told) == (200, ["S3", "W1002"])


@pytest.fixture
def modern(rest_of: Callable[..., Any]) -> Rest:
    _, rest = rest_of(rest_version="1.29.1")
    rest.spawn("vm-1")
    return rest  # type: ignore[no-any-return]


def test_a_managed_window(modern: Rest, devices: NoDevices) -> None:
    """Set at the connection, repeated without harm, closed by unmake-available on the source."""
    devices.open("VM-1/0", "alice")
    assert _migrate(modern, "dave").status == 200
    path = f"{RD}/resource-connections/alice/dave"
    assert _props(modern, path) == {KEY: "yes"}
    assert _migrate(modern, "dave").status == 200
    devices.open("VM-1/0", "dave")
    assert _migrate(modern, "dave").status == 200
    assert _unmake(modern, "alice").problem == (500, "E997")
    assert _props(modern, path) == {KEY: "yes"}
    devices.close("VM-1/0", "alice")
    assert _unmake(modern, "alice").told == ["W0"]
    assert _props(modern, path) == {}
    assert _migrate(modern, "bob").status == 200


def test_other_migrations_are_refused(modern: Rest, devices: NoDevices) -> None:
    devices.open("VM-1/0", "alice")
    _migrate(modern, "dave")
    assert _migrate(modern, "bob").problem == (500, "E901")
    devices.open("VM-1/0", "dave")
    assert _migrate(modern, "bob").problem == (500, "E901")
    devices.close("VM-1/0", "alice")
    # the source is Primary no longer, but nobody has ended its migration
    assert _migrate(modern, "bob").problem == (500, "E901")


def test_two_users_without_a_migration(modern: Rest, devices: NoDevices) -> None:
    """Which of them is the source?"""
    modern.put(PAIR, TWO)
    for node in ("alice", "bob"):
        devices.open("VM-1/0", node)
    assert _migrate(modern, "bob").problem == (500, "E901")


def test_in_use_on_the_target_already(modern: Rest, devices: NoDevices) -> None:
    devices.open("VM-1/0", "bob")
    assert _migrate(modern, "bob").told == ["S0", "I0"]
    assert _props(modern, PAIR) == {}


def test_no_migration_without_drbd(modern: Rest) -> None:
    modern.spawn("plain", select_filter={"layer_stack": ["STORAGE"], "place_count": 1})
    answer = modern.make_available("plain", "alice", auto_manage_dual_primary=True)
    assert answer.problem == (500, "E225")


@pytest.mark.parametrize("before", [None, "B"])
def test_the_protocol_comes_back(modern: Rest, devices: NoDevices, before: str | None) -> None:
    """C for the time of the migration, then what was set at the connection before, or nothing."""
    if before:
        modern.put(PAIR, {"override_props": {PROTOCOL: before}})
    modern.put("resource-groups/one", {"override_props": {PROTOCOL: "A"}})
    devices.open("VM-1/0", "alice")
    assert _migrate(modern, "bob").status == 200
    assert _props(modern, PAIR) == {KEY: "yes", PROTOCOL: "C"}
    devices.open("VM-1/0", "bob")
    devices.close("VM-1/0", "alice")
    _unmake(modern, "alice")
    assert _props(modern, PAIR) == ({PROTOCOL: before} if before else {})


def test_unmake_removes_windows_of_others(modern: Rest) -> None:
    """Whoever set them: on the definition, and on each connection of the node."""
    modern.put(RD, TWO)
    modern.put(PAIR, TWO)
    modern.put(f"{RD}/resource-connections/bob/charlie", TWO)
    assert _unmake(modern, "alice").status == 200
    assert _props(modern, RD) == _props(modern, PAIR) == {}
    assert _props(modern, f"{RD}/resource-connections/bob/charlie") == {KEY: "yes"}
    assert _unmake(modern, "charlie").told == ["I0"]
    assert _props(modern, f"{RD}/resource-connections/bob/charlie") == {}


def test_unmake_while_the_adjust_fails(modern: Rest, devices: NoDevices) -> None:
    """An unused third node keeps its resource then."""
    modern.make_available("vm-1", "dave")
    modern.put(RD, TWO)
    for node in ("alice", "bob"):
        devices.open("VM-1/0", node)
    assert _unmake(modern, "dave").problem == (500, "E998")
    assert modern.flags("vm-1")["dave"] == DISKLESS
    devices.close("VM-1/0", "bob")
    assert _unmake(modern, "dave").status == 200
    assert "dave" not in modern.flags("vm-1")


def test_migrations_back_and_forth_leave_nothing(modern: Rest, devices: NoDevices) -> None:
    """Between a disk, the tie-breaker's node and a client."""
    devices.open("VM-1/0", "alice")
    here = "alice"
    for target in ("charlie", "dave", "bob", "charlie", "alice") * 4:
        assert _migrate(modern, target).status == 200
        devices.open("VM-1/0", target)
        devices.close("VM-1/0", here)
        assert _unmake(modern, here).status == 200
        here = target
    devices.close("VM-1/0", here)
    _unmake(modern, here)
    assert modern.flags("vm-1") == {"alice": [], "bob": [], "charlie": TIE_BREAKER}
    assert _props(modern, RD) == {}
    assert all("props" not in one for one in modern.get(f"{RD}/resource-connections"))


def test_cut_off_from_each_other_nothing_is_refused(two: Rest, cluster: Cluster) -> None:
    """DRBD does not see the other Primary then."""
    cluster.partition(["alice"])
    assert two.put(PAIR, ONE).status == 200
