# SPDX-License-Identifier: Apache-2.0
"""What OpenNebula's documents say, as records.  Sizes are in MiB there ("MB") and a ``Size`` here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from linstor_helper.errors import UsageError
from linstor_helper.units import Size

IMAGE_CDROM = 1
"""IMAGE/TYPE of a CD-ROM; 0 is an OS image, 2 a data block."""

_BOOLEANS = {"YES": True, "1": True, "NO": False, "0": False}
_VOLATILE_TYPES = frozenset({"fs", "swap"})


def boolean(text: str) -> bool | None:
    """What YES, NO, 1 or 0 means, in any case; None for everything else."""
    return _BOOLEANS.get(text.strip().upper())


class Image(NamedTuple):
    """An <IMAGE>.  In ``stat`` it has only a path, before that it has no source."""

    id: int | None
    path: str
    """Where ``cp`` and ``stat`` read; for ``clone`` the SOURCE of the original."""
    source: str
    size: Size | None
    format: str
    """In lower case: raw, qcow2, save_as, or empty when nobody said."""
    fs: str
    type: int | None
    persistent: bool
    target_snapshot: int | None
    """The snapshot that an action is about."""
    cloning_id: int | None
    """The image that is being copied into this one, if any."""
    datastore_id: int | None
    md5: str
    sha1: str
    template: Mapping[str, str]
    vms: tuple[int, ...]
    """Ids of the VMs that have it as a disk."""

    @property
    def is_cdrom(self) -> bool:
        return self.type == IMAGE_CDROM


class Datastore(NamedTuple):
    """A <DATASTORE>."""

    id: int
    name: str
    type: int
    """0 images, 1 system, 2 files, 3 backups."""
    tm_mad: str
    ds_mad: str
    """``-`` for a system datastore."""
    base_path: str
    template: Mapping[str, str]

    def __str__(self) -> str:
        return f"datastore {self.id} ({self.name})"


class Disk(NamedTuple):
    """A <DISK> of a VM."""

    id: int
    source: str
    image_id: int | None
    datastore_id: int | None
    clone: bool | None
    """False: the disk is the image itself; True: a copy of it; None: not said (volatile disks)."""
    save: bool
    readonly: bool
    shareable: bool
    persistent: bool
    type: str
    """BLOCK, FILE, CDROM, ... of an image; fs or swap of a volatile disk."""
    tm_mad: str
    size: Size
    """What the user wants; zero when OpenNebula does not say (disks that name another driver's SOURCE)."""
    original_size: Size | None
    """The size of the image."""
    format: str
    """In lower case; empty when nobody said."""
    fs: str
    attributes: Mapping[str, str]

    @property
    def volatile(self) -> bool:
        """Whether the disk is the VM's own and comes from no image."""
        return not self.source or self.type.lower() in _VOLATILE_TYPES

    @property
    def is_swap(self) -> bool:
        return self.type.lower() == "swap"

    @property
    def is_cdrom(self) -> bool:
        """Whether the guest sees a CD-ROM (CDROM, BLOCK_CDROM, RBD_CDROM, ...)."""
        return self.type.upper().endswith("CDROM")


class Host(NamedTuple):
    """A <HOST>."""

    id: int
    name: str
    state: int
    vms: tuple[int, ...]
    """Ids of the VMs that occupy it; those that are stopped or undeployed do not."""

    @property
    def dead(self) -> bool:
        """Whether OpenNebula has given it up: ERROR, MONITORING_ERROR, OFFLINE (Host.h)."""
        return self.state in (3, 5, 8)


class Vm(NamedTuple):
    """A <VM>."""

    id: int
    name: str
    state: int
    lcm_state: int
    disks: tuple[Disk, ...]
    host: str | None
    """Where the VM is or was last; None before its first deployment."""
    system_ds_id: int | None
    system_tm: str
    """TM_MAD of its system datastore; empty before its first deployment."""
    host_ids: Mapping[str, int]
    """Ids of all hosts on which it was, by their names."""
    stays: int
    """The number of its history records: each host and each system datastore in which it was, one after the other."""
    deploy_id: str
    """Its name at the hypervisor; empty before its first deployment."""
    attributes: Mapping[str, str]
    """What its owner and its template say of it; the owner's word, USER_TEMPLATE, counts more."""

    resizes: int
    """How many of those have ended only because a disk was resized."""
    snapshots: Mapping[tuple[int, int], int]
    """When a snapshot was asked for, in seconds since the epoch, by the ids of its disk and its own."""

    def disk(self, disk_id: int) -> Disk:
        """Raises UsageError when the VM has no such disk (the context ISO is none)."""
        for disk in self.disks:
            if disk.id == disk_id:
                return disk
        raise UsageError(f"VM {self.id} has no disk {disk_id}")
