# SPDX-License-Identifier: Apache-2.0
"""Moving bytes into volumes.

What is zero is neither sent nor written: sources are cut into extents of data, and an extent travels as one command
(``dd`` with its place and length) followed by its bytes on the same stream to the host.  Memory does not grow with
the image.  Where the storage does not promise that a new volume reads as zeros, the holes are zeroed on the host.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Callable, NamedTuple

from linstor_helper import host_commands
from linstor_helper.errors import RefusedError
from linstor_helper.names import same
from linstor_helper.ports import Hosts, Resource, Stream
from linstor_helper.shell import Script
from linstor_helper.units import KIB, MIB, Size

CHUNK = 4 * MIB
_GRAIN = 64 * KIB
"""Zeros shorter than this are sent: a command for each would cost more than it saves."""
_ZEROS = bytes(_GRAIN)
_BLOCK = 4 * KIB
"""What every device can zero a multiple of, and what the size of every volume is a multiple of."""

_READS_AS_ZEROS = {"LVM_THIN", "ZFS", "ZFS_THIN", "FILE", "FILE_THIN"}
"""Providers whose new volumes have no old content."""

Extent = tuple[int, bytes]
"""Where data goes, and the data.  Extents begin at whole grains and end there, but for the last one."""


class Target(NamedTuple):
    """A new volume's device on a host."""

    host: str
    device: str
    size: Size
    zeroed: bool
    """Whether it is known to read as zeros now."""


def reads_as_zeros(resources: Sequence[Resource]) -> bool:
    """Whether a new volume with these replicas has no old content, on any of them.

    Encrypted storage never has: what was never written decrypts to noise.
    """
    replicas = [r for r in resources if not r.diskless]
    return all(r.provider in _READS_AS_ZEROS and "LUKS" not in r.layers for r in replicas)


def ties_copies(resources: Sequence[Resource]) -> bool:
    """Whether what is restored from a snapshot of this volume depends on it for ever (REST guide 3.7)."""
    return any((one.provider or "").startswith("ZFS") for one in resources)


def has_clones(resources: Sequence[Resource]) -> bool:
    """Whether LINSTOR can clone from the storage of this volume (REST guide 2.11)."""
    return not any((one.provider or "").startswith("FILE") for one in resources)


def visible_size(resources: Sequence[Resource], declared: Size) -> Size:
    """What a guest sees of a volume: its device is rounded up to whole extents, and it may have used all of it."""
    return max([declared, *(one.size for one in resources if one.size is not None and not one.deleting)])


def choose_host(
    resources: Sequence[Resource], usable: Callable[[Resource], bool], bridges: Sequence[str], turn: int
) -> str:
    """The host through which a volume is written or read: one with a replica, of the bridges if there are any.

    ``turn`` spreads the work: consecutive numbers take consecutive hosts.
    """
    nodes = sorted(r.node for r in resources if usable(r))
    local = [bridge for bridge in bridges if any(same(bridge, node) for node in nodes)]
    candidates = local or list(bridges) or nodes
    return candidates[turn % len(candidates)]


def write(hosts: Hosts, target: Target, extents: Iterable[Extent], attach_timeout: int) -> None:
    """Makes the extents the content of the target, everything between and behind them zeros.

    Returns when the data is on the replicas' disks.  Raises RefusedError when an extent lies beyond the target's size.
    """
    hosts.run(
        target.host,
        host_commands.wait_for_device(target.device, attach_timeout),
        f"writing to {target.device}",
        feed=_commands(target, extents),
        timeout=None,
    )


def _commands(target: Target, extents: Iterable[Extent]) -> Iterator[bytes]:
    position = 0
    for offset, data in extents:
        if offset + len(data) > target.size.bytes:
            raise RefusedError(
                f"image is larger than its declared size of {target.size}",
                hint="register it with a larger SIZE",
            )
        if offset > position and not target.zeroed:
            yield _lines(host_commands.zero(target.device, position, offset - position))
        yield host_commands.write_at(target.device, offset, len(data))
        yield data
        position = offset + len(data)
    if not target.zeroed:
        yield from _zero_tail(target.device, position)
    yield _lines(host_commands.flush(target.device))


def _zero_tail(device: str, position: int) -> Iterator[bytes]:
    """Commands that zero everything from ``position`` to the end of the device."""
    aligned = -(-position // _BLOCK) * _BLOCK
    if aligned > position:
        yield host_commands.write_at(device, position, aligned - position)
        yield bytes(aligned - position)
    yield _lines(host_commands.zero_from(device, aligned))


def _lines(script: Script) -> bytes:
    return b"".join(line.encode() + b"\n" for line in script.lines)


def extents_of_stream(stream: Stream, head: bytes = b"") -> Iterator[Extent]:
    """The data in a stream that begins with ``head`` (already read from it), without the zeros."""
    for offset, chunk in chunks_of_stream(stream, head):
        yield from without_zeros(chunk, offset)


def chunks_of_stream(stream: Stream, head: bytes = b"") -> Iterator[Extent]:
    """All of such a stream in pieces of ``CHUNK`` bytes, the last one as long as it is."""
    offset = 0
    while True:
        chunk = head + _read_exactly(stream, CHUNK - len(head))
        head = b""
        if not chunk:
            return
        yield offset, chunk
        offset += len(chunk)


def extents_of_file(path: str, base: int = 0) -> Iterator[Extent]:
    """The data in a file, without its holes and zeros; ``base`` is where in the target the file begins."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        end = os.fstat(descriptor).st_size
        position = 0
        while position < end:
            start = _seek(descriptor, position, os.SEEK_DATA)
            if start is None:
                return
            hole = _seek(descriptor, start, os.SEEK_HOLE) or end
            # Whole grains: a file system's blocks may be smaller than what a device can zero.
            start, position = start - start % _GRAIN, min(-(-hole // _GRAIN) * _GRAIN, end)
            yield from _range(descriptor, start, position, base)
    finally:
        os.close(descriptor)


def _range(descriptor: int, start: int, end: int, base: int) -> Iterator[Extent]:
    for offset in range(start, end, CHUNK):
        yield from without_zeros(os.pread(descriptor, min(CHUNK, end - offset), offset), base + offset)


def _seek(descriptor: int, position: int, what: int) -> int | None:
    """Where data or a hole begins; None when there is no more data."""
    try:
        return os.lseek(descriptor, position, what)
    except OSError as error:
        # Any other error must not pass for a hole up to the end of the image.
        if error.errno != errno.ENXIO:
            raise
        return None


def without_zeros(chunk: bytes, offset: int) -> Iterator[Extent]:
    """The runs of non-zero grains in a chunk."""
    start: int | None = None
    for place in range(0, len(chunk), _GRAIN):
        grain = chunk[place : place + _GRAIN]
        if grain == _ZEROS[: len(grain)]:
            if start is not None:
                yield offset + start, chunk[start:place]
                start = None
        elif start is None:
            start = place
    if start is not None:
        yield offset + start, chunk[start:]


def _read_exactly(stream: Stream, count: int) -> bytes:
    parts = []
    while count > 0:
        data = stream.read(count)
        if not data:
            break
        parts.append(data)
        count -= len(data)
    return b"".join(parts)
