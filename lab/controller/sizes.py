# SPDX-License-Identifier: Apache-2.0
"""From the requested size to the size of the device and of its backing volume. Everything is KiB."""

from __future__ import annotations

from collections.abc import Iterable

SMALLEST = 4
LARGEST = 1 << 40
_LUKS_HEADER = 16 * 1024
_DRBD_FIXED = 36


def round_up(value: int, step: int) -> int:
    return -(-value // step) * step


def overhead(size_kib: int, layers: Iterable[str], peer_slots: int) -> int:
    """Room that the layers above the storage take for themselves.

    DRBD: activity log and superblock, and for each peer a bitmap of one bit per 4 KiB.
    """
    needed = 0
    stack = set(layers)
    if "DRBD" in stack:
        needed += _DRBD_FIXED + round_up(-(-size_kib // 32768), 4) * peer_slots
    if "LUKS" in stack:
        needed += _LUKS_HEADER
    return needed


def usable(
    size_kib: int, layers: Iterable[str], peer_slots: int, extents: Iterable[int], *, exact: bool
) -> int:
    """Size of the device: what the smallest replica offers after rounding up to its extent."""
    if exact:
        return size_kib
    return min(_usable(size_kib, tuple(layers), peer_slots, extent) for extent in extents)


def _usable(size_kib: int, layers: tuple[str, ...], peer_slots: int, extent: int) -> int:
    gross = round_up(size_kib + overhead(size_kib, layers, peer_slots), extent)
    # the bitmap covers the surplus too, which can make the room for it too small
    while gross - overhead(gross, layers, peer_slots) < size_kib:
        gross += extent
    return gross - overhead(gross, layers, peer_slots)


def backing(usable_kib: int, layers: Iterable[str], peer_slots: int, extent: int) -> int:
    """Size of the logical volume, zvol or file below a device."""
    return round_up(usable_kib + overhead(usable_kib, layers, peer_slots), extent)
