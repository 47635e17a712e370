# SPDX-License-Identifier: Apache-2.0
"""Virtual machines' disks in use."""

from __future__ import annotations

import os
import subprocess
import sys

from lab.devices_protocol import DeviceBusy
from lab.hosts.devices import HostDevices
from lab.hosts.layout import PROGRAMS
from lab.hosts.processes import FileIdentity
from lab.hosts.session import Session


class Guest:
    """A process on a host that holds a disk open, read-write or read-only, until ``close`` or the host's end.

    All methods raise OSError with the number that the process got: ENOSPC for a write beyond the end, EIO
    for a read there; EPIPE when the process is gone. EIO also when DRBD has no quorum on the host.
    """

    def __init__(self, session: Session, devices: HostDevices, path: str, *, write: bool = True) -> None:
        """Raises OSError when the path cannot be opened there, DeviceBusy when another host is Primary."""
        self.host = session.environment["LAB_HOST"]
        self.path = path
        self._devices = devices
        self._key: str | None = None
        self._primary = False
        self._process = session.popen(
            [sys.executable, "-IS", str(PROGRAMS / "guest.py"), path, "rw" if write else "ro"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            self._answer()
            self._key = devices.find(FileIdentity(*map(int, self._read_line().split())))
            if self._key is not None and write:
                devices.promote(self._key, self.host)
                self._primary = True
        except (OSError, DeviceBusy):
            self.close()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def write(self, offset: int, data: bytes) -> None:
        """Write and wait until the disk has it."""
        self._ask(f"write {offset} {len(data)}", data, write=True)

    def read(self, offset: int, length: int) -> bytes:
        return self._ask(f"read {offset} {length}")

    def size(self) -> int:
        """Bytes."""
        return int(self._ask("size"))

    def sha256(self) -> str:
        """Of the whole disk, in hexadecimal."""
        return self._ask("sha256").decode()

    def close(self) -> None:
        """Close the disk. May be called again."""
        self._process.communicate()
        if self._key is not None and self._primary:
            self._devices.demote(self._key, self.host)
            self._primary = False

    def __enter__(self) -> Guest:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, request: str, body: bytes = b"", *, write: bool = False) -> bytes:
        assert self._process.stdin is not None
        if self._process.stdin.closed:
            raise BrokenPipeError(f"{self.path} on {self.host} is closed")
        if self._key is not None:
            self._devices.check(self._key, self.host, write=write)
        self._process.stdin.write(request.encode() + b"\n" + body)
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> bytes:
        assert self._process.stdout is not None
        word, number = self._read_line().split()
        if word == "error":
            raise OSError(int(number), f"{os.strerror(int(number))}: {self.host}:{self.path}")
        return self._process.stdout.read(int(number))

    def _read_line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().decode()
        if not line:
            raise BrokenPipeError(f"the process on {self.host} that held {self.path} is gone")
        return line
