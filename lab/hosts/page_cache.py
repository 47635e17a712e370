# SPDX-License-Identifier: Apache-2.0
"""What a guest's operating system holds in memory of one disk: written by its programs, not yet on the device."""

from __future__ import annotations

import errno
from collections.abc import Callable


class PageCache:
    """Writes that wait for the device, in their order; and whether the file system on the disk is frozen.

    It belongs to the memory of the virtual machine: it moves with a live migration, is saved with a checkpoint,
    and is lost when the machine is powered off.
    """

    def __init__(self) -> None:
        self.frozen = False
        self._waiting: list[tuple[int, bytes]] = []

    @property
    def dirty(self) -> bool:
        return bool(self._waiting)

    def check(self) -> None:
        """Raises BlockingIOError in a frozen file system, where Linux lets a writing program wait for the thaw."""
        if self.frozen:
            raise BlockingIOError(errno.EAGAIN, "the guest's file system is frozen")

    def add(self, offset: int, data: bytes) -> None:
        self._waiting.append((offset, bytes(data)))

    def over(self, offset: int, data: bytes) -> bytes:
        """What programs in the guest read where the device has `data` from `offset` on."""
        seen = bytearray(data)
        end = offset + len(seen)
        for start, piece in self._waiting:
            low, high = max(start, offset), min(start + len(piece), end)
            if low < high:
                seen[low - offset : high - offset] = piece[low - start : high - start]
        return bytes(seen)

    def write_back(self, write: Callable[[int, bytes], object]) -> None:
        """Bring everything to the device; what `write` raised for stays, and what comes after it."""
        while self._waiting:
            write(*self._waiting[0])
            del self._waiting[0]
