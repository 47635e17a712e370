# SPDX-License-Identifier: Apache-2.0
"""Makes the disk in a qcow2 image larger, as ``qemu-img resize`` does: the header and the L1 table tell its size."""

from __future__ import annotations

import struct
from pathlib import Path

_HEADER = struct.Struct(">4sIQIIQIIQ")
_VIRTUAL_SIZE_AT = 24
_L1_SIZE_AT = 36


class TableFull(Exception):
    """The L1 table would have to move to another place in the image."""


def grow_qcow2(path: Path, virtual_size: int) -> None:
    """``virtual_size``: bytes, not less than before. New space reads as zeros. Raises OSError, TableFull."""
    with open(path, "r+b") as file:
        _, _, _, _, cluster_bits, _, _, l1_size, l1_offset = _HEADER.unpack(file.read(_HEADER.size))
        cluster = 1 << cluster_bits
        covered = cluster * (cluster // 8)
        needed = max(-(-virtual_size // covered), l1_size)
        reserved = -(-l1_size * 8 // cluster) * cluster
        if needed * 8 > reserved:
            raise TableFull
        # A device may show old content behind the table's last entry.
        file.seek(l1_offset + l1_size * 8)
        file.write(bytes((needed - l1_size) * 8))
        file.seek(_L1_SIZE_AT)
        file.write(struct.pack(">I", needed))
        file.seek(_VIRTUAL_SIZE_AT)
        file.write(struct.pack(">Q", virtual_size))
