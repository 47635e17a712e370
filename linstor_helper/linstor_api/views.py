# SPDX-License-Identifier: Apache-2.0
"""From LINSTOR's JSON objects to the records of the port.  Empty fields are absent from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from linstor_helper import names
from linstor_helper.ports import Node, Resource, ResourceDefinition, Snapshot, Space
from linstor_helper.units import Size


def resource_definition(data: Mapping[str, Any]) -> ResourceDefinition:
    """An element of ``GET /v1/resource-definitions?with_volume_definitions=true``; sizes are KiB there."""
    return ResourceDefinition(
        data["name"],
        data.get("uuid", ""),
        data.get("resource_group_name", ""),
        data.get("props") or {},
        frozenset(data.get("flags") or ()),
        _sizes(data),
        any("RESIZE" in (one.get("flags") or ()) for one in data.get("volume_definitions") or []),
    )


def snapshot(data: Mapping[str, Any]) -> Snapshot:
    """An element of ``GET /v1/resource-definitions/{r}/snapshots``; sizes are KiB there."""
    stamps = [one["create_timestamp"] for one in data.get("snapshots") or [] if one.get("create_timestamp")]
    return Snapshot(
        data["name"],
        tuple(data.get("nodes") or ()),
        frozenset(data.get("flags") or ()),
        _sizes(data),
        min(stamps) / 1000 if stamps else None,
        (data.get("snapshot_definition_props") or {}).get(names.ASKED, ""),
    )


def _sizes(data: Mapping[str, Any]) -> tuple[Size, ...]:
    volumes = sorted(data.get("volume_definitions") or [], key=lambda one: int(one["volume_number"]))
    return tuple(Size.of_kib(one["size_kib"]) for one in volumes)


def resource(data: Mapping[str, Any]) -> Resource:
    """An element of a resource list, with or without ``volumes``."""
    layer = data.get("layer_object") or {}
    volume = _own_volume(layer)
    shown: Mapping[str, Any] = next(
        (one for one in data.get("volumes") or [] if one.get("volume_number") == 0), {}
    )
    drbd = layer.get("drbd") or {}
    in_use = (data.get("state") or {}).get("in_use")
    return Resource(
        data["name"],
        data["node_name"],
        frozenset(data.get("flags") or ()),
        in_use,
        _stack(layer),
        volume.get("device_path") or None,
        _disk_state(layer, volume, shown),
        shown.get("provider_kind"),
        # LINSTOR keeps what was true last for a satellite that is gone
        None if in_use is None else drbd.get("may_promote"),
        tuple(sorted(p for p, one in (drbd.get("connections") or {}).items() if not one.get("connected"))),
        _usable(volume),
        data.get("uuid", ""),
        (data.get("props") or {}).get(names.UNREVERTED, ""),
    )


def _usable(volume: Mapping[str, Any]) -> Size | None:
    """LINSTOR keeps -1 or nothing where a satellite has not told it."""
    kib = int(volume.get("usable_size_kib") or 0)
    return Size.of_kib(kib) if kib > 0 else None


def two_primaries(data: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """The pairs of ``GET .../resource-connections`` on which two primaries are allowed."""
    return [
        (one["node_a"], one["node_b"])
        for one in data
        if (one.get("props") or {}).get(names.TWO_PRIMARIES) == "yes"
    ]


def _disk_state(
    layer: Mapping[str, Any], own_volume: Mapping[str, Any], shown: Mapping[str, Any]
) -> str | None:
    """What DRBD reported last.

    A view has it from DRBD's events; the layer data keeps what the satellite saw when it last changed something.
    """
    if layer.get("type") != "DRBD":
        return None
    reported = (shown.get("state") or {}).get("disk_state")
    return reported or own_volume.get("disk_state")


def _stack(layer: Mapping[str, Any]) -> tuple[str, ...]:
    """Types from the top down; the first child is the data path, further ones hold metadata."""
    found = []
    current: Mapping[str, Any] | None = layer
    while current:
        found.append(str(current.get("type", "")))
        current = next(iter(current.get("children") or []), None)
    return tuple(one for one in found if one)


def _own_volume(layer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Volume 0 of the topmost layer.

    Never that of a layer below: what is written to the backing device of DRBD or LUKS passes them by.
    """
    kind = str(layer.get("type", "")).lower()
    volumes = (layer.get(kind) or {}).get(f"{kind}_volumes") or []
    return next((one for one in volumes if _number(one) == 0), {})


def _number(volume: Mapping[str, Any]) -> int:
    """DRBD keeps it one level deeper than the other layers."""
    inner = volume.get("drbd_volume_definition") or volume
    return int(inner.get("volume_number", 0))


def node(data: Mapping[str, Any]) -> Node:
    """An element of ``GET /v1/nodes``."""
    return Node(
        data["name"],
        (data.get("props") or {}).get("NodeUname", ""),
        tuple(one["address"] for one in data.get("net_interfaces") or []),
        data.get("connection_status", "UNKNOWN"),
        frozenset(data.get("flags") or ()),
    )


def space(data: Mapping[str, Any]) -> Space:
    """``space_info`` of query-size-info; sizes are KiB."""
    return Space(
        Size.of_kib(data.get("capacity_in_kib", 0)),
        Size.of_kib(data.get("available_size_in_kib", 0)),
        Size.of_kib(data.get("max_vlm_size_in_kib", 0)),
    )
