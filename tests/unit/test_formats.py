# SPDX-License-Identifier: Apache-2.0
"""Formats by their first bytes, in files as the lab writes them; and which of them refer to others."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.images import compress, write_qcow2, write_raw, write_vhdx, write_vmdk
from linstor_helper import formats
from linstor_helper.errors import RefusedError

MIB = 1 << 20
EXTENTS = {0: b"data" * 500}
WRITERS: dict[str, Callable[[Path], None]] = {
    "raw": lambda path: write_raw(path, MIB, EXTENTS),
    "qcow2": lambda path: write_qcow2(path, MIB, EXTENTS),
    "vmdk": lambda path: write_vmdk(path, MIB, EXTENTS),
    "vhdx": lambda path: write_vhdx(path, MIB, EXTENTS),
}


def head_of(path: Path) -> bytes:
    with open(path, "rb") as stream:
        return stream.read(formats.HEAD)


def refusal(kind: str, head: bytes) -> str:
    """The text of the refusal; empty for an image that is accepted."""
    try:
        formats.require_self_contained(kind, head, "disk")
    except RefusedError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("kind", WRITERS)
def test_a_format_is_known_by_its_first_bytes(tmp_path: Path, kind: str) -> None:
    WRITERS[kind](tmp_path / "disk")
    head = head_of(tmp_path / "disk")
    assert formats.identify(head) == kind
    assert not formats.is_compressed(head)
    assert refusal(kind, head) == ""


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"", "raw"),
        (b"QFI", "raw"),
        (b"\0QFI\xfb", "raw"),
        (b"conectix", "vpc"),
        (b"<<< VDI >>>".ljust(64, b"\0") + b"\x7f\x10\xda\xbe", "vdi"),
        (b"# Disk DescriptorFile\nversion=1\n", "vmdk"),
    ],
)
def test_other_first_bytes(head: bytes, kind: str) -> None:
    assert formats.identify(head) == kind


@pytest.mark.parametrize("packing", ["gz", "bz2", "xz"])
def test_compressed_files_are_known(tmp_path: Path, packing: str) -> None:
    write_raw(tmp_path / "disk", MIB, EXTENTS)
    assert formats.is_compressed(head_of(compress(tmp_path / "disk", packing)))


@pytest.mark.parametrize("cluster_bits", [9, 16, 21])
def test_a_qcow2_with_a_backing_file_is_refused(tmp_path: Path, cluster_bits: int) -> None:
    path = tmp_path / "disk"
    write_qcow2(path, 1 << 22, {}, backing_file="/etc/shadow", cluster_bits=cluster_bits)
    assert "disk is refused: it has a backing file" in refusal("qcow2", head_of(path))
    assert "qemu-img convert" in refusal("qcow2", head_of(path))


def test_a_qcow2_with_its_data_elsewhere_is_refused(tmp_path: Path) -> None:
    write_qcow2(tmp_path / "disk", MIB, {}, data_file="/etc/shadow")
    assert "keeps its data in another file" in refusal("qcow2", head_of(tmp_path / "disk"))


def test_a_qcow2_of_version_2_has_no_flags(tmp_path: Path) -> None:
    """What follows the short header of version 2 is no bit field."""
    write_qcow2(tmp_path / "disk", MIB, EXTENTS)
    head = bytearray(head_of(tmp_path / "disk"))
    head[4:8] = struct.pack(">I", 2)
    head[72:80] = b"\xff" * 8
    assert refusal("qcow2", bytes(head)) == ""
    head[8:16] = struct.pack(">Q", 512)
    assert "has a backing file" in refusal("qcow2", bytes(head))


@pytest.mark.parametrize("subformat", ["monolithicSparse", "streamOptimized"])
def test_a_single_file_vmdk_is_accepted(tmp_path: Path, subformat: str) -> None:
    write_vmdk(tmp_path / "disk", MIB, EXTENTS, subformat)
    assert refusal("vmdk", head_of(tmp_path / "disk")) == ""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"monolithicSparse"', b'"monolithicFlat"  '),
        (b'"monolithicSparse"', b'"twoGbMaxExtentSparse"'),
        (b'"monolithicSparse"', b'"vmfs"            '),
        (b"parentCID=ffffffff", b"parentCID=12345678"),
    ],
)
def test_a_vmdk_that_names_others_is_refused(tmp_path: Path, old: bytes, new: bytes) -> None:
    write_vmdk(tmp_path / "disk", MIB, EXTENTS)
    head = head_of(tmp_path / "disk")
    assert old in head
    assert "is refused" in refusal("vmdk", head.replace(old, new))


def test_a_vmdk_descriptor_is_refused() -> None:
    text = b'# Disk DescriptorFile\ncreateType="monolithicFlat"\nRW 8 FLAT "/etc/shadow" 0\n'
    assert "names other files" in refusal("vmdk", text)


def test_a_vmdk_whose_descriptor_lies_beyond_what_is_looked_at_is_refused(tmp_path: Path) -> None:
    write_vmdk(tmp_path / "disk", MIB, EXTENTS)
    head = bytearray(head_of(tmp_path / "disk"))
    struct.pack_into("<Q", head, 28, formats.HEAD // 512)
    assert "single-file" in refusal("vmdk", bytes(head))


@given(st.sampled_from([b"QFI\xfb", b"KDMV", b"# Disk DescriptorFile"]), st.binary(max_size=700))
def test_rubbish_after_a_magic_number_never_breaks_the_check(magic: bytes, rest: bytes) -> None:
    kind = formats.identify(magic + rest)
    assert kind in ("qcow2", "vmdk")
    refusal(kind, magic + rest)
