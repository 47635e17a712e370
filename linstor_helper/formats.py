# SPDX-License-Identifier: Apache-2.0
"""What an image file is, told from its first bytes; and which images must not be opened at all.

qemu-img follows references from an image to other files.  An image is data from users: one that names a backing file
or an external data file could pull any file that oneadmin can read into a volume, so those are refused here, before
qemu-img sees them (the class of CVE-2024-32498).
"""

from __future__ import annotations

import re
import struct

from linstor_helper.errors import RefusedError

HEAD = 64 * 1024
"""How many bytes of an image ``identify`` and ``require_self_contained`` look at."""

RAW = "raw"

_MAGIC = (
    (0, b"QFI\xfb", "qcow2"),
    (0, b"KDMV", "vmdk"),
    (0, b"# Disk DescriptorFile", "vmdk"),
    (0, b"vhdxfile", "vhdx"),
    (0, b"conectix", "vpc"),
    (64, b"\x7f\x10\xda\xbe", "vdi"),
)
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")

_QCOW2_BACKING = struct.Struct(">QI")
_QCOW2_INCOMPATIBLE = struct.Struct(">Q")
_QCOW2_EXTERNAL_DATA = 1 << 2
_VMDK = struct.Struct("<4sIIQQQQ")
_SECTOR = 512
_VMDK_KINDS = {"monolithicSparse", "streamOptimized"}


def identify(head: bytes) -> str:
    """The format in qemu-img's words; everything that is nothing else is ``raw``."""
    for offset, magic, kind in _MAGIC:
        if head.startswith(magic, offset):
            return kind
    return RAW


def is_compressed(head: bytes) -> bool:
    """Whether OpenNebula's downloader decompresses a file that begins like this (gzip, bzip2, xz)."""
    return head.startswith(_COMPRESSED)


def require_self_contained(kind: str, head: bytes, name: str) -> None:
    """Raises RefusedError when the image refers to other files."""
    reason = {"qcow2": _qcow2_reference, "vmdk": _vmdk_reference}.get(kind, lambda _head: "")(head)
    if reason:
        raise RefusedError(
            f"image {name} is refused: it {reason}", hint="make it self-contained, e.g. by qemu-img convert"
        )


def _qcow2_reference(head: bytes) -> str:
    if len(head) < 80:
        return "is too short for a qcow2 image"
    version = int.from_bytes(head[4:8], "big")
    if _QCOW2_BACKING.unpack_from(head, 8)[0]:
        return "has a backing file"
    if version >= 3 and _QCOW2_INCOMPATIBLE.unpack_from(head, 72)[0] & _QCOW2_EXTERNAL_DATA:
        return "keeps its data in another file"
    return ""


def _vmdk_reference(head: bytes) -> str:
    if not head.startswith(b"KDMV") or len(head) < _VMDK.size + 16:
        return "is a VMDK descriptor that names other files"
    capacity, descriptor_at, descriptor_length = (
        struct.unpack_from("<Q", head, 12)[0],
        *struct.unpack_from("<QQ", head, 28),
    )
    start, end = descriptor_at * _SECTOR, (descriptor_at + descriptor_length) * _SECTOR
    if not capacity or end > len(head):
        return "is not a single-file VMDK"
    descriptor = head[start:end].decode("latin-1")
    kind = re.search(r'^createType\s*=\s*"([^"]*)"', descriptor, re.MULTILINE)
    if descriptor_length and (kind is None or kind.group(1) not in _VMDK_KINDS):
        return "is not a single-file VMDK"
    parent = re.search(r"^parentCID\s*=\s*([0-9a-fA-F]+)", descriptor, re.MULTILINE)
    if parent is not None and parent.group(1).lower() != "ffffffff":
        return "has a parent image"
    return ""
