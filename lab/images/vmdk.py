# SPDX-License-Identifier: Apache-2.0
"""VMware's hosted sparse images, by VMware's "Virtual Disk Format 5.0": one file that holds everything."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

from lab.images.extents import divide_up, into_blocks

SECTOR = 512
GRAIN_SECTORS = 128
GRAIN = GRAIN_SECTORS * SECTOR
ENTRIES = 512
TABLE_SECTORS = ENTRIES * 4 // SECTOR
DESCRIPTOR_SECTORS = 20
HEADER = struct.Struct("<4sIIQQQQIQQQB4sH433x")
MARKER = struct.Struct("<QII496x")
GRAIN_MARKER = struct.Struct("<QI")
NEWLINES = b"\n \r\n"
# Flags: newline test; compressed grains; markers.
PLAIN = 0x1
STREAM = 0x1 | 0x10000 | 0x20000
DEFLATE = 1
AT_END = 0xFFFFFFFFFFFFFFFF
END_OF_STREAM, GRAIN_TABLE, GRAIN_DIRECTORY, FOOTER = range(4)


def write_vmdk(
    path: Path, virtual_size: int, extents: Mapping[int, bytes], subformat: str = "monolithicSparse"
) -> None:
    """``subformat``: monolithicSparse or streamOptimized. Raises ValueError for another or an odd size."""
    if subformat not in ("monolithicSparse", "streamOptimized"):
        raise ValueError(f"no such kind of VMDK here: {subformat}")
    if virtual_size % SECTOR:
        raise ValueError("the size is a multiple of 512")
    capacity = virtual_size // SECTOR
    grains = into_blocks(extents, GRAIN, divide_up(virtual_size, GRAIN) * GRAIN)
    descriptor = _descriptor(path.name, capacity, subformat).ljust(DESCRIPTOR_SECTORS * SECTOR, b"\0")
    write = _monolithic if subformat == "monolithicSparse" else _stream
    path.write_bytes(write(capacity, grains, descriptor))


def _monolithic(capacity: int, grains: Mapping[int, bytes], descriptor: bytes) -> bytes:
    directory_size = divide_up(capacity, GRAIN_SECTORS * ENTRIES)
    directory_at = 1 + DESCRIPTOR_SECTORS
    tables_at = directory_at + divide_up(directory_size * 4, SECTOR)
    grains_at = divide_up(tables_at + directory_size * TABLE_SECTORS, GRAIN_SECTORS) * GRAIN_SECTORS
    table = [0] * (directory_size * ENTRIES)
    for position, number in enumerate(grains):
        table[number] = grains_at + position * GRAIN_SECTORS
    directory = _numbers([tables_at + index * TABLE_SECTORS for index in range(directory_size)])
    head = _header(1, PLAIN, capacity, directory_at, grains_at) + descriptor + directory + _numbers(table)
    return head.ljust(grains_at * SECTOR, b"\0") + b"".join(grains.values())


def _stream(capacity: int, grains: Mapping[int, bytes], descriptor: bytes) -> bytes:
    image = bytearray(_header(3, STREAM, capacity, AT_END, GRAIN_SECTORS) + descriptor)
    image.extend(bytes(GRAIN - len(image)))
    tables: dict[int, list[int]] = {}
    for number, content in grains.items():
        tables.setdefault(number // ENTRIES, [0] * ENTRIES)[number % ENTRIES] = len(image) // SECTOR
        packed = zlib.compress(content)
        image += _pad(GRAIN_MARKER.pack(number * GRAIN_SECTORS, len(packed)) + packed)
    directory = [0] * divide_up(capacity, GRAIN_SECTORS * ENTRIES)
    for index, table in tables.items():
        image += MARKER.pack(TABLE_SECTORS, 0, GRAIN_TABLE)
        directory[index] = len(image) // SECTOR
        image += _numbers(table)
    body = _numbers(directory)
    image += MARKER.pack(len(body) // SECTOR, 0, GRAIN_DIRECTORY)
    directory_at = len(image) // SECTOR
    image += body
    image += MARKER.pack(1, 0, FOOTER)
    image += _header(3, STREAM, capacity, directory_at, GRAIN_SECTORS)
    image += MARKER.pack(0, 0, END_OF_STREAM)
    return bytes(image)


def _header(version: int, flags: int, capacity: int, directory_at: int, overhead: int) -> bytes:
    return HEADER.pack(
        b"KDMV",
        version,
        flags,
        capacity,
        GRAIN_SECTORS,
        1,
        DESCRIPTOR_SECTORS,
        ENTRIES,
        0,
        directory_at,
        overhead,
        0,
        NEWLINES,
        DEFLATE if flags == STREAM else 0,
    )


def _descriptor(name: str, capacity: int, subformat: str) -> bytes:
    settings = {"version": 1, "CID": "1ab00001", "parentCID": "ffffffff", "createType": f'"{subformat}"'}
    disk = {
        "ddb.adapterType": '"ide"',
        "ddb.geometry.cylinders": f'"{divide_up(capacity, 16 * 63)}"',
        "ddb.geometry.heads": '"16"',
        "ddb.geometry.sectors": '"63"',
        "ddb.virtualHWVersion": '"4"',
    }
    lines = ["# Disk DescriptorFile", *(f"{key}={value}" for key, value in settings.items()), ""]
    lines += ["# Extent description", f'RW {capacity} SPARSE "{name}"', ""]
    lines += ["# The Disk Data Base", *(f"{key} = {value}" for key, value in disk.items()), ""]
    return "\n".join(lines).encode()


def _numbers(values: list[int]) -> bytes:
    return _pad(struct.pack(f"<{len(values)}I", *values))


def _pad(data: bytes) -> bytes:
    return data.ljust(divide_up(len(data), SECTOR) * SECTOR, b"\0")
