# SPDX-License-Identifier: Apache-2.0
"""JSON that a satellite in trouble, or a server without a field, gives."""

from __future__ import annotations

from typing import Any

import pytest

from linstor_helper.linstor_api import views
from linstor_helper.ports import Resource
from linstor_helper.units import Size

STORAGE = {
    "type": "STORAGE",
    "storage": {"storage_volumes": [{"volume_number": 0, "device_path": "/dev/vg/lv"}]},
}
LUKS_CLOSED = {"type": "LUKS", "luks": {"luks_volumes": [{"volume_number": 0}]}, "children": [STORAGE]}


def drbd(*volumes: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "DRBD", "drbd": {"drbd_volumes": list(volumes)}, "children": [STORAGE], **more}


def volume(number: int, **fields: Any) -> dict[str, Any]:
    return {"drbd_volume_definition": {"volume_number": number, "minor_number": 1000 + number}, **fields}


def resource(layer: dict[str, Any]) -> Resource:
    return views.resource({"name": "vm-1", "node_name": "alice", "layer_object": layer})


@pytest.mark.parametrize(
    "layer",
    [
        drbd(volume(0)),
        drbd(),
        {"type": "DRBD", "children": [STORAGE]},
        LUKS_CLOSED,
        drbd(volume(1, device_path="x")),
    ],
)
def test_no_layer_is_bypassed(layer: dict[str, Any]) -> None:
    """A path of the backing device would let a copy write below DRBD or LUKS."""
    assert resource(layer).device_path is None


def test_volume_0_counts() -> None:
    shown = resource(drbd(volume(1, device_path="/dev/drbd1001"), volume(0, device_path="/dev/drbd1000")))
    assert shown.device_path == "/dev/drbd1000"


def test_the_size_is_what_the_topmost_layer_leaves() -> None:
    below = {
        "type": "STORAGE",
        "storage": {"storage_volumes": [{"volume_number": 0, "usable_size_kib": 100}]},
    }
    luks = {"luks_volumes": [{"volume_number": 0, "usable_size_kib": 90}]}
    other, told = volume(1, usable_size_kib=7), volume(0, usable_size_kib=80)
    layers: list[tuple[dict[str, Any], Size | None]] = [
        (below, Size(100 * 1024)),
        ({"type": "LUKS", "luks": luks, "children": [below]}, Size(90 * 1024)),
        ({"type": "DRBD", "drbd": {"drbd_volumes": [other, told]}, "children": [below]}, Size(80 * 1024)),
        ({"type": "DRBD", "drbd": {"drbd_volumes": [other]}, "children": [below]}, None),
        (drbd(volume(0, usable_size_kib=-1)), None),
        (drbd(volume(0, usable_size_kib=0)), None),
        (drbd(volume(0)), None),
    ]
    assert [resource(layer).size for layer, _ in layers] == [size for _, size in layers]


def test_a_snapshot() -> None:
    shown = views.snapshot(
        {
            "name": "s1",
            "nodes": ["bob", "alice"],
            "flags": ["SUCCESSFUL"],
            "volume_definitions": [
                {"volume_number": 1, "size_kib": 8},
                {"volume_number": 0, "size_kib": 4},
            ],
            "snapshots": [
                {"node_name": "bob", "create_timestamp": 1_700_000_002_000},
                {"node_name": "alice", "create_timestamp": 1_700_000_001_500},
            ],
            "snapshot_definition_props": {"Aux/one/asked": "VM 1"},
        }
    )
    assert shown.name == "s1"
    assert shown.nodes == ("bob", "alice")
    assert shown.sizes == (Size(4096), Size(8192))
    assert (shown.taken_at, shown.note) == (1_700_000_001.5, "VM 1")
    assert shown.usable
    assert not shown._replace(flags=frozenset({"SUCCESSFUL", "DELETE"})).usable
    assert not shown.by_rollback
    assert shown._replace(flags=frozenset({"SUCCESSFUL", "SAFETY_SNAPSHOT"})).by_rollback
    assert views.snapshot({"name": "s1"}) == ("s1", (), frozenset(), (), None, "")


def test_the_state_of_the_view_is_newer() -> None:
    """The layer data keeps what the satellite saw when it last changed something."""
    layer = drbd(volume(0, disk_state="UpToDate"))
    shown = {"name": "vm-1", "node_name": "alice", "layer_object": layer}
    inconsistent = [{"volume_number": 0, "state": {"disk_state": "Inconsistent"}}]
    assert views.resource({**shown, "volumes": inconsistent}).disk_state == "Inconsistent"
    assert views.resource({**shown, "volumes": [{"volume_number": 0}]}).disk_state == "UpToDate"


def test_the_stack_is_that_of_the_data() -> None:
    """External metadata of DRBD is a second child."""
    metadata = {"type": "STORAGE", "resource_name_suffix": ".meta"}
    assert resource({**drbd(), "children": [LUKS_CLOSED, metadata]}).layers == ("DRBD", "LUKS", "STORAGE")


def test_absent_fields() -> None:
    bare = views.resource({"name": "vm-1", "node_name": "alice"})
    assert bare == Resource("vm-1", "alice", frozenset(), None, (), None, None, None)
    node = views.node({"name": "alice"})
    assert (node.uname, node.addresses, node.status, node.flags) == ("", (), "UNKNOWN", frozenset())
    definition = views.resource_definition({"name": "vm-1"})
    assert (definition.sizes, definition.properties, definition.flags) == ((), {}, frozenset())
    assert views.space({}) == (Size(0), Size(0), Size(0))


def test_sizes_are_in_the_order_of_the_volume_numbers() -> None:
    volumes = [{"volume_number": 10, "size_kib": 8}, {"volume_number": 2, "size_kib": 4}]
    definition = views.resource_definition({"name": "vm-1", "volume_definitions": volumes})
    assert definition.sizes == (Size(4096), Size(8192))


def test_who_may_promote() -> None:
    """LINSTOR keeps the last word of a satellite that is gone, and leaves ``state`` out."""
    told = {**drbd(volume(0)), "drbd": {"drbd_volumes": [volume(0)], "may_promote": True}}
    shown = {"name": "vm-1", "node_name": "alice", "layer_object": told}
    assert views.resource({**shown, "state": {"in_use": False}}).may_promote is True
    assert views.resource({**shown, "state": {}}).may_promote is None
    assert views.resource(shown).may_promote is None
    untold = {"name": "vm-1", "node_name": "alice", "layer_object": drbd(), "state": {"in_use": False}}
    assert views.resource(untold).may_promote is None


def test_lost_peers() -> None:
    connections = {
        "eve": {"connected": False, "message": "Connecting"},
        "bob": {"connected": True, "message": "Connected"},
        "charlie": {"message": "StandAlone"},
    }
    layer = {"type": "DRBD", "drbd": {"connections": connections}}
    assert resource(layer).lost == ("charlie", "eve")
    assert resource(drbd()).lost == ()


def test_pairs_that_may_both_write() -> None:
    allowed = {"DrbdOptions/Net/allow-two-primaries": "yes"}
    pairs = [
        {"node_a": "alice", "node_b": "bob", "props": allowed},
        {"node_a": "alice", "node_b": "charlie", "props": {"DrbdOptions/Net/allow-two-primaries": "no"}},
        {"node_a": "bob", "node_b": "charlie"},
    ]
    assert views.two_primaries(pairs) == [("alice", "bob")]
    assert views.two_primaries([]) == []
