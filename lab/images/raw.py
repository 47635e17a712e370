# SPDX-License-Identifier: Apache-2.0
"""Raw images, and compressed files around any image."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Mapping
from pathlib import Path


def write_raw(path: Path, virtual_size: int, extents: Mapping[int, bytes]) -> None:
    """A sparse file."""
    with open(path, "wb") as file:
        for offset, data in extents.items():
            file.seek(offset)
            file.write(data)
        file.truncate(virtual_size)


def flat(virtual_size: int, extents: Mapping[int, bytes]) -> bytes:
    """All bytes of the disk, for comparison."""
    content = bytearray(virtual_size)
    for offset, data in extents.items():
        content[offset : offset + len(data)] = data
    return bytes(content)


def compress(path: Path, kind: str) -> Path:
    """Make ``path.gz``, ``.bz2`` or ``.xz`` beside the file. Raises KeyError for another kind."""
    packed = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}[kind](path.read_bytes())
    target = path.with_name(f"{path.name}.{kind}")
    target.write_bytes(packed)
    return target
