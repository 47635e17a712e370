# SPDX-License-Identifier: Apache-2.0
"""The stand-in for qemu-img, alone and beside the real one where that is installed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lab.hosts.layout import CHECKOUT, PROGRAMS
from lab.images import flat, write_qcow2, write_raw, write_vhdx, write_vmdk

SIZE = 3 * 1024 * 1024 + 512
EXTENTS = {4096: b"a" * 70_000, SIZE - 512: b"b" * 512}
STAND_IN = [sys.executable, "-c", "import sys; from qemu_img import main; sys.exit(main(sys.argv[1:]))"]


def _stand_in(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{PROGRAMS}:{CHECKOUT}"}
    return subprocess.run(
        [*STAND_IN, *map(str, words)], cwd=cwd, env=environment, capture_output=True, text=True
    )


def _real(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["qemu-img", *map(str, words)], cwd=cwd, capture_output=True, text=True)


@pytest.fixture(params=["stand-in", "real"])
def qemu_img(request, tmp_path):
    """Both have to pass the same tests."""
    if request.param == "real" and shutil.which("qemu-img") is None:
        pytest.skip("qemu-img is not installed")
    run = _real if request.param == "real" else _stand_in
    return lambda *words: run(*words, cwd=tmp_path)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    write_raw(tmp_path / "a.raw", SIZE, EXTENTS)
    write_qcow2(tmp_path / "a.qcow2", SIZE, EXTENTS)
    write_qcow2(tmp_path / "top.qcow2", SIZE, {}, backing_file="a.raw")
    write_qcow2(tmp_path / "ext.qcow2", SIZE, EXTENTS, data_file="ext.data")
    write_vmdk(tmp_path / "a.vmdk", SIZE, EXTENTS)
    write_vmdk(tmp_path / "stream.vmdk", SIZE, EXTENTS, "streamOptimized")
    write_vhdx(tmp_path / "a.vhdx", SIZE, EXTENTS)
    return tmp_path


NAMES = ["a.raw", "a.qcow2", "top.qcow2", "ext.qcow2", "a.vmdk", "stream.vmdk", "a.vhdx"]


@pytest.mark.parametrize("name", NAMES)
def test_info(qemu_img, images, name):
    told = json.loads(qemu_img("info", "--output=json", name).stdout)
    assert (told["virtual-size"], told["format"], told["filename"]) == (SIZE, name.rpartition(".")[2], name)
    assert told["actual-size"] == (images / name).stat().st_blocks * 512
    assert told.get("backing-filename") == ("a.raw" if name == "top.qcow2" else None)


@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")
@pytest.mark.parametrize("name", NAMES)
def test_info_is_that_of_the_real_one(images, name):
    real = json.loads(_real("info", "--output=json", name, cwd=images).stdout)
    # Since QEMU 8.1, a tree of block nodes that nobody here reads.
    real.pop("children", None)
    assert json.loads(_stand_in("info", "--output=json", name, cwd=images).stdout) == real


def test_raw_size_is_rounded_up_to_sectors(qemu_img, tmp_path):
    (tmp_path / "odd").write_bytes(b"x" * 1000)
    assert json.loads(qemu_img("info", "--output=json", "odd").stdout)["virtual-size"] == 1024


@pytest.mark.parametrize("name", NAMES)
def test_convert_to_a_new_file(qemu_img, images, name):
    done = qemu_img("convert", "-f", name.rpartition(".")[2], "-O", "raw", name, "out")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (images / "out").read_bytes() == flat(SIZE, EXTENTS)
    assert (images / "out").stat().st_blocks * 512 <= 128 * 1024


def test_convert_into_an_existing_target_overwrites_all_of_it_and_no_more(qemu_img, images):
    (images / "out").write_bytes(b"\xff" * (SIZE + 4096))
    assert qemu_img("convert", "-n", "-O", "raw", "a.qcow2", "out").returncode == 0
    assert (images / "out").read_bytes() == flat(SIZE, EXTENTS) + b"\xff" * 4096


def test_zeros_are_left_out_on_request(qemu_img, images):
    (images / "out").write_bytes(b"\xff" * SIZE)
    assert qemu_img("convert", "-n", "--target-is-zero", "-O", "raw", "a.qcow2", "out").returncode == 0
    assert (images / "out").read_bytes()[:4096] == b"\xff" * 4096
    assert (images / "out").read_bytes()[4096:74_096] == b"a" * 70_000


def test_convert_a_stretch_of_the_disk(qemu_img, images):
    window = "driver=raw,offset=4096,size=131072,file.driver=qcow2,"
    window += "file.file.driver=file,file.file.filename=a.qcow2"
    assert qemu_img("convert", "--image-opts", "-O", "raw", window, "out").returncode == 0
    assert (images / "out").read_bytes() == flat(SIZE, EXTENTS)[4096 : 4096 + 131_072]


def test_a_comma_in_a_file_name_is_written_twice_in_image_options(qemu_img, images):
    (images / "a.qcow2").rename(images / "a,size=1.qcow2")
    window = "driver=raw,file.driver=qcow2,file.file.driver=file,file.file.filename=a,,size=1.qcow2"
    assert qemu_img("convert", "--image-opts", "-O", "raw", window, "out").returncode == 0
    assert (images / "out").read_bytes() == flat(SIZE, EXTENTS)


@pytest.mark.parametrize(
    "words",
    [
        ("info", "--output=json", "gone"),
        ("info", "--output=json", "-f", "qcow2", "a.raw"),
        ("convert", "-O", "raw", "gone", "out"),
        ("convert", "-f", "vmdk", "-O", "raw", "a.qcow2", "out"),
        ("convert", "-n", "-O", "raw", "a.raw", "gone"),
        ("convert", "-n", "-O", "raw", "a.raw", "small"),
        ("convert", "-O", "raw", "lost.qcow2", "out"),
        ("convert", "-f", "raw", "--image-opts", "-O", "raw", "driver=raw", "out"),
        ("convert", "--target-is-zero", "-O", "raw", "a.raw", "out"),
        (
            "convert",
            "--image-opts",
            "-O",
            "raw",
            f"driver=raw,offset={SIZE},size=512,file.driver=file,file.filename=a.raw",
            "out",
        ),
        ("create", "-f", "raw", "out", "many"),
    ],
)
def test_refused(qemu_img, images, words):
    write_qcow2(images / "lost.qcow2", SIZE, {}, backing_file="gone")
    (images / "small").write_bytes(bytes(4096))
    done = qemu_img(*words)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("qemu-img: ")
    assert (images / "small").read_bytes() == bytes(4096)


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_create(qemu_img, tmp_path, kind):
    assert qemu_img("create", "-f", kind, "disk", "10M").returncode == 0
    told = json.loads(qemu_img("info", "--output=json", "disk").stdout)
    assert (told["format"], told["virtual-size"]) == (kind, 10 << 20)


@pytest.mark.parametrize("name", NAMES)
def test_convert_to_qcow2(qemu_img, images, name):
    done = qemu_img("convert", "-f", name.rpartition(".")[2], "-O", "qcow2", name, "out.qcow2")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert json.loads(qemu_img("info", "--output=json", "out.qcow2").stdout)["virtual-size"] == SIZE
    assert qemu_img("convert", "-f", "qcow2", "-O", "raw", "out.qcow2", "out").returncode == 0
    assert (images / "out").read_bytes() == flat(SIZE, EXTENTS)


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_resize(qemu_img, images, kind):
    name = f"a.{kind}"
    assert qemu_img("resize", "-f", kind, name, "600M").stdout == "Image resized.\n"
    assert qemu_img("resize", "-q", "-f", kind, name, str(700 << 20)).stdout == ""
    assert json.loads(qemu_img("info", "--output=json", name).stdout)["virtual-size"] == 700 << 20
    assert qemu_img("check", "-q", "-f", kind, name).returncode == {"raw": 63, "qcow2": 0}[kind]
    assert qemu_img("convert", "-f", kind, "-O", "raw", name, "out").returncode == 0
    with open(images / "out", "rb") as file:
        assert file.read(SIZE) == flat(SIZE, EXTENTS)
        file.seek(600 << 20)
        assert not file.read(1 << 20).strip(b"\0")


def test_resize_refuses_to_shrink(qemu_img, images):
    before = (images / "a.qcow2").read_bytes()
    done = qemu_img("resize", "-f", "qcow2", "a.qcow2", "1M")
    assert (done.returncode, "--shrink" in done.stderr) == (1, True)
    assert (images / "a.qcow2").read_bytes() == before


def test_host_and_front_end_have_it(hosts, ssh, tmp_path):
    hosts.devices.create("A/0", 4096)
    hosts.devices.expose("A/0", "alice", ["/dev/drbd1000"])
    write_qcow2(tmp_path / "a.qcow2", SIZE, EXTENTS)
    front = subprocess.run(
        ["qemu-img", "info", "--output=json", tmp_path / "a.qcow2"], env=ssh.environment, capture_output=True
    )
    assert json.loads(front.stdout)["virtual-size"] == SIZE
    script = "set -e; cd; cat > in.qcow2; qemu-img convert -n -f qcow2 -O raw in.qcow2 /dev/drbd1000"
    done = ssh("alice", script, stdin=(tmp_path / "a.qcow2").read_bytes())
    assert (done.returncode, done.stderr) == (0, b"")
    with hosts.open_disk("alice", "/dev/drbd1000") as guest:
        assert guest.size() == 4 << 20
        assert hashlib.sha256(guest.read(0, SIZE)).digest() == hashlib.sha256(flat(SIZE, EXTENTS)).digest()
    assert hosts.devices.allocated_kib("A/0") <= 128
