# SPDX-License-Identifier: Apache-2.0
"""Reads disk images by dissect.hypervisor: format, sizes and content.

Nothing that an image names (backing file, data file) is opened unless the caller asks to read the content.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

SECTOR = 512
MAGICS = {
    b"QFI\xfb": "qcow2",
    b"KDMV": "vmdk",
    b"vhdxfile": "vhdx",
    b"conectix": "vpc",
    b"# Disk Descript": "vmdk",
}
VDI_MAGIC = b"\x7f\x10\xda\xbe"
FORMATS = ("raw", "qcow2", "vmdk", "vhdx")


class ImageError(Exception):
    """The file is not such an image, or one that cannot be read here."""


def probe(path: Path) -> str:
    """The format by the content, as QEMU names it. Raises OSError."""
    with open(path, "rb") as file:
        head = file.read(SECTOR)
    for magic, name in MAGICS.items():
        if head.startswith(magic):
            return name
    return "vdi" if head[64:68] == VDI_MAGIC else "raw"


def open_image(path: Path, kind: str | None = None) -> Image:
    """``kind`` None: as the content says. Raises ImageError, OSError."""
    content = probe(path)
    kind = kind or content
    if kind not in FORMATS:
        raise ImageError(f"format {kind} is not among those that the lab reads ({', '.join(FORMATS)})")
    if kind not in ("raw", content):
        raise ImageError(f"Image is not in {kind} format")
    made = {"raw": RawImage, "qcow2": Qcow2Image, "vmdk": VmdkImage, "vhdx": VhdxImage}[kind]
    with contextlib.ExitStack() as on_error:
        file = on_error.enter_context(open(path, "rb"))
        with _broken_is_image_error(kind):
            image = made(path, file)
        on_error.pop_all()
        return image


@contextlib.contextmanager
def _broken_is_image_error(kind: str) -> Iterator[None]:
    """dissect lets pass whatever a broken image leads to: struct, enum and key errors, EOF, its own."""
    try:
        yield
    except (OSError, ImageError):
        raise
    except Exception as error:
        raise ImageError(f"broken {kind} image: {error}") from error


class Image:
    """An image that is open. ``size``: virtual size in bytes."""

    kind = "raw"
    cluster_size: int | None = None
    backing_name: str | None = None
    backing_kind: str | None = None

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self.file = file
        self.size = 0

    def start(self) -> None:
        """Open what the content consists of besides the file itself. Raises ImageError, OSError."""

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the disk; the offset is a multiple of 512. Raises ImageError, OSError."""
        with _broken_is_image_error(self.kind):
            data = self._read(offset, length)
        if len(data) != length:
            raise ImageError(f"the {self.kind} image ends too early")
        return data

    def _read(self, offset: int, length: int) -> bytes:
        raise NotImplementedError

    def specific(self) -> dict[str, Any] | None:
        """What ``qemu-img info`` tells of this format only."""
        return None

    def close(self) -> None:
        self.file.close()


class RawImage(Image):
    def __init__(self, path: Path, file: BinaryIO) -> None:
        super().__init__(path, file)
        self._length = self.file.seek(0, os.SEEK_END)
        # QEMU counts in sectors.
        self.size = -(-self._length // SECTOR) * SECTOR

    def _read(self, offset: int, length: int) -> bytes:
        self.file.seek(offset)
        return self.file.read(length).ljust(length, b"\0")


class Qcow2Image(Image):
    kind = "qcow2"

    def __init__(self, path: Path, file: BinaryIO) -> None:
        from dissect.hypervisor.disk.qcow2 import QCow2

        super().__init__(path, file)
        self._others: list[BinaryIO] = []
        self._disk = QCow2(self.file, allow_no_data_file=True, allow_no_backing_file=True)
        self.size = self._disk.size
        self.cluster_size = self._disk.cluster_size
        self.backing_name = self._disk.auto_backing_file
        self.backing_kind = self._disk.backing_format

    def start(self) -> None:
        from dissect.hypervisor.disk.qcow2 import QCow2

        # QEMU looks for a backing file from the image's directory and for a data file from its own working
        # directory.
        named = {
            "backing_file": (self.backing_name, self.path.parent),
            "data_file": (self._disk.image_data_file, Path()),
        }
        opened = {}
        for role, (name, directory) in named.items():
            if name:
                try:
                    opened[role] = open(directory / name, "rb")  # noqa: SIM115
                    self._others.append(opened[role])
                except OSError as error:
                    what = role.replace("_", " ")
                    raise ImageError(
                        f"Could not open {what}: Could not open '{name}': {error.strerror}"
                    ) from error
        with _broken_is_image_error(self.kind):
            self._stream = QCow2(self.file, **opened).open()

    def close(self) -> None:
        for other in self._others:
            other.close()
        super().close()

    def _read(self, offset: int, length: int) -> bytes:
        self._stream.seek(offset)
        return bytes(self._stream.read(length))

    def specific(self) -> dict[str, Any]:
        header = self._disk.header
        modern = header.version >= 3
        data: dict[str, Any] = {"compat": "1.1" if modern else "0.10"}
        data["compression-type"] = "zstd" if self._disk.compression_type else "zlib"
        data["refcount-bits"] = 1 << header.refcount_order if modern else 16
        if modern:
            data["lazy-refcounts"] = bool(header.compatible_features & 1)
            data["corrupt"] = bool(header.incompatible_features & 2)
            data["extended-l2"] = self._disk.has_subclusters
        if self._disk.needs_data_file:
            data["data-file"] = self._disk.image_data_file
            data["data-file-raw"] = bool(header.autoclear_features & 2)
        return {"type": "qcow2", "data": data}


class VmdkImage(Image):
    kind = "vmdk"

    def __init__(self, path: Path, file: BinaryIO) -> None:
        from dissect.hypervisor.disk.vmdk import VMDK

        super().__init__(path, file)
        if self.file.read(4) != b"KDMV":
            raise ImageError("the lab reads a VMDK only where one file holds all of it")
        self.file.seek(0)
        self._disk = VMDK(self.file)
        self.size = self._disk.size
        header = self._disk.disks[0].header
        self.cluster_size = header.grain_size * SECTOR
        self._compressed = bool(header.flags & 0x10000)

    def _read(self, offset: int, length: int) -> bytes:
        return bytes(self._disk.read_sectors(offset // SECTOR, -(-length // SECTOR)))[:length]

    def specific(self) -> dict[str, Any]:
        settings = self._disk.disks[0].descriptor.attr
        extent: dict[str, Any] = {"virtual-size": self.size, "filename": str(self.path)}
        extent.update({"cluster-size": self.cluster_size, "format": ""})
        if self._compressed:
            extent["compressed"] = True
        data = {
            "cid": int(settings["CID"], 16),
            "parent-cid": int(settings["parentCID"], 16),
            "create-type": settings["createType"],
            "extents": [extent],
        }
        return {"type": "vmdk", "data": data}


class VhdxImage(Image):
    kind = "vhdx"

    def __init__(self, path: Path, file: BinaryIO) -> None:
        from dissect.hypervisor.disk.vhdx import VHDX

        super().__init__(path, file)
        self._disk = VHDX(self.file)
        self.size = self._disk.size
        self.cluster_size = self._disk.block_size

    def _read(self, offset: int, length: int) -> bytes:
        return bytes(self._disk.read_sectors(offset // SECTOR, -(-length // SECTOR)))[:length]
