# SPDX-License-Identifier: Apache-2.0
"""Images made by the lab hold the bytes that were asked for, as dissect.hypervisor and qemu-img read them."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from lab.images import compress, flat, write_qcow2, write_raw, write_vhdx, write_vmdk
from lab.images.reading import Image, ImageError, open_image, probe

# No multiple of a cluster, a grain or a block.
SIZE = 5 * 1024 * 1024 + 3 * 512
NOISE = random.Random(1).randbytes(200_000)
EXTENTS = {0: b"boot" * 300, 1_000_001: NOISE, SIZE - 7: b"the end"}
WRITERS = {
    "qcow2": lambda path, size, extents: write_qcow2(path, size, extents),
    "qcow2-compressed": lambda path, size, extents: write_qcow2(path, size, extents, compressed=True),
    "qcow2-small-clusters": lambda path, size, extents: write_qcow2(path, size, extents, cluster_bits=9),
    "qcow2-large-clusters": lambda path, size, extents: write_qcow2(path, size, extents, cluster_bits=21),
    "qcow2-data-file": lambda path, size, extents: write_qcow2(path, size, extents, data_file=f"{path}.data"),
    "vmdk-sparse": lambda path, size, extents: write_vmdk(path, size, extents),
    "vmdk-stream": lambda path, size, extents: write_vmdk(path, size, extents, "streamOptimized"),
    "vhdx": lambda path, size, extents: write_vhdx(path, size, extents),
    "vhdx-large-blocks": lambda path, size, extents: write_vhdx(path, size, extents, block_size=32 << 20),
    "raw": lambda path, size, extents: write_raw(path, size, extents),
}


@pytest.fixture(params=WRITERS)
def image_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"disk.{request.param.partition('-')[0]}"
    WRITERS[request.param](path, SIZE, EXTENTS)
    return path


def content(image: Image) -> bytes:
    try:
        image.start()
        return image.read(0, image.size)
    finally:
        image.close()


def test_reads_back(image_file):
    kind = image_file.suffix[1:]
    assert probe(image_file) == kind
    image = open_image(image_file)
    assert (image.kind, image.size) == (kind, SIZE)
    assert content(image) == flat(SIZE, EXTENTS)


@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")
def test_qemu_img_reads_the_same_and_finds_no_errors(image_file, tmp_path):
    kind = image_file.suffix[1:]
    if kind != "raw":
        subprocess.run(["qemu-img", "check", "-f", kind, image_file], check=True, capture_output=True)
    subprocess.run(
        ["qemu-img", "convert", "-f", kind, "-O", "raw", image_file, tmp_path / "flat"], check=True
    )
    assert (tmp_path / "flat").read_bytes() == flat(SIZE, EXTENTS)


def test_empty_disk_of_a_terabyte_is_small_in_every_format(tmp_path):
    for name, write in WRITERS.items():
        if name in ("qcow2-small-clusters", "vmdk-sparse"):
            # Their tables alone take hundreds of MiB.
            continue
        path = tmp_path / f"{name}.img"
        write(path, 1 << 40, {})
        image = open_image(path)
        assert image.size == 1 << 40
        image.close()
        assert path.stat().st_blocks * 512 < 16 << 20, name


def test_qcow2_over_a_backing_file(tmp_path):
    write_raw(tmp_path / "base.raw", SIZE, EXTENTS)
    write_qcow2(tmp_path / "top.qcow2", SIZE, {65536: b"z" * 65536}, backing_file="base.raw")
    image = open_image(tmp_path / "top.qcow2")
    assert (image.backing_name, image.backing_kind) == ("base.raw", "RAW")
    assert content(image) == flat(SIZE, {**EXTENTS, 65536: b"z" * 65536})


def test_backing_file_is_named_and_not_opened(tmp_path):
    write_qcow2(tmp_path / "evil.qcow2", SIZE, {}, backing_file="/etc/shadow")
    image = open_image(tmp_path / "evil.qcow2")
    assert image.backing_name == "/etc/shadow"
    image.close()
    write_qcow2(tmp_path / "lost.qcow2", SIZE, {}, backing_file="gone.raw")
    with pytest.raises(ImageError, match="Could not open backing file"):
        content(open_image(tmp_path / "lost.qcow2"))


def test_data_file_may_be_a_name_only(tmp_path):
    write_qcow2(tmp_path / "evil.qcow2", SIZE, {}, data_file="/etc/shadow")
    image = open_image(tmp_path / "evil.qcow2")
    assert image.specific()["data"]["data-file"] == "/etc/shadow"
    image.close()


def test_compressed_clusters_are_smaller(tmp_path):
    for compressed in (False, True):
        write_qcow2(
            tmp_path / str(compressed), SIZE, {0: b"text" * 500_000}, compressed=compressed, cluster_bits=21
        )
    assert (tmp_path / "True").read_bytes().count(b"text" * 100) == 0
    assert (tmp_path / "False").read_bytes().count(b"text" * 100) > 0


@pytest.mark.parametrize(("kind", "module"), [("gz", gzip), ("bz2", bz2), ("xz", lzma)])
def test_compressed_files(tmp_path, kind, module):
    write_raw(tmp_path / "disk", SIZE, EXTENTS)
    packed = compress(tmp_path / "disk", kind)
    assert packed.name == f"disk.{kind}"
    assert packed.stat().st_size < SIZE / 2
    assert module.decompress(packed.read_bytes()) == flat(SIZE, EXTENTS)


@pytest.mark.parametrize("cut", [3, 100, 70_000])
@pytest.mark.parametrize("name", ["qcow2", "vmdk-sparse", "vhdx"])
def test_truncated_image_is_an_error_and_no_crash(tmp_path, name, cut):
    path = tmp_path / "disk"
    WRITERS[name](path, SIZE, EXTENTS)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ImageError):
        content(open_image(path, name.partition("-")[0]))


def test_what_does_not_fit_is_refused(tmp_path):
    for write in WRITERS.values():
        if write is not WRITERS["raw"]:
            with pytest.raises(ValueError, match="disk of"):
                write(tmp_path / "disk", 1 << 20, {(64 << 20) - 1: b"xx"})
    with pytest.raises(ValueError, match="whole clusters"):
        write_qcow2(tmp_path / "disk", SIZE, {5: b"x"}, backing_file="base")
    with pytest.raises(ValueError, match="flat"):
        write_vmdk(tmp_path / "disk", SIZE, {}, "flat")
