# SPDX-License-Identifier: Apache-2.0
"""The volumes of the lab as the programs on its hosts meet them: paths that they open, read and write."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lab.devices_protocol import ACCESS, DeviceBusy, stale_places
from lab.hosts.contents import Contents
from lab.hosts.layout import Layout
from lab.hosts.loops import Loop
from lab.hosts.processes import FileIdentity, Opener, openers

KIB = 1024
# Linux leaves block majors 60-63 to local use: no driver claims them.
UNDRIVEN = os.makedev(60, 0)


@dataclass
class _Volume:
    """``paths``: host -> device node and links. ``primaries``: number of guests that hold it for writing, by
    host. ``access``: of hosts where it is not ``rw``. ``overtaken``: Primaries that others have replaced while
    they could not write."""

    paths: dict[str, list[str]] = field(default_factory=dict)
    primaries: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    together: set[str] | None = None
    access: dict[str, str] = field(default_factory=dict)
    overtaken: set[str] = field(default_factory=set)
    loop: Loop | None = None

    def able(self, hosts: Iterable[str]) -> set[str]:
        """Those of the hosts that can write."""
        return {host for host in hosts if host not in self.access and host not in self.overtaken}

    def permits(self, node: str, writers: Iterable[str]) -> bool:
        """DRBD's rule: one Primary, or those for which two primaries are allowed."""
        others = self.able(writers) - {node}
        return not others or (self.together is not None and others | {node} <= self.together)


