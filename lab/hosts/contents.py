# SPDX-License-Identifier: Apache-2.0
"""What is in the volumes: one sparse file for each."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

from lab.devices_protocol import BLOCK, STALE, stale_growth

OLD_BLOCK = STALE * BLOCK


class Contents:
    """Sparse files below one directory. Sizes are bytes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def path(self, key: str) -> Path:
        return self._directory / quote(key, safe="@")

    def existing(self, key: str) -> Path:
        """Raises KeyError when there is no such content."""
        path = self.path(key)
        if not path.exists():
            raise KeyError(key)
        return path

    def create(self, key: str, size: int, stale: Iterable[int] = ()) -> None:
        """``stale``: where there are blocks of old content. Raises FileExistsError."""
        with open(self.path(key), "xb") as file:
            file.truncate(size)
            for offset in stale:
                os.pwrite(file.fileno(), OLD_BLOCK, offset)

    def copy(self, source: str, target: str) -> None:
        """Copy what is allocated; holes stay holes. Raises KeyError, FileExistsError."""
        with open(self.existing(source), "rb") as original, open(self.path(target), "xb") as made:
            made.truncate(os.fstat(original.fileno()).st_size)
            for start, end in data_extents(original.fileno()):
                copy_range(original.fileno(), made.fileno(), start, end)

    def resize(self, key: str, size: int, *, stale: bool = False) -> None:
        """``stale``: what is new shows old content."""
        with open(self.existing(key), "r+b") as file:
            before = os.fstat(file.fileno()).st_size
            file.truncate(size)
            for offset in stale_growth(before, size) if stale else ():
                os.pwrite(file.fileno(), OLD_BLOCK, offset)

    def delete(self, key: str) -> None:
        self.existing(key).unlink()

    def allocated(self, key: str) -> int:
        # POSIX leaves the unit of st_blocks open; on Linux it is 512 bytes on every file system.
        return self.existing(key).stat().st_blocks * 512


def data_extents(descriptor: int) -> Iterator[tuple[int, int]]:
    """Start and end of each stretch of a file that is not a hole."""
    end = 0
    while True:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, end


def copy_range(source: int, target: int, start: int, end: int) -> None:
    """Copy the bytes from ``start`` to ``end`` to the same place in the other file, inside the kernel."""
    while start < end:
        copied = os.copy_file_range(source, target, end - start, start, start)
        if copied == 0:
            raise OSError(f"the source ended at {start} instead of {end}")
        start += copied
