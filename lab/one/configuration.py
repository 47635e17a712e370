# SPDX-License-Identifier: Apache-2.0
"""What oned adds to the template of a datastore from the TM_MAD_CONF of its driver in oned.conf."""

from __future__ import annotations

_DIRECTORIES = {"RESTRICTED_DIRS": "/", "SAFE_DIRS": "/var/tmp"}
_SYSTEM_DRIVERS = ("ssh", "shared", "qcow2", "local")
"""OpenNebula's own drivers whose system datastores take VMs with LINSTOR images."""

_MOVES = {"DS_LIVE_MIGRATE": "YES", "DS_MIGRATE": "YES", "DS_MIGRATE_SNAP": "YES"}
_OWN = {
    "ssh": {**_MOVES, "ALLOW_ORPHANS": "YES", "SHARED": "NO"},
    "local": {**_MOVES, "ALLOW_ORPHANS": "FORMAT", "SHARED": "NO"},
    "shared": {**_MOVES, "ALLOW_ORPHANS": "FORMAT", "SHARED": "YES"},
    "qcow2": {**_MOVES, "ALLOW_ORPHANS": "FORMAT", "SHARED": "YES"},
}
_LINSTOR = {
    "ALLOW_ORPHANS": "YES",
    "DISK_TYPE": "BLOCK",
    "DS_LIVE_MIGRATE": "NO",
    "DS_MIGRATE": "YES",
    "DS_MIGRATE_SNAP": "NO",
    "PERSISTENT_SNAPSHOTS": "YES",
    "SHARED": "YES",
}


def image_datastore() -> dict[str, str]:
    """The template of an image datastore of the driver, before the administrator's attributes."""
    template = {
        **_DIRECTORIES,
        "ALLOW_ORPHANS": "YES",
        "CLONE_TARGET": "SELF",
        "DISK_TYPE": "BLOCK",
        "DS_MAD": "linstor",
        "LN_TARGET": "NONE",
        "PERSISTENT_SNAPSHOTS": "YES",
        "TM_MAD": "linstor",
        "TM_MAD_SYSTEM": ",".join(_SYSTEM_DRIVERS),
    }
    for driver in _SYSTEM_DRIVERS:
        keys = {"CLONE_TARGET": "SELF", "DISK_TYPE": "BLOCK", "LN_TARGET": "NONE"}
        template.update((f"{key}_{driver.upper()}", value) for key, value in keys.items())
    return template


def system_datastore(tm_mad: str) -> dict[str, str]:
    """The template of a system datastore of a transfer driver."""
    own = _OWN.get(tm_mad)
    template = _LINSTOR if own is None else {**own, "DISK_TYPE": "FILE", "PERSISTENT_SNAPSHOTS": "YES"}
    return {**_DIRECTORIES, **template, "TM_MAD": tm_mad}
