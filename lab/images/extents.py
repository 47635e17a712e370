# SPDX-License-Identifier: Apache-2.0
"""Content of a disk as stretches of bytes, cut into the units in which formats allocate."""

from __future__ import annotations

from collections.abc import Mapping


def into_blocks(extents: Mapping[int, bytes], block: int, virtual_size: int) -> dict[int, bytes]:
    """Number and content of every block that an extent touches; each is complete, the rest of it zeros.

    Raises ValueError for an extent that reaches beyond the disk.
    """
    blocks: dict[int, bytearray] = {}
    for offset, data in sorted(extents.items()):
        if offset < 0 or offset + len(data) > virtual_size:
            raise ValueError(f"bytes {offset} to {offset + len(data)} are not in a disk of {virtual_size}")
        taken = 0
        while taken < len(data):
            number, start = divmod(offset + taken, block)
            part = data[taken : taken + block - start]
            blocks.setdefault(number, bytearray(block))[start : start + len(part)] = part
            taken += len(part)
    return {number: bytes(content) for number, content in sorted(blocks.items())}


def divide_up(amount: int, unit: int) -> int:
    """How many units hold the amount."""
    return -(-amount // unit)
