# SPDX-License-Identifier: Apache-2.0
"""Invariants 19, 20: deleting resources, tie-breakers."""

from __future__ import annotations

from typing import Any, Callable

from lab.controller import Cluster
from lab.devices_protocol import NoDevices

from .support import DISKLESS, TIE_BREAKER, Rest


def test_delete_resource(rest: Rest, devices: NoDevices) -> None:
    """Invariant 19: 997 in use; a missing one warns."""
    rest.spawn("vm-1")
    rest.make_available("vm-1", "dave")
    devices.open("VM-1/0", "dave")
    assert rest.delete_resource("dave", keep=True).problem == (500, "E997")
    assert rest.flags("vm-1")["dave"] == DISKLESS
    devices.close("VM-1/0", "dave")
    assert rest.delete_resource("dave", keep=True).told == ["S2"]
    assert devices.paths("VM-1/0", "dave") == []
    for node in ("dave", "nobody"):
        again = rest.delete_resource(node)
        assert (again.status, again.told) == (200, ["W3000"])


def test_the_last_disk_stays_while_others_need_it(rest: Rest, devices: NoDevices) -> None:
    """Invariant 19."""
    rest.spawn("vm-1", select_filter={"place_count": 1})
    rest.make_available("vm-1", "dave")
    assert rest.delete_resource("alice").problem == (500, "E997")
    rest.delete_resource("dave")
    assert rest.delete_resource("alice").status == 200
    assert rest.flags("vm-1") == {}
    assert not devices.exists("VM-1/0")


def test_a_voting_diskless_becomes_the_tie_breaker(rest_of: Callable[..., Any], devices: NoDevices) -> None:
    """Invariants 19, 20: information 10006, 200, and the resource stays."""
    _, rest = rest_of(rest_version="1.27.0")
    rest.spawn("vm-1")
    rest.make_available("vm-1", "dave")
    assert rest.flags("vm-1") == {"alice": [], "bob": [], "dave": DISKLESS}
    answer = rest.delete_resource("dave")
    assert (answer.status, answer.told) == (200, ["I10006"])
    assert rest.flags("vm-1")["dave"] == TIE_BREAKER
    assert devices.paths("VM-1/0", "dave")


def test_a_client_goes_and_the_tie_breaker_stays(rest: Rest) -> None:
    """Invariant 20."""
    rest.spawn("vm-1")
    rest.make_available("vm-1", "dave")
    assert rest.delete_resource("dave").told == ["S2"]
    assert rest.flags("vm-1") == {"alice": [], "bob": [], "charlie": TIE_BREAKER}


def test_deleting_the_tie_breaker_turns_the_automatism_off(rest: Rest) -> None:
    """Invariant 19: for good, unless keep_tiebreaker is given."""
    rest.spawn("vm-1")
    answer = rest.delete_resource("charlie")
    assert (answer.status, "I10002" in answer.told) == (200, True)
    assert rest.flags("vm-1") == {"alice": [], "bob": []}
    definition = rest.get("resource-definitions/vm-1")
    assert definition["props"]["DrbdOptions/auto-add-quorum-tiebreaker"] == "False"
    assert definition["props"]["DrbdOptions/Resource/quorum"] == "off"
    rest.make_available("vm-1", "dave")
    assert rest.delete_resource("dave").told == ["S2"]
    assert rest.flags("vm-1") == {"alice": [], "bob": []}


def test_keep_tiebreaker(rest_of: Callable[..., Any]) -> None:
    """Invariant 19: kept or made, and the automatism is on again. 1.22 ignores the parameter."""
    _, rest = rest_of()
    rest.spawn("vm-1")
    assert rest.delete_resource("charlie", keep=True).told == ["I10006"]
    assert rest.flags("vm-1")["charlie"] == TIE_BREAKER
    rest.delete_resource("charlie")
    rest.make_available("vm-1", "dave")
    assert rest.delete_resource("dave", keep=True).told == ["I10002", "I10006"]
    assert rest.flags("vm-1")["dave"] == TIE_BREAKER
    props = rest.get("resource-definitions/vm-1")["props"]
    assert props["DrbdOptions/auto-add-quorum-tiebreaker"] == "True"
    _, old = rest_of(rest_version="1.22.0", devices=NoDevices())
    old.spawn("vm-1")
    assert "I10002" in old.delete_resource("charlie", keep=True).told


