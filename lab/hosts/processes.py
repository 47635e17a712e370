# SPDX-License-Identifier: Apache-2.0
"""Processes of the lab's hosts, found in /proc.

A process belongs to a host when its environment, as it was at exec, holds ``LAB_ROOT`` and ``LAB_HOST``:
the lab's ssh gives it both, children inherit them, and unlike parent ids they survive a client that was
killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FileIdentity:
    """One file, or one block device (which may have many nodes), whatever the path that was opened."""

    block_device: int = 0
    device: int = 0
    inode: int = 0

    @classmethod
    def of(cls, status: os.stat_result) -> FileIdentity:
        if stat.S_ISBLK(status.st_mode):
            return cls(block_device=status.st_rdev)
        return cls(device=status.st_dev, inode=status.st_ino)


@dataclass(frozen=True)
class Opener:
    host: str
    pid: int
    writes: bool


def processes(root: Path) -> Iterator[tuple[int, str]]:
    """Process id and host of every process that runs on a host of the lab at ``root``."""
    wanted = b"LAB_ROOT=" + os.fsencode(root)
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/environ", "rb") as file:
                environment = file.read().split(b"\0")
        except OSError:
            continue
        if wanted not in environment:
            continue
        for word in environment:
            if word.startswith(b"LAB_HOST="):
                yield int(entry), os.fsdecode(word[len(b"LAB_HOST=") :])


def openers(root: Path, identity: FileIdentity) -> list[Opener]:
    """Everybody on a host of the lab who holds the file open now."""
    found = []
    for pid, host in processes(root):
        modes = list(_open_modes(pid, identity))
        if modes:
            found.append(Opener(host, pid, any(mode & os.O_ACCMODE != os.O_RDONLY for mode in modes)))
    return found


def _open_modes(pid: int, identity: FileIdentity) -> Iterator[int]:
    try:
        descriptors = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            if FileIdentity.of(os.stat(f"/proc/{pid}/fd/{descriptor}")) == identity:
                yield _flags(pid, descriptor)


def _flags(pid: int, descriptor: str) -> int:
    with open(f"/proc/{pid}/fdinfo/{descriptor}", encoding="ascii") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name == "flags":
                return int(value, 8)
    raise OSError(f"no flags in fdinfo of descriptor {descriptor} of process {pid}")


def kill_all(root: Path, host: str | None = None, patience: float = 5.0) -> None:
    """Kill what runs on one host, or on all, and wait until it is gone. Raises TimeoutError after
    ``patience`` s.

    Repeats, because a process may fork while the list is read.
    """
    deadline = time.monotonic() + patience
    while True:
        found = [pid for pid, where in processes(root) if host in (None, where) and pid != os.getpid()]
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {found} of host {host or 'any'} survive SIGKILL")
        time.sleep(0.002)
