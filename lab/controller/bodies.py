# SPDX-License-Identifier: Apache-2.0
"""Request bodies: which fields a call takes, of which type, since which REST version.

Unknown fields are refused, as LINSTOR's JSON mapper does; a field of a later version is unknown to an earlier
server.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lab.controller import versions
from lab.controller.versions import Version


class BodyError(ValueError):
    """The body can not be read as the call wants it."""


@dataclass(frozen=True)
class Since:
    """A field that older servers do not know."""

    version: str
    spec: Any


@dataclass(frozen=True)
class Map:
    """An object with free keys."""

    spec: Any


@dataclass(frozen=True)
class Required:
    spec: Any


TEXT, INT, NUMBER, BOOL = str, int, float, bool
ANYTHING = object


def read(spec: Any, value: Any, version: Version, where: str = "body") -> Any:
    """Check a value against a spec and answer it. Raises BodyError."""
    if isinstance(spec, Required):
        if value is None:
            raise BodyError(f"{where} is missing")
        return read(spec.spec, value, version, where)
    if value is None or spec is ANYTHING:
        return value
    if isinstance(spec, Since):
        return read(spec.spec, value, version, where)
    if isinstance(spec, Map):
        if not isinstance(value, dict):
            raise BodyError(f"{where} is not an object")
        return {name: read(spec.spec, one, version, f"{where}.{name}") for name, one in value.items()}
    if isinstance(spec, list):
        if not isinstance(value, list):
            raise BodyError(f"{where} is not an array")
        return [read(spec[0], one, version, f"{where}[{index}]") for index, one in enumerate(value)]
    if isinstance(spec, dict):
        return _read_object(spec, value, version, where)
    return _read_scalar(spec, value, where)


def _read_object(spec: dict[str, Any], value: Any, version: Version, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BodyError(f"{where} is not an object")
    known = {
        name
        for name, one in spec.items()
        if not isinstance(one, Since) or version >= versions.parse(one.version)
    }
    for name in value:
        if name not in known:
            raise BodyError(f"unrecognized field '{name}' in {where}, known are {sorted(known)}")
    for name, one in spec.items():
        if isinstance(one, Required) and value.get(name) is None:
            raise BodyError(f"{where}.{name} is missing")
    return {name: read(spec[name], one, version, f"{where}.{name}") for name, one in value.items()}


def _read_scalar(kind: type, value: Any, where: str) -> Any:
    """Scalars are converted where the server's mapper does it too: numbers and booleans from strings."""
    if kind is bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
    elif kind in (int, float):
        try:
            if not isinstance(value, bool) and isinstance(value, (int, float, str)):
                return kind(value)
        except ValueError:
            pass
    elif isinstance(value, (str, int, float)):
        return str(value).lower() if isinstance(value, bool) else str(value)
    raise BodyError(f"{where} is not a {kind.__name__}")


PROPS = Map(TEXT)
CHANGES = {"override_props": PROPS, "delete_props": [TEXT], "delete_namespaces": [TEXT]}
SELECT_FILTER = {
    "place_count": INT,
    "additional_place_count": INT,
    "node_name_list": [TEXT],
    "storage_pool": TEXT,
    "storage_pool_list": [TEXT],
    "storage_pool_diskless_list": [TEXT],
    "not_place_with_rsc": [TEXT],
    "not_place_with_rsc_regex": TEXT,
    "replicas_on_same": [TEXT],
    "replicas_on_different": [TEXT],
    "x_replicas_on_different_map": Since("1.23", Map(INT)),
    "layer_stack": [TEXT],
    "provider_list": [TEXT],
    "diskless_on_remaining": BOOL,
    "diskless_type": TEXT,
    "overprovision": NUMBER,
    "port_count": Since("1.26", INT),
}
_COPY_SNAPSHOTS = {"snap_names": Since("1.26", [TEXT]), "copy_all_snaps": Since("1.26", BOOL)}

GROUP = {
    "name": TEXT,
    "description": TEXT,
    "props": PROPS,
    "select_filter": SELECT_FILTER,
    "uuid": TEXT,
    "peer_slots": INT,
}
GROUP_CHANGE = {
    **CHANGES,
    "description": TEXT,
    "select_filter": SELECT_FILTER,
    "peer_slots": INT,
    **_COPY_SNAPSHOTS,
}
VOLUME_GROUP = {"volume_number": INT, "props": PROPS, "uuid": TEXT, "flags": [TEXT]}
SPAWN = {
    "resource_definition_name": TEXT,
    "resource_definition_external_name": TEXT,
    "volume_sizes": [INT],
    "select_filter": SELECT_FILTER,
    "partial": BOOL,
    "definitions_only": BOOL,
    "peer_slots": INT,
    "volume_passphrases": Since("1.22", [TEXT]),
    "resource_definition_props": Since("1.22", PROPS),
}
ADJUST = {"select_filter": SELECT_FILTER, **_COPY_SNAPSHOTS}
SIZE_QUERY = {"select_filter": SELECT_FILTER, "ignore_cache_older_than_sec": INT}

