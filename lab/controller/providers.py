# SPDX-License-Identifier: Apache-2.0
"""How storage providers differ in what a driver can notice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Provider:
    """Traits of a provider kind.

    ``extent_kib``: sizes are rounded up to it. ``clones``: native clone is offered. ``shares_blocks``:
    snapshots and what is made of them start without blocks of their own. ``dependent``: a copy needs its
    origin to stay. ``stale``: a new volume shows what was stored on its blocks before.
    """

    kind: str
    thin: bool
    snapshots: bool
    clones: bool
    extent_kib: int
    shares_blocks: bool = False
    dependent: bool = False
    stale: bool = False
    snapshots_since: tuple[int, int] = (1, 0)

    def device_path(self, backing: str, resource: str, volume: int, minor: int) -> str:
        """Path of the backing device; ``backing`` is the VG, zpool or directory of the pool."""
        name = f"{resource}_{volume:05d}"
        if self.kind.startswith("ZFS"):
            return f"/dev/zvol/{backing}/{name}"
        if self.kind.startswith("FILE"):
            return f"/dev/loop{minor}"
        return f"/dev/{backing.split('/')[0]}/{name}"


DISKLESS = "DISKLESS"

PROVIDERS = {
    provider.kind: provider
    for provider in (
        Provider(DISKLESS, thin=False, snapshots=False, clones=True, extent_kib=1),
        # plain LVM takes snapshots (full-size copy-on-write area) since LINSTOR 1.35 only
        Provider(
            "LVM",
            thin=False,
            snapshots=True,
            clones=True,
            extent_kib=4096,
            stale=True,
            snapshots_since=(1, 29),
        ),
        Provider("LVM_THIN", thin=True, snapshots=True, clones=True, extent_kib=4096, shares_blocks=True),
        Provider(
            "ZFS", thin=False, snapshots=True, clones=True, extent_kib=16, shares_blocks=True, dependent=True
        ),
        Provider(
            "ZFS_THIN",
            thin=True,
            snapshots=True,
            clones=True,
            extent_kib=16,
            shares_blocks=True,
            dependent=True,
        ),
        Provider("FILE", thin=False, snapshots=True, clones=False, extent_kib=4),
        Provider("FILE_THIN", thin=True, snapshots=True, clones=False, extent_kib=4, shares_blocks=True),
    )
}
