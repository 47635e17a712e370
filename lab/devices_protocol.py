# SPDX-License-Identifier: Apache-2.0
"""What the controller simulator asks of the machines' block devices, and an in-memory implementation.

The content of a volume is one object, whatever the number of replicas: DRBD shows the same bytes everywhere.
Keys are opaque: ``<RD>/<volume>`` for volumes and ``<RD>/<volume>@<snapshot>`` for snapshots, in upper case.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Protocol

ACCESS = ("rw", "ro", "none")
BLOCK = 4096
STALE = b"\xde"
"""Fills the blocks of old content."""

_MIB = 1 << 20


def stale_places(size: int) -> Iterator[int]:
    """Offsets of the blocks with old content in a volume of ``size`` bytes: all of the first 64 MiB and of the
    last MiB, and one in each MiB between, which keeps large volumes cheap."""
    dense, last = min(size, 64 * _MIB), size - size % _MIB - _MIB
    yield from range(0, dense, BLOCK)
    yield from range(dense, last, _MIB)
    yield from range(max(dense, last), size, BLOCK)


def stale_growth(before: int, after: int) -> Iterator[int]:
    """As ``stale_places``, of what a volume of ``before`` bytes gets when it grows to ``after``."""
    start = -(-before // BLOCK) * BLOCK
    yield from (start + place for place in stale_places(after - after % BLOCK - start))


class DeviceBusy(Exception):
    """A process holds the device open.

    ``hosts`` names the machines on which it is open.
    """

    def __init__(self, message: str, hosts: set[str] | None = None) -> None:
        super().__init__(message)
        self.hosts = set(hosts or ())


class Devices(Protocol):
    """Contents of volumes and their appearance as device nodes on hosts. Sizes are KiB."""

    def create(self, key: str, size_kib: int, *, stale: bool = False) -> None:
        """Make a content that reads as zeros and holds no blocks yet; ``stale``: one that shows what somebody
        else had stored there."""

    def copy(self, source: str, target: str) -> None:
        """Make ``target`` an independent copy of ``source``; holes stay holes."""

    def resize(self, key: str, size_kib: int, *, stale: bool = False) -> None:
        """Change the size; bytes below the smaller of the two sizes stay as they are. What is new reads as zeros;
        ``stale``: it shows what somebody else had stored there."""

    def delete(self, key: str) -> None:
        """Remove the content. Raises DeviceBusy while it is open anywhere."""

    def allocated_kib(self, key: str) -> int:
        """Blocks really used."""

    def expose(self, key: str, node: str, paths: list[str]) -> None:
        """Let the device appear on a host: the first path is the node, the others are links to it."""

    def hide(self, key: str, node: str) -> None:
        """Let the device disappear from a host. Raises DeviceBusy while it is open there."""

    def openers(self, key: str) -> set[str]:
        """Hosts on which a process has the device open for writing now (DRBD: Primary)."""

    def allow_writers(self, key: str, nodes: set[str] | None) -> None:
        """None: one writing host at a time. A set: these hosts may write together.

        Raises DeviceBusy, and nothing changes, while hosts write together that would not be allowed to.
        """

    def set_access(self, key: str, node: str, access: str) -> None:
        """What DRBD can do on a host: ``rw``; ``ro``: up-to-date data is in reach, but there is no quorum;
        ``none``: there is neither. At first it is ``rw``.

        Without quorum DRBD lets nobody open the device, not even for reading (ENODATA). Who has it open keeps
        it open: writing fails, with ``none`` reading too, as with on-no-quorum=io-error. A host that can not
        write does not keep others from it; once one of them did, its openers have lost the device for good.
        """


class _Content:
    def __init__(self, size_kib: int) -> None:
        self.size_kib = size_kib
        self.blocks: dict[int, bytes] = {}
        self.paths: dict[str, list[str]] = {}
        self.writers: set[str] = set()
        self.readers: set[str] = set()
        self.together: set[str] | None = None
        self.access: dict[str, str] = {}


class NoDevices:
    """Devices in memory: for tests of states only, where no program opens a path.

    ``open``/``close``/``write``/``read`` stand for a process on a host; they keep DRBD's rule of one Primary.
    """

    def __init__(self) -> None:
        self._contents: dict[str, _Content] = {}

    def create(self, key: str, size_kib: int, *, stale: bool = False) -> None:
        if key in self._contents:
            raise FileExistsError(key)
        self._contents[key] = content = _Content(size_kib)
        if stale:
            content.blocks = dict.fromkeys(stale_places(size_kib * 1024), STALE * BLOCK)

    def copy(self, source: str, target: str) -> None:
        if target in self._contents:
            raise FileExistsError(target)
        original = self._contents[source]
        made = _Content(original.size_kib)
        made.blocks = dict(original.blocks)
        self._contents[target] = made

    def resize(self, key: str, size_kib: int, *, stale: bool = False) -> None:
        content = self._contents[key]
        if stale:
            new = stale_growth(content.size_kib * 1024, size_kib * 1024)
            content.blocks.update(dict.fromkeys(new, STALE * BLOCK))
        content.size_kib = size_kib
        content.blocks = {at: data for at, data in content.blocks.items() if at < size_kib * 1024}

    def delete(self, key: str) -> None:
        content = self._contents[key]
        holders = content.writers | content.readers
        if holders:
            raise DeviceBusy(f"{key} is open", holders)
        del self._contents[key]

    def allocated_kib(self, key: str) -> int:
        return len(self._contents[key].blocks) * BLOCK // 1024

    def expose(self, key: str, node: str, paths: list[str]) -> None:
        self._contents[key].paths[node] = list(paths)

    def hide(self, key: str, node: str) -> None:
        content = self._contents[key]
        if node in content.writers | content.readers:
            raise DeviceBusy(f"{key} is open on {node}", {node})
        content.paths.pop(node, None)

    def openers(self, key: str) -> set[str]:
        content = self._contents.get(key)
        return set(content.writers) if content else set()

    def allow_writers(self, key: str, nodes: set[str] | None) -> None:
        content = self._contents[key]
        writers = {node for node in content.writers if content.access.get(node, "rw") == "rw"}
        if len(writers) > 1 and not writers <= (nodes or set()):
            raise DeviceBusy(f"{key} has several writers", writers)
        content.together = None if nodes is None else set(nodes)

    def set_access(self, key: str, node: str, access: str) -> None:
        if access not in ACCESS:
            raise ValueError(f"no such access: {access}")
        self._contents[key].access[node] = access

    def access(self, key: str, node: str) -> str:
        """What was set for the host."""
        return self._contents[key].access.get(node, "rw")

    def exists(self, key: str) -> bool:
        return key in self._contents

    def size_kib(self, key: str) -> int:
        return self._contents[key].size_kib

    def paths(self, key: str, node: str) -> list[str]:
        """Paths under which the host sees the device; empty when it does not."""
        content = self._contents.get(key)
        return list(content.paths.get(node, ())) if content else []

    def open(self, key: str, node: str, *, write: bool = True) -> None:
        """A process on the host opens the device. Raises FileNotFoundError, DeviceBusy, and OSError when there
        is no quorum or no up-to-date data."""
        content = self._contents.get(key)
        if content is None or node not in content.paths:
            raise FileNotFoundError(f"{key} on {node}")
        if self.access(key, node) != "rw":
            raise OSError(errno.ENXIO, f"{key} can not be opened on {node}")
        holders = content.writers | content.readers if write else content.writers
        others = {other for other in holders - {node} if self.access(key, other) == "rw"}
        if others and not (content.together is not None and others | {node} <= content.together):
            raise DeviceBusy(f"{key} is open on another node", others)
        (content.writers if write else content.readers).add(node)

    def close(self, key: str, node: str) -> None:
        content = self._contents[key]
        content.writers.discard(node)
        content.readers.discard(node)

    def write(self, key: str, offset: int, data: bytes) -> None:
        """Write whole blocks of 4 KiB at an aligned offset (bytes)."""
        if offset % BLOCK or len(data) % BLOCK:
            raise ValueError("offset and length are multiples of 4096")
        content = self._contents[key]
        if offset + len(data) > content.size_kib * 1024:
            raise OSError("write beyond the end of the device")
        for start in range(0, len(data), BLOCK):
            content.blocks[offset + start] = bytes(data[start : start + BLOCK])

    def read(self, key: str, offset: int, length: int) -> bytes:
        """Read whole blocks of 4 KiB at an aligned offset (bytes)."""
        blocks = self._contents[key].blocks
        return b"".join(blocks.get(at, bytes(BLOCK)) for at in range(offset, offset + length, BLOCK))