_LAYER_DATA = [{"type": TEXT, "data": Map(ANYTHING)}]
VOLUME_DEFINITION = {
    "volume_number": INT,
    "size_kib": Required(INT),
    "props": PROPS,
    "flags": [TEXT],
    "layer_data": _LAYER_DATA,
    "uuid": TEXT,
}
DEFINITION = {
    "drbd_port": INT,
    "drbd_secret": TEXT,
    "drbd_peer_slots": INT,
    "drbd_transport_type": TEXT,
    "resource_definition": Required(
        {
            "name": TEXT,
            "external_name": TEXT,
            "props": PROPS,
            "flags": [TEXT],
            "layer_data": _LAYER_DATA,
            "uuid": TEXT,
            "resource_group_name": TEXT,
            "volume_definitions": [VOLUME_DEFINITION],
        }
    ),
}
DEFINITION_CHANGE = {
    **CHANGES,
    "drbd_port": INT,
    "drbd_peer_slots": INT,
    "layer_stack": [TEXT],
    "resource_group": TEXT,
}
CLONE = {
    "name": TEXT,
    "external_name": TEXT,
    "use_zfs_clone": BOOL,
    "volume_passphrases": Since("1.22", [TEXT]),
    "layer_list": Since("1.24", [TEXT]),
    "resource_group": Since("1.24", TEXT),
    **{name: Since("1.26", spec) for name, spec in CHANGES.items()},
    "volume_sizes": Since("1.29.1", [INT]),
}
VOLUME_DEFINITION_CREATE = {
    "volume_definition": Required(VOLUME_DEFINITION),
    "drbd_minor_number": INT,
    "passphrase": TEXT,
}
VOLUME_DEFINITION_CHANGE = {**CHANGES, "size_kib": INT, "flags": [TEXT]}

RESOURCE = {
    "resource": Required(
        {
            "name": TEXT,
            "node_name": TEXT,
            "props": PROPS,
            "flags": [TEXT],
            "layer_object": Map(ANYTHING),
            "uuid": TEXT,
        }
    ),
    "layer_list": [TEXT],
    "drbd_node_id": INT,
    "drbd_tcp_port_count": Since("1.26", INT),
    "drbd_tcp_ports": Since("1.26", [INT]),
    "drbd_client": Since("1.28", BOOL),
    **_COPY_SNAPSHOTS,
}
MAKE_AVAILABLE = {
    "layer_list": [TEXT],
    "diskful": BOOL,
    "drbd_tcp_ports": Since("1.26", [INT]),
    "auto_manage_dual_primary": Since("1.29", BOOL),
    **_COPY_SNAPSHOTS,
}
RESOURCE_CHANGE = {**CHANGES, "drbd_tiebreaker": Since("1.28", BOOL), "drbd_client": Since("1.28", BOOL)}
AUTOPLACE = {
    "diskless_on_remaining": BOOL,
    "select_filter": SELECT_FILTER,
    "layer_list": [TEXT],
    **_COPY_SNAPSHOTS,
}
TOGGLE = {"operation": TEXT, "storage_pool": TEXT, "migrate_from": TEXT, "layer_list": [TEXT]}

SNAPSHOT = {
    "name": TEXT,
    "resource_name": TEXT,
    "nodes": [TEXT],
    "props": PROPS,
    "snapshot_definition_props": Since("1.24", PROPS),
    "resource_definition_props": Since("1.24", PROPS),
    "flags": [TEXT],
    "uuid": TEXT,
}
SNAPSHOT_MULTI = {"snapshots": Required([SNAPSHOT])}
RESTORE = {"to_resource": Required(TEXT), "nodes": [TEXT], "stor_pool_rename": Map(TEXT)}
ROLLBACK = {"zfs_rollback_strategy": Since("1.26", TEXT)}

NODE_CHANGE = {**CHANGES, "node_type": TEXT}
PASSPHRASE = {"new_passphrase": TEXT, "old_passphrase": TEXT}
TOKEN_INIT = {"only_satellites": Required(BOOL), "description": TEXT, "no_https": BOOL}
TOKEN = {"description": Required(TEXT), "expires_at": TEXT, "ip_filter": TEXT}
TOKEN_CHANGE = {"description": TEXT, "ip_filter": TEXT, "is_active": BOOL}
