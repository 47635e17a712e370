# SPDX-License-Identifier: Apache-2.0
"""Virtual machines' disks in use."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import threading

from lab.devices_protocol import DeviceBusy
from lab.hosts.devices import HostDevices
from lab.hosts.layout import PROGRAMS
from lab.hosts.page_cache import PageCache
from lab.hosts.processes import FileIdentity
from lab.hosts.session import Session
from lab.images.qcow2_resize import grow_qcow2

_CHUNK = 1 << 20


class Guest:
    """A process on a host that holds a disk open, read-write or read-only, until ``close`` or the host's end.

    All methods raise OSError with the number that the process got: ENOSPC for a write beyond the end, EIO
    for a read there; EPIPE when the process is gone. EIO also when DRBD has no quorum on the host. Writes
    raise BlockingIOError (EAGAIN) while the guest's file systems are frozen.
    """

    def __init__(self, session: Session, devices: HostDevices, path: str, *, write: bool = True) -> None:
        """Raises OSError when the path cannot be opened there, DeviceBusy when another host is Primary."""
        self.host = session.environment["LAB_HOST"]
        self.path = path
        self.writes = write
        self.cache = PageCache()
        """What the guest has in memory; another guest takes it over when the machine moves."""
        # A guest agent's freeze comes from another thread than what the test does with the guest.
        self._lock = threading.RLock()
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
        """Write and wait until the disk has it, and all that was written before."""
        with self._lock:
            self.cache.check()
            self.sync()
            self._write(offset, data)

    def write_cached(self, offset: int, data: bytes) -> None:
        """Write as programs do without fsync: the guest sees it, the device gets it by ``sync`` or a freeze."""
        with self._lock:
            self.cache.check()
            if not self.writes:
                raise OSError(errno.EROFS, f"{os.strerror(errno.EROFS)}: {self.host}:{self.path}")
            if offset + len(data) > self.size():
                raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {self.host}:{self.path}")
            self.cache.add(offset, data)

    def sync(self) -> None:
        """Bring what is cached to the device. In a frozen file system there is nothing to bring."""
        with self._lock:
            self.cache.write_back(self._write)

    def freeze(self) -> None:
        """What FIFREEZE does in the guest: write back, then let nobody write. Raises OSError: EBUSY when it is
        frozen."""
        with self._lock:
            if self.cache.frozen:
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
            self.sync()
            self.cache.frozen = True

    def thaw(self) -> bool:
        """Let programs write again; False when nothing was frozen."""
        with self._lock:
            frozen, self.cache.frozen = self.cache.frozen, False
            return frozen

    def read(self, offset: int, length: int) -> bytes:
        """As programs in the guest see it."""
        with self._lock:
            return self.cache.over(offset, self._read(offset, length))

    def size(self) -> int:
        """Bytes."""
        return int(self._ask("size"))

    def grow_qcow2(self, size: int) -> None:
        """What QEMU does on block_resize for a qcow2 image on the disk: it holds the image open, qemu-img can not.

        ``size``: bytes. Raises ValueError when it is no such image.
        """
        with self._lock:
            grow_qcow2(self._read, self._write, size)

    def sha256(self) -> str:
        """Of the whole disk as programs in the guest see it, in hexadecimal."""
        with self._lock:
            if not self.cache.dirty:
                return self._ask("sha256").decode()
            digest, size = hashlib.sha256(), self.size()
            for offset in range(0, size, _CHUNK):
                digest.update(self.read(offset, min(_CHUNK, size - offset)))
            return digest.hexdigest()

    def close(self) -> None:
        """Close the disk, as a power cut does: what is only cached is lost. May be called again."""
        with self._lock:
            self._process.communicate()
            if self._key is not None and self._primary:
                self._devices.demote(self._key, self.host)
                self._primary = False

    def __enter__(self) -> Guest:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, offset: int, length: int) -> bytes:
        return self._ask(f"read {offset} {length}")

    def _write(self, offset: int, data: bytes) -> None:
        self._ask(f"write {offset} {len(data)}", data, write=True)

    def _ask(self, request: str, body: bytes = b"", *, write: bool = False) -> bytes:
        assert self._process.stdin is not None
        with self._lock:
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
