# SPDX-License-Identifier: Apache-2.0
"""qcow2 images, version 3, by the description in QEMU's docs/interop/qcow2.

Order in the file: header, refcount table, refcount blocks, L1 table, L2 tables, data clusters.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

from lab.images.extents import divide_up, into_blocks

HEADER = struct.Struct(">4sIQIIQIIQQIIQQQQII")
COPIED = 1 << 63
COMPRESSED = 1 << 62
EXTERNAL_DATA_FILE = 1 << 2
RAW_EXTERNAL = 1 << 1
EXTENSION_END = 0
EXTENSION_BACKING_FORMAT = 0xE2792ACA
EXTENSION_DATA_FILE = 0x44415441
REFCOUNT_ORDER = 4
REFCOUNT_BYTES = 2
SECTOR = 512


def write_qcow2(
    path: Path,
    virtual_size: int,
    extents: Mapping[int, bytes],
    compressed: bool = False,
    cluster_bits: int = 16,
    backing_file: str | None = None,
    backing_format: str = "raw",
    data_file: str | None = None,
) -> None:
    """Write an image of ``virtual_size`` bytes.

    backing_file, data_file:
        names that are stored as they are, whether or not such files exist. With a backing file every extent
        has to consist of whole clusters. A data file takes the content, if there is some; a relative name
        counts from ``path`` when it is written here, and from the working directory when QEMU opens it.
    Raises ValueError for extents that do not fit.
    """
    cluster = 1 << cluster_bits
    if backing_file and any(offset % cluster or len(data) % cluster for offset, data in extents.items()):
        raise ValueError("over a backing file, extents are whole clusters")
    if data_file and compressed:
        raise ValueError("there are no compressed clusters in a data file")
    blocks = into_blocks(extents, cluster, divide_up(virtual_size, cluster) * cluster)
    if data_file and blocks:
        _write_data_file(path.parent / data_file, virtual_size, blocks, cluster)

    per_table = cluster // 8
    tables = sorted({number // per_table for number in blocks})
    l1_size = divide_up(divide_up(virtual_size, cluster), per_table)
    l1_clusters = max(divide_up(l1_size * 8, cluster), 1)
    stored = 0 if data_file else len(blocks)
    refcount_clusters, refcount_blocks = _refcount_clusters(1 + l1_clusters + len(tables) + stored, cluster)
    l1_offset = (1 + refcount_clusters + refcount_blocks) * cluster
    l2_offset = l1_offset + l1_clusters * cluster
    data_offset = l2_offset + len(tables) * cluster
    used = data_offset // cluster + stored

    l2 = {table: [0] * per_table for table in tables}
    bodies: list[bytes] = []
    for number, content in blocks.items():
        table, index = divmod(number, per_table)
        if data_file:
            l2[table][index] = number * cluster | COPIED
            continue
        entry, body = _store(content, data_offset + len(bodies) * cluster, cluster_bits, compressed)
        l2[table][index] = entry
        bodies.append(body.ljust(cluster, b"\0"))

    l1 = [0] * l1_size
    for position, table in enumerate(tables):
        l1[table] = l2_offset + position * cluster | COPIED
    refcount_offsets = [(1 + refcount_clusters + block) * cluster for block in range(refcount_blocks)]
    parts = [
        _header(
            cluster_bits,
            virtual_size,
            l1_size,
            l1_offset,
            refcount_clusters,
            backing_file,
            backing_format,
            data_file,
        ),
        _numbers(refcount_offsets),
        struct.pack(f">{used}H", *[1] * used).ljust(refcount_blocks * cluster, b"\0"),
        _numbers(l1),
        *(_numbers(l2[table]) for table in tables),
        *bodies,
    ]
    with open(path, "wb") as file:
        for part in parts:
            file.write(part.ljust(max(divide_up(len(part), cluster), 1) * cluster, b"\0"))


def _refcount_clusters(others: int, cluster: int) -> tuple[int, int]:
    """Clusters of the refcount table and number of refcount blocks, which count themselves too."""
    table = blocks = 1
    while True:
        needed = divide_up(others + table + blocks, cluster // REFCOUNT_BYTES)
        needed_table = divide_up(needed * 8, cluster)
        if (needed_table, needed) == (table, blocks):
            return table, blocks
        table, blocks = needed_table, needed


def _store(content: bytes, offset: int, cluster_bits: int, compressed: bool) -> tuple[int, bytes]:
    """L2 entry and bytes of one cluster. One that compression does not shrink is stored as it is."""
    if compressed:
        packer = zlib.compressobj(wbits=-12)
        body = packer.compress(content) + packer.flush()
        if len(body) < len(content):
            sectors = divide_up(len(body), SECTOR) - 1
            return COMPRESSED | sectors << (62 - (cluster_bits - 8)) | offset, body
    return offset | COPIED, content


def _header(
    cluster_bits: int,
    virtual_size: int,
    l1_size: int,
    l1_offset: int,
    refcount_clusters: int,
    backing_file: str | None,
    backing_format: str,
    data_file: str | None,
) -> bytes:
    extensions = b""
    if backing_file:
        extensions += _extension(EXTENSION_BACKING_FORMAT, backing_format.encode())
    if data_file:
        extensions += _extension(EXTENSION_DATA_FILE, data_file.encode())
    extensions += _extension(EXTENSION_END, b"")
    name = (backing_file or "").encode()
    name_offset = HEADER.size + 8 + len(extensions) if name else 0
    header = HEADER.pack(
        b"QFI\xfb",
        3,
        name_offset,
        len(name),
        cluster_bits,
        virtual_size,
        0,
        l1_size,
        l1_offset,
        1 << cluster_bits,
        refcount_clusters,
        0,
        0,
        EXTERNAL_DATA_FILE if data_file else 0,
        0,
        RAW_EXTERNAL if data_file else 0,
        REFCOUNT_ORDER,
        HEADER.size + 8,
    )
    # The last eight bytes: compression type zlib, and padding.
    return header + bytes(8) + extensions + name


def _extension(kind: int, data: bytes) -> bytes:
    return struct.pack(">II", kind, len(data)) + data.ljust(divide_up(len(data), 8) * 8, b"\0")


def _numbers(values: list[int]) -> bytes:
    return struct.pack(f">{len(values)}Q", *values)


def _write_data_file(path: Path, virtual_size: int, blocks: Mapping[int, bytes], cluster: int) -> None:
    with open(path, "wb") as file:
        file.truncate(virtual_size)
        for number, content in blocks.items():
            file.seek(number * cluster)
            file.write(content[: virtual_size - number * cluster])