def test_tie_breaker_follows_the_number_of_disks(cluster: Cluster, rest: Rest) -> None:
    """Invariant 20: made with the second disk, gone with the third, 1013 without a node for it."""
    rest.spawn("vm-1", select_filter={"place_count": 1})
    assert rest.flags("vm-1") == {"alice": []}
    assert "I10003" in rest.create_resource("bob").told
    assert TIE_BREAKER in rest.flags("vm-1").values()
    assert rest.get("resource-definitions/vm-1")["props"]["DrbdOptions/Resource/quorum"] == "majority"
    rest.make_available("vm-1", "charlie", diskful=True)
    assert rest.flags("vm-1") == {"alice": [], "bob": [], "charlie": []}
    for node in ("charlie", "dave"):
        cluster.set_online(node, False)
    answer = rest.spawn("vm-2")
    assert "W1013" in answer.told
    assert rest.flags("vm-2") == {"alice": [], "bob": []}


def test_automatism_can_be_switched_off_above(rest: Rest) -> None:
    """Invariant 20."""
    rest.put("resource-groups/one", {"override_props": {"DrbdOptions/auto-add-quorum-tiebreaker": "False"}})
    rest.spawn("vm-1")
    assert rest.flags("vm-1") == {"alice": [], "bob": []}
    rest.put("resource-groups/one", {"delete_props": ["DrbdOptions/auto-add-quorum-tiebreaker"]})
    assert rest.flags("vm-1")["charlie"] == TIE_BREAKER


def _label(rest: Rest, **sites: str) -> None:
    for node, site in sites.items():
        rest.put(f"nodes/{node}", {"override_props": {"Aux/site": site}})


def test_the_group_says_where_a_tie_breaker_can_be(rest: Rest) -> None:
    """Its constraints hold for it as for the disks; its pools do not."""
    rest.put("resource-groups/one", {"select_filter": {"node_name_list": ["alice", "bob", "dave"]}})
    rest.spawn("vm-1")
    assert rest.flags("vm-1") == {"alice": [], "bob": [], "dave": TIE_BREAKER}
    rest.put("resource-groups/one", {"select_filter": {"node_name_list": ["alice", "bob"]}})
    assert "W1013" in rest.spawn("vm-2").told
    assert rest.flags("vm-2") == {"alice": [], "bob": []}


def test_a_tie_breaker_apart_from_the_disks(rest: Rest) -> None:
    _label(rest, alice="a", bob="b", charlie="b", dave="c")
    rest.put("resource-groups/one", {"select_filter": {"replicas_on_different": ["Aux/site"]}})
    rest.spawn("vm-1")
    assert rest.flags("vm-1") == {"alice": [], "bob": [], "dave": TIE_BREAKER}


def test_one_tie_breaker_for_each_site(rest: Rest) -> None:
    """However many disks a site may have."""
    _label(rest, alice="a", bob="a", charlie="a", dave="b")
    rest.put("resource-groups/one", {"select_filter": {"x_replicas_on_different_map": {"Aux/site": 3}}})
    rest.spawn("vm-1")
    assert rest.flags("vm-1") == {"alice": [], "bob": [], "dave": TIE_BREAKER}


def test_a_diskless_in_the_wrong_place_breaks_no_tie(rest_of: Callable[..., Any]) -> None:
    """It does not end the tie-breaker, and does not become one."""
    _, rest = rest_of(rest_version="1.27.0")
    rest.put("resource-groups/one", {"select_filter": {"node_name_list": ["alice", "bob", "charlie"]}})
    rest.spawn("vm-1")
    rest.make_available("vm-1", "dave")
    assert rest.flags("vm-1") == {"alice": [], "bob": [], "charlie": TIE_BREAKER, "dave": DISKLESS}
    rest.delete_resource("charlie")
    rest.make_available("vm-1", "dave")
    assert "W1013" not in rest.delete_resource("dave", keep=True).told
    assert rest.flags("vm-1") == {"alice": [], "bob": [], "charlie": TIE_BREAKER}
