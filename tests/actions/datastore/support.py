# SPDX-License-Identifier: Apache-2.0
"""Images with known content, and calls of datastore actions for them."""

from __future__ import annotations

import base64
import random
from collections.abc import Mapping
from pathlib import Path

from lab.cloud import Cloud
from lab.images import flat, write_qcow2, write_raw, write_vhdx, write_vmdk
from lab.one import Call
from lab.one.model import Image, ImageType

MIB = 1 << 20
SIZE = 12 * MIB
EXTENTS = {
    0: b"boot sector\x55\xaa",
    3 * MIB - 700: bytes(range(1, 256)) * 40,
    5 * MIB: random.Random(1).randbytes(300_000),
    SIZE - 4: b"\x00the",
}
"""Content at both ends, across borders of blocks, incompressible, and holes between."""

CONTENT = flat(SIZE, EXTENTS)


def write_image(directory: Path, kind: str, size: int = SIZE, extents: Mapping[int, bytes] = EXTENTS) -> Path:
    """A file in one of the formats: raw, qcow2, qcow2-compressed, vmdk, vmdk-stream, vhdx."""
    path = directory / f"disk.{kind}"
    if kind == "raw":
        write_raw(path, size, extents)
    elif kind.startswith("qcow2"):
        write_qcow2(path, size, extents, compressed=kind.endswith("-compressed"))
    elif kind.startswith("vmdk"):
        write_vmdk(path, size, extents, "streamOptimized" if kind == "vmdk-stream" else "monolithicSparse")
    else:
        write_vhdx(path, size, extents)
    return path


def image_of(
    cloud: Cloud,
    path: str | Path = "",
    size_mb: int = SIZE // MIB,
    *,
    kind: ImageType = ImageType.OS,
    datastore: int = 100,
    format: str = "",
    fs: str = "",
    source: str = "",
    **template: str,
) -> Image:
    """An image that oned is about to register; it is not in oned's list."""
    number = cloud.one.inventory.next_image_id()
    return Image(
        number,
        f"image {number}",
        kind,
        datastore,
        size_mb,
        path=str(path),
        format=format,
        fs=fs,
        source=source,
        template=dict(template),
    )


def call(cloud: Cloud, action: str, image: Image) -> Call:
    """A datastore action for the image, in the form of the cloud's OpenNebula."""
    encoded = base64.b64encode(cloud.one.image_document(image).encode()).decode()
    if cloud.one.version.datastore_xml_on_stdin:
        return cloud.call(f"datastore/{action}", image.id, stdin=encoded)
    return cloud.call(f"datastore/{action}", encoded, image.id)


def cp(cloud: Cloud, path: str | Path, size_mb: int = SIZE // MIB, **options: object) -> Call:
    """Registers a path or URL; the options are those of `image_of`."""
    return call(cloud, "cp", image_of(cloud, path, size_mb, **options))  # type: ignore[arg-type]


def resource_of(done: Call) -> str:
    """The SOURCE that a successful cp, mkfs or clone answered."""
    assert done.ok, done.stderr
    return done.stdout.split()[0]
