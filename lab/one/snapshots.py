# SPDX-License-Identifier: Apache-2.0
"""What oned writes down about the snapshots of one disk or image.

Only the flat record of ALLOW_ORPHANS=YES, which the driver asks for: no snapshot is another's parent. Source of the
facts: ``src/vm/Snapshots.cc``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Snapshot:
    """One SNAPSHOT: `size` is that of the disk at the time in MiB, `date` seconds since the epoch."""

    id: int
    name: str
    size: int
    date: int = field(default_factory=lambda: int(time.time()))


@dataclass
class Snapshots:
    """A SNAPSHOTS element; ids count up and none is given twice. `active` is the last taken or reverted to."""

    records: dict[int, Snapshot] = field(default_factory=dict)
    next_id: int = 0
    active: int | None = None

    def add(self, name: str, size: int) -> int:
        """Write down a new snapshot of a disk of `size` MiB, which is not active yet; the id."""
        snapshot = Snapshot(self.next_id, name, size)
        self.records[snapshot.id] = snapshot
        self.next_id += 1
        return snapshot.id

    def activate(self, snapshot_id: int) -> None:
        self.active = snapshot_id

    def remove(self, snapshot_id: int) -> None:
        # oned goes on to take the number for the active one, which shows nowhere.
        del self.records[snapshot_id]

    def copy(self) -> Snapshots:
        return Snapshots(dict(self.records), self.next_id, self.active)

    @property
    def total_size(self) -> int:
        """MiB, as DISK_SNAPSHOT_TOTAL_SIZE has it."""
        return sum(one.size for one in self.records.values())
