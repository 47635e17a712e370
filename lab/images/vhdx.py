# SPDX-License-Identifier: Apache-2.0
"""Dynamic VHDX images, by Microsoft's [MS-VHDX].

Order in the file (MiB): 0 identifier, headers and region tables; 1 log; 2 metadata; 3 block allocation
table; 4 blocks.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Mapping
from pathlib import Path

from lab.images.extents import divide_up, into_blocks

KIB = 1024
MIB = 1024 * KIB
SECTOR = 512
FULLY_PRESENT = 6
REQUIRED = 0x4
OF_THE_DISK = 0x2
CASTAGNOLI = 0x82F63B78

BAT_REGION = uuid.UUID("2dc27766-f623-4200-9d64-115e9bfd4a08")
METADATA_REGION = uuid.UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e")
FILE_PARAMETERS = uuid.UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b")
VIRTUAL_DISK_SIZE = uuid.UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8")
VIRTUAL_DISK_ID = uuid.UUID("beca12ab-b2e6-4523-93ef-c309e000c746")
LOGICAL_SECTOR_SIZE = uuid.UUID("8141bf1d-a96f-4709-ba47-f233a8faab5f")
PHYSICAL_SECTOR_SIZE = uuid.UUID("cda348c7-445d-4471-9cc9-e9885251c556")
DISK_ID = uuid.UUID("6f6e652d-6c69-6e73-746f-722d6c616231")


def write_vhdx(path: Path, virtual_size: int, extents: Mapping[int, bytes], block_size: int = MIB) -> None:
    """Raises ValueError when the size is no multiple of 512 or the block size none of a MiB."""
    if virtual_size % SECTOR or block_size % MIB:
        raise ValueError("sizes: the disk's is a multiple of 512, that of blocks a multiple of 1 MiB")
    count = divide_up(virtual_size, block_size)
    blocks = into_blocks(extents, block_size, count * block_size)
    # After every so many blocks stands the entry of a sector bitmap, which only differencing disks use.
    chunk = (1 << 23) * SECTOR // block_size
    table = [0] * (count + (count - 1) // chunk)
    table_size = divide_up(len(table) * 8, MIB) * MIB
    first_block = 3 * MIB + table_size
    for position, number in enumerate(blocks):
        table[number + number // chunk] = first_block + position * block_size | FULLY_PRESENT

    with open(path, "wb") as file:
        file.write(b"vhdxfile" + "lab".encode("utf-16-le"))
        for at, content in (
            (64 * KIB, _header(1)),
            (128 * KIB, _header(2)),
            (192 * KIB, _regions(table_size)),
            (256 * KIB, _regions(table_size)),
            (2 * MIB, _metadata(virtual_size, block_size)),
            (3 * MIB, struct.pack(f"<{len(table)}Q", *table)),
        ):
            file.seek(at)
            file.write(content)
        file.truncate(first_block)
        file.seek(first_block)
        for content in blocks.values():
            file.write(content)


def _header(sequence: int) -> bytes:
    identities = DISK_ID.bytes_le * 2 + bytes(16)
    return _checked(
        b"head", struct.pack("<Q", sequence) + identities + struct.pack("<HHIQ", 0, 1, MIB, MIB), 4 * KIB
    )


def _regions(table_size: int) -> bytes:
    entries = [(METADATA_REGION, 2 * MIB, MIB), (BAT_REGION, 3 * MIB, table_size)]
    body = struct.pack("<II", len(entries), 0)
    for kind, offset, length in entries:
        body += kind.bytes_le + struct.pack("<QII", offset, length, 1)
    return _checked(b"regi", body, 64 * KIB)


def _metadata(virtual_size: int, block_size: int) -> bytes:
    items = [
        (FILE_PARAMETERS, struct.pack("<II", block_size, 0), REQUIRED),
        (VIRTUAL_DISK_SIZE, struct.pack("<Q", virtual_size), REQUIRED | OF_THE_DISK),
        (VIRTUAL_DISK_ID, DISK_ID.bytes_le, REQUIRED | OF_THE_DISK),
        (LOGICAL_SECTOR_SIZE, struct.pack("<I", SECTOR), REQUIRED | OF_THE_DISK),
        (PHYSICAL_SECTOR_SIZE, struct.pack("<I", 4096), REQUIRED | OF_THE_DISK),
    ]
    table = b"metadata" + struct.pack("<HH20x", 0, len(items))
    values = b""
    for kind, value, flags in items:
        table += kind.bytes_le + struct.pack("<IIII", 64 * KIB + len(values), len(value), flags, 0)
        values += value
    return table.ljust(64 * KIB, b"\0") + values


def _checked(signature: bytes, body: bytes, size: int) -> bytes:
    """A structure with its CRC-32C, computed with zeros in place of the sum itself."""
    total = _crc32c((signature + bytes(4) + body).ljust(size, b"\0"))
    return (signature + struct.pack("<I", total) + body).ljust(size, b"\0")


def _crc32c(data: bytes) -> int:
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


def _table_entry(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (CASTAGNOLI if value & 1 else 0)
    return value


_TABLE = [_table_entry(byte) for byte in range(256)]
