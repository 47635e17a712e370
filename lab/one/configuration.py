# SPDX-License-Identifier: Apache-2.0
"""What oned makes of a datastore's template: keys of TM_MAD_CONF and DS_MAD_CONF in oned.conf win over it.

For the driver that is the configuration which administrators are told to use, for OpenNebula's own drivers that
of 7.4. Source of the facts: ``src/datastore/Datastore.cc`` and ``share/etc/oned.conf``.
"""

from __future__ import annotations

from collections.abc import Mapping

from lab.one.errors import OneError
from lab.one.version import OneVersion
from linstor_helper import oned_conf
from linstor_helper.lifecycle import DRIVER

_DEFAULTS = {"RESTRICTED_DIRS": "/", "SAFE_DIRS": "/var/tmp", "DISK_TYPE": "FILE"}
_MOVES = {"DS_LIVE_MIGRATE": "YES", "DS_MIGRATE": "YES", "DS_MIGRATE_SNAP": "YES"}
_OWN = {
    "ssh": {**_MOVES, "ALLOW_ORPHANS": "YES", "SHARED": "NO"},
    "local": {**_MOVES, "ALLOW_ORPHANS": "FORMAT", "SHARED": "NO"},
    "shared": {**_MOVES, "ALLOW_ORPHANS": "FORMAT", "SHARED": "YES"},
    "qcow2": {**_MOVES, "ALLOW_ORPHANS": "FORMAT", "SHARED": "YES"},
}
_OF_ALL = {"ALLOW_ORPHANS": "NO", "PERSISTENT_SNAPSHOTS": "YES"}
_OF_SYSTEM = {"SHARED": "", "DS_MIGRATE": "YES", "DS_LIVE_MIGRATE": "NO", "DS_MIGRATE_SNAP": "NO"}
_OF_IMAGES = ("LN_TARGET", "CLONE_TARGET", "DRIVER", "DISK_TYPE", "TM_MAD_SYSTEM")


def datastore_template(template: Mapping[str, str], version: OneVersion) -> dict[str, str]:
    """The complete template of a new datastore. Raises OneError when oned refuses it."""
    drivers = {"TM_MAD": DRIVER}
    if template["TYPE"] == "SYSTEM_DS":
        conf = _tm_mad_conf(template.get("TM_MAD", DRIVER), version)
        keys = {key: conf.get(key, default) for key, default in {**_OF_ALL, **_OF_SYSTEM}.items()}
        return {**_DEFAULTS, **drivers, **template, **keys}
    drivers["DS_MAD"] = DRIVER
    for required in oned_conf.ds_mad_conf(version)["REQUIRED_ATTRS"].split(","):
        if not template.get(required):
            raise OneError(f'Datastore template is missing the "{required}" attribute or it\'s empty.')
    conf = _tm_mad_conf(DRIVER, version)
    keys = {key: conf.get(key, default) for key, default in _OF_ALL.items()}
    suffixes = [f"_{driver.upper()}" for driver in conf["TM_MAD_SYSTEM"].split(",")]
    for key in (*_OF_IMAGES, *(f"{key}{suffix}" for key in _OF_IMAGES for suffix in suffixes)):
        if key in conf:
            keys[key] = conf[key]
    return {**_DEFAULTS, **drivers, **template, **keys}


def _tm_mad_conf(driver: str, version: OneVersion) -> dict[str, str]:
    return oned_conf.tm_mad_conf(version) if driver == DRIVER else _OWN[driver]
