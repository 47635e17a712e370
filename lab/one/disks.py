# SPDX-License-Identifier: Apache-2.0
"""DISK vectors as oned fills them in from the image, the image datastore and the system datastore."""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping
from typing import Union

from lab.one.errors import OneError
from lab.one.model import Datastore, Image, ImageType

DiskTemplate = Mapping[str, Union[str, int]]
"""A DISK of a VM template: ``{"IMAGE_ID": 0, "SIZE": 2048}`` or ``{"TYPE": "fs", "SIZE": 100}``."""

# oned.conf: INHERIT_DATASTORE_ATTR, as far as a block driver meets them.
_INHERITED = ("ALLOW_ORPHANS", "DISK_TYPE", "PERSISTENT_SNAPSHOTS")


def is_volatile(disk: Mapping[str, str]) -> bool:
    return "IMAGE_ID" not in disk


def is_read_only(disk: Mapping[str, str]) -> bool:
    return disk.get("READONLY") == "YES"


def writes_to_image(disk: Mapping[str, str]) -> bool:
    """Whether the disk is the image itself, so that what happens to it stays when the VM has gone."""
    return disk.get("PERSISTENT") == "YES"


def persistent_type(image: Image) -> str:
    """``SHAREABLE``, ``IMMUTABLE`` or nothing."""
    return image.template.get("PERSISTENT_TYPE", "").upper()


def is_shareable(image: Image) -> bool:
    """Whether several VMs may use a persistent image at once; oned wants it raw when it makes the disk."""
    return persistent_type(image) == "SHAREABLE"


def image_disk(
    template: DiskTemplate, image: Image, datastore: Datastore, system: Datastore | None
) -> dict[str, str]:
    """The vector of a disk made from `image`. `system` is unknown until the VM is deployed.

    Raises OneError when the image datastore does not support the transfer driver of `system`.
    """
    cdrom = image.type is ImageType.CDROM
    read_only = cdrom or persistent_type(image) == "IMMUTABLE"
    persistent = image.persistent and not read_only
    disk = _inherited(datastore)
    disk.update(
        CLONE="NO" if image.persistent or read_only else "YES",
        CLUSTER_ID="0",
        DATASTORE=datastore.name,
        DATASTORE_ID=str(datastore.id),
        TM_MAD=datastore.tm_mad,
        CLONE_TARGET=datastore.template["CLONE_TARGET"],
        LN_TARGET=datastore.template["LN_TARGET"],
        IMAGE=image.name,
        IMAGE_ID=str(image.id),
        IMAGE_STATE=str(int(image.state)),
        SOURCE=image.source,
        FORMAT=image.format,
        DRIVER=image.format,
        ORIGINAL_SIZE=str(image.size_mb),
        SIZE=str(image.size_mb),
        DISK_SNAPSHOT_TOTAL_SIZE=str(image.snapshots.total_size if image.snapshots else 0),
        READONLY="YES" if read_only else "NO",
        SAVE="YES" if persistent else "NO",
        TYPE="CDROM" if cdrom else datastore.disk_type,
    )
    if persistent:
        disk["PERSISTENT"] = "YES"
        if is_shareable(image) and image.format == "raw":
            disk["SHAREABLE"] = "YES"
    if not cdrom:
        disk["DEV_PREFIX"] = image.template.get("DEV_PREFIX", "sd")
    disk.update({key: str(value) for key, value in template.items()})
    if system is not None:
        adapt_to_system(disk, datastore, system)
    return disk


def adapt_to_system(disk: dict[str, str], datastore: Datastore, system: Datastore) -> None:
    """Take over the attributes for another transfer driver in the system datastore.

    With equal drivers nothing changes. Raises OneError when the image datastore has no ``*_<DRIVER>`` keys.
    """
    if system.tm_mad == datastore.tm_mad:
        return
    suffix = system.tm_mad.upper()
    for key in ("CLONE_TARGET", "LN_TARGET", "DISK_TYPE"):
        value = datastore.template.get(f"{key}_{suffix}")
        if value is None:
            raise OneError(f"Image Datastore does not support transfer mode: {system.tm_mad}")
        disk[key] = value
    disk["TM_MAD_SYSTEM"] = system.tm_mad
    if disk["TYPE"] != "CDROM":
        disk["TYPE"] = disk["DISK_TYPE"]


def volatile_disk(template: DiskTemplate) -> dict[str, str]:
    """The vector of a volatile disk of TYPE ``fs`` or ``swap`` (SIZE in MiB) before it is in a datastore."""
    return {"DEV_PREFIX": "sd", "FORMAT": "raw", **{key: str(value) for key, value in template.items()}}


def volatile_attributes(system: Datastore) -> dict[str, str]:
    """What the system datastore adds to a volatile disk."""
    return {
        **_inherited(system),
        "CLUSTER_ID": "0",
        "DATASTORE": system.name,
        "DATASTORE_ID": str(system.id),
        "DRIVER": "raw",
        "TM_MAD": system.tm_mad,
    }


def target(disk: Mapping[str, str], taken: Iterable[str]) -> str:
    """The next free device name for the disk's DEV_PREFIX; CDROMs are ``sd``."""
    prefix = disk.get("DEV_PREFIX", "sd")
    used = set(taken)
    for letter in string.ascii_lowercase:
        if prefix + letter not in used:
            return prefix + letter
    raise OneError(f"no free device name with prefix {prefix}")


def _inherited(datastore: Datastore) -> dict[str, str]:
    return {key: datastore.template[key] for key in _INHERITED if key in datastore.template}
