# SPDX-License-Identifier: Apache-2.0
"""Whether the tables of a qcow2 image point into its file: what ``qemu-img check`` finds in a truncated one."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

_OFFSET = 0x00FFFFFFFFFFFE00
_COMPRESSED = 1 << 62
_STANDARD_ALL_ZERO = 1
_HEADER = struct.Struct(">4sIQIIQIIQ")


def corruptions(path: Path) -> int:
    """How many clusters end a cluster or more behind the end of the file."""
    with open(path, "rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(0)
        _, _, _, _, cluster_bits, _, _, l1_size, l1_offset = _HEADER.unpack(file.read(_HEADER.size))
        cluster = 1 << cluster_bits
        found = 0
        for l2_offset in _table(file, l1_offset, l1_size):
            l2_offset &= _OFFSET
            if not l2_offset:
                continue
            if l2_offset + cluster > end:
                found += 1
                continue
            found += sum(
                _is_outside(entry, cluster_bits, end) for entry in _table(file, l2_offset, cluster // 8)
            )
    return found


def _table(file: BinaryIO, offset: int, count: int) -> tuple[int, ...]:
    file.seek(offset)
    data = file.read(count * 8)
    return struct.unpack(f">{len(data) // 8}Q", data[: len(data) // 8 * 8])


def _is_outside(entry: int, cluster_bits: int, end: int) -> bool:
    """As QEMU has it, a file may lack the last of its clusters, because compressed data is not padded."""
    cluster = 1 << cluster_bits
    if entry & _COMPRESSED:
        shift = 62 - (cluster_bits - 8)
        offset = entry & ((1 << shift) - 1) & ~511
        length = (((entry >> shift) & ((1 << (cluster_bits - 8)) - 1)) + 1) * 512
    else:
        offset, length = entry & _OFFSET, cluster
        if not offset or entry & _STANDARD_ALL_ZERO:
            return False
    return offset + length - end >= cluster