class HostDevices:
    """Implements ``lab.devices_protocol.Devices`` with files, or with block devices over them.

    While a guest writes on one host, the node on the others is one that cannot be opened (ENXIO), as DRBD
    does not let a Secondary be opened then; likewise on a host without quorum. There is one content: two
    hosts that write without knowing of each other are beyond it.
    """

    def __init__(self, layout: Layout, *, block: bool) -> None:
        self._layout = layout
        self._block = block
        self._contents = Contents(layout.contents)
        self._volumes: dict[str, _Volume] = {}
        self._lock = threading.RLock()

    def create(self, key: str, size_kib: int, *, stale: bool = False) -> None:
        with self._lock:
            self._contents.create(key, size_kib * KIB, stale_places(size_kib * KIB) if stale else ())
            self._volumes[key] = _Volume()

    def copy(self, source: str, target: str) -> None:
        with self._lock:
            self._flush(source)
            self._contents.copy(source, target)
            self._volumes[target] = _Volume()

    def resize(self, key: str, size_kib: int, *, stale: bool = False) -> None:
        with self._lock:
            self._contents.resize(key, size_kib * KIB, stale=stale)
            loop = self._volumes[key].loop
            if loop:
                loop.resized()

    def delete(self, key: str) -> None:
        with self._lock:
            self._refuse_when_open(key, hosts=None)
            for node in list(self._volumes[key].paths):
                self._disappear(key, node)
            self._contents.delete(key)
            del self._volumes[key]

    def allocated_kib(self, key: str) -> int:
        with self._lock:
            self._flush(key)
            return -(-self._contents.allocated(key) // KIB)

    def expose(self, key: str, node: str, paths: list[str]) -> None:
        """Raises KeyError for an unknown volume, ValueError for an unknown host or a path outside of /dev."""
        with self._lock:
            volume = self._volumes[key]
            if not self._layout.dev(node).is_dir():
                raise ValueError(f"there is no host {node}")
            places = [self._outside(node, path) for path in paths]
            if volume.paths.get(node) == paths:
                return
            self._disappear(key, node)
            if self._block and volume.loop is None:
                volume.loop = Loop(self._contents.existing(key))
            volume.paths[node] = list(paths)
            for place in places:
                place.parent.mkdir(parents=True, exist_ok=True)
            self._place_node(key, node)
            for link in places[1:]:
                link.symlink_to(os.path.relpath(places[0], link.parent))

    def hide(self, key: str, node: str) -> None:
        with self._lock:
            if key in self._volumes and node in self._volumes[key].paths:
                self._refuse_when_open(key, hosts={node})
                self._disappear(key, node)

    def openers(self, key: str) -> set[str]:
        with self._lock:
            return self._writers(key)

    def allow_writers(self, key: str, nodes: set[str] | None) -> None:
        with self._lock:
            volume = self._volumes[key]
            writers = volume.able(self._writers(key))
            if len(writers) > 1 and not writers <= (nodes or set()):
                raise DeviceBusy(f"{key} has several writers", writers)
            volume.together = None if nodes is None else set(nodes)
            self._place_nodes(key)

    def set_access(self, key: str, node: str, access: str) -> None:
        if access not in ACCESS:
            raise ValueError(f"no such access: {access}")
        with self._lock:
            volume = self._volumes[key]
            if access == volume.access.get(node, "rw"):
                return
            volume.access.pop(node, None)
            if access != "rw":
                volume.access[node] = access
            self._place_nodes(key)

    def check(self, key: str, node: str, *, write: bool) -> None:
        """Raises OSError with EIO when a guest that has the volume open can not write, or read, there now."""
        with self._lock:
            volume = self._volumes.get(key, _Volume())
            allowed = ("rw",) if write else ("rw", "ro")
            if node in volume.overtaken or volume.access.get(node, "rw") not in allowed:
                raise OSError(errno.EIO, f"{os.strerror(errno.EIO)}: {key} on {node}")

    def find(self, identity: FileIdentity) -> str | None:
        """The volume that a process has opened, if it is one."""
        with self._lock:
            return next((key for key in self._volumes if self._identity(key) == identity), None)

    def promote(self, key: str, node: str) -> None:
        """A guest on the node has opened it for writing. Raises DeviceBusy when another host has it open.

        Readers count: DRBD refuses to make a node Primary while a peer has the device open read-only, unless
        two primaries are allowed.
        """
        with self._lock:
            volume = self._volumes[key]
            holders = {opener.host for opener in self._open(key)} | volume.primaries.keys()
            if not volume.permits(node, holders):
                raise DeviceBusy(f"{key} is open elsewhere", holders - {node})
            volume.overtaken |= volume.primaries.keys() - volume.able(volume.primaries) - {node}
            volume.primaries[node] += 1
            self._place_nodes(key)

    def demote(self, key: str, node: str) -> None:
        """That guest is gone."""
        with self._lock:
            volume = self._volumes.get(key)
            if volume is None:
                return
            volume.primaries[node] -= 1
            if volume.primaries[node] == 0:
                del volume.primaries[node]
                volume.overtaken.discard(node)
            self._place_nodes(key)

    def close(self) -> None:
        """Take all devices away, whoever has them open. Contents stay."""
        with self._lock:
            for key, volume in self._volumes.items():
                for node in list(volume.paths):
                    self._disappear(key, node)

    def _writers(self, key: str) -> set[str]:
        return {opener.host for opener in self._open(key) if opener.writes}

    def _open(self, key: str) -> list[Opener]:
        if key not in self._volumes:
            return []
        return openers(self._layout.root, self._identity(key))

    def _identity(self, key: str) -> FileIdentity:
        loop = self._volumes[key].loop
        if loop:
            return FileIdentity(block_device=loop.number)
        return FileIdentity.of(self._contents.existing(key).stat())

    def _refuse_when_open(self, key: str, hosts: set[str] | None) -> None:
        holders = {opener.host for opener in self._open(key) if hosts is None or opener.host in hosts}
        if holders:
            raise DeviceBusy(f"{key} is open on {', '.join(sorted(holders))}", holders)

    def _flush(self, key: str) -> None:
        loop = self._volumes[key].loop if key in self._volumes else None
        if loop:
            loop.flush()

    def _outside(self, node: str, path: str) -> Path:
        """Where a path of the host's /dev stands for us."""
        relative = Path(path).relative_to("/dev")
        return self._layout.dev(node) / relative

    def _place_nodes(self, key: str) -> None:
        for node in self._volumes[key].paths:
            self._place_node(key, node)

    def _place_node(self, key: str, node: str) -> None:
        """Put the device node there, one that can be opened or one that can not; replace it in one step."""
        volume = self._volumes[key]
        place = self._outside(node, volume.paths[node][0])
        usable = node not in volume.access and volume.permits(node, volume.primaries)
        # The locks by which QEMU knows of other users of a disk belong to the node: it stays where it is right.
        if self._is_placed(key, place, usable=usable):
            return
        fresh = place.with_name(f".{place.name}")
        fresh.unlink(missing_ok=True)
        if not usable:
            _make_unusable(fresh, block=volume.loop is not None)
        elif volume.loop:
            os.mknod(fresh, stat.S_IFBLK, volume.loop.number)
        else:
            os.link(self._contents.existing(key), fresh)
        fresh.chmod(0o660)
        os.replace(fresh, place)

    def _is_placed(self, key: str, place: Path, *, usable: bool) -> bool:
        try:
            status = place.lstat()
        except FileNotFoundError:
            return False
        if usable:
            return FileIdentity.of(status) == self._identity(key)
        if stat.S_ISBLK(status.st_mode):
            return status.st_rdev == UNDRIVEN
        return stat.S_ISSOCK(status.st_mode)

    def _disappear(self, key: str, node: str) -> None:
        volume = self._volumes[key]
        for path in reversed(volume.paths.pop(node, [])):
            place = self._outside(node, path)
            place.unlink(missing_ok=True)
            for directory in place.parents:
                if directory == self._layout.dev(node):
                    break
                with contextlib.suppress(OSError):
                    directory.rmdir()
        if not volume.paths and volume.loop:
            volume.loop.detach()
            volume.loop = None


def _make_unusable(path: Path, *, block: bool) -> None:
    """Make a node that answers ENXIO to whoever opens it, root included."""
    if block:
        os.mknod(path, stat.S_IFBLK, UNDRIVEN)
    else:
        os.mknod(path, stat.S_IFSOCK)
