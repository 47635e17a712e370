# SPDX-License-Identifier: Apache-2.0
"""Makes the disk in a qcow2 image larger, as ``qemu-img resize`` does: the header and the L1 table tell its size."""

from __future__ import annotations

import struct
from collections.abc import Callable

_HEADER = struct.Struct(">4sIQIIQIIQ")
_VIRTUAL_SIZE_AT = 24
_L1_SIZE_AT = 36


class TableFull(ValueError):
    """The L1 table would have to move to another place in the image."""


def grow_qcow2(
    read: Callable[[int, int], bytes], write: Callable[[int, bytes], object], virtual_size: int
) -> None:
    """``virtual_size``: bytes, not less than before. New space reads as zeros.

    ``read`` takes an offset in the image and a length, ``write`` an offset and bytes. Raises ValueError when it is no
    qcow2 image, TableFull, and what they raise.
    """
    magic, _, _, _, cluster_bits, _, _, l1_size, l1_offset = _HEADER.unpack(read(0, _HEADER.size))
    if magic != b"QFI\xfb":
        raise ValueError("Image is not in qcow2 format")
    cluster = 1 << cluster_bits
    covered = cluster * (cluster // 8)
    needed = max(-(-virtual_size // covered), l1_size)
    reserved = -(-l1_size * 8 // cluster) * cluster
    if needed * 8 > reserved:
        raise TableFull
    # A device may show old content behind the table's last entry.
    write(l1_offset + l1_size * 8, bytes((needed - l1_size) * 8))
    write(_L1_SIZE_AT, struct.pack(">I", needed))
    write(_VIRTUAL_SIZE_AT, struct.pack(">Q", virtual_size))
