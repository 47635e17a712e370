# SPDX-License-Identifier: Apache-2.0
"""The stand-ins for OpenNebula's own programs: downloader.sh, fs/stat, tm/ssh/context."""

from __future__ import annotations

import base64
import bz2
import gzip
import hashlib
import io
import lzma
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pycdlib
import pytest

import lab.one

STAND_INS = Path(lab.one.__file__).parent / "stand_ins"
DATA = os.urandom(1000) + bytes(700000)
PACKED = {"raw": DATA, "gz": gzip.compress(DATA), "bz2": bz2.compress(DATA), "xz": lzma.compress(DATA)}
# One file of two gzip members, as `cat a.gz b.gz` makes it.
PACKED["gz2"] = gzip.compress(DATA[:1000]) + gzip.compress(DATA[1000:])


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """Address of an HTTP server for tmp_path."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def run(program: str, *args: str, stdin: bytes = b"", path: Path | None = None) -> Any:
    search = [str(path)] if path else []
    environment = {"PATH": os.pathsep.join([*search, os.environ["PATH"]])}
    command = [sys.executable, str(STAND_INS / program), *args]
    return subprocess.run(command, input=stdin, capture_output=True, env=environment)


def download(*args: str) -> Any:
    return run("datastore/downloader.sh", *args)


@pytest.mark.parametrize("kind", PACKED)
def test_download_unpacks_by_content(tmp_path: Path, kind: str) -> None:
    source = tmp_path / "image"
    source.write_bytes(PACKED[kind])
    assert download(str(source), "-").stdout == DATA
    assert download("-n", str(source), "-").stdout == PACKED[kind]


def test_download_over_http_and_into_a_file(tmp_path: Path, web: str) -> None:
    (tmp_path / "image.gz").write_bytes(PACKED["gz"])
    done = download("--limit", "10m", f"{web}/image.gz", str(tmp_path / "out"))
    assert done.returncode == 0
    assert (tmp_path / "out").read_bytes() == DATA
    missing = download(f"{web}/missing", "-")
    assert missing.returncode == 255
    assert b"404" in missing.stderr


def test_checksum_is_that_of_the_stored_bytes_and_comes_last(tmp_path: Path) -> None:
    source = tmp_path / "image"
    source.write_bytes(PACKED["gz"])
    md5 = hashlib.md5(PACKED["gz"]).hexdigest()
    assert download("-m", md5, str(source), "-").returncode == 0
    assert download("--sha1", hashlib.sha1(PACKED["gz"]).hexdigest(), str(source), "-").returncode == 0
    wrong = download("-m", hashlib.md5(DATA).hexdigest(), str(source), "-")
    assert wrong.returncode == 255
    assert wrong.stdout == DATA
    assert b"checksum" in wrong.stderr


def test_a_part_of_the_data(tmp_path: Path) -> None:
    source = tmp_path / "image"
    source.write_bytes(PACKED["xz"])
    assert download("-c", "1500", str(source), "-").stdout == DATA[:1500]
    assert download("-c", "9999999", str(source), "-").stdout == DATA
    assert download("-c", "10", "-m", "0", str(source), "-").returncode == 255


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_truncated_data_is_an_error(tmp_path: Path, kind: str) -> None:
    source = tmp_path / "image"
    source.write_bytes(PACKED[kind][:-20])
    done = download(str(source), "-")
    assert done.returncode == 255
    assert b"too early" in done.stderr


def test_unreadable_sources_and_bad_arguments(tmp_path: Path) -> None:
    for args in (["/nowhere", "-"], [str(tmp_path), "-"], ["one"], ["--what", "a", "-"], ["rbd://a", "-"]):
        done = download(*args)
        assert (done.returncode, done.stdout) == (255, b"")
        assert done.stderr.count(b"\n") == 1


def test_ssh_source(tmp_path: Path) -> None:
    fake = tmp_path / "ssh"
    fake.write_text('#!/bin/sh\n[ "$1" = bob ] && exec sh -c "$2"\necho "no route" >&2; exit 255\n')
    fake.chmod(0o755)
    source = tmp_path / "it's"
    source.write_bytes(DATA)
    assert run("datastore/downloader.sh", f"ssh://bob:{source}", "-", path=tmp_path).stdout == DATA
    blank = source.rename(tmp_path / "with blank")
    assert run("datastore/downloader.sh", f"ssh://bob:{blank}", "-", path=tmp_path).returncode == 255
    assert run("datastore/downloader.sh", f"ssh://eve:{source}", "-", path=tmp_path).returncode == 255


def stat(path: str, argv: bool = False, **template: str) -> Any:
    attributes = "".join(f"<{key}>{value}</{key}>" for key, value in template.items())
    xml = (
        f"<DS_DRIVER_ACTION_DATA><IMAGE><PATH>{escape(path)}</PATH></IMAGE>"
        f"<DATASTORE><TEMPLATE>{attributes}</TEMPLATE></DATASTORE></DS_DRIVER_ACTION_DATA>"
    )
    encoded = base64.b64encode(xml.encode())
    if argv:
        return run("datastore/fs/stat", encoded.decode(), "0")
    return run("datastore/fs/stat", "0", stdin=encoded)


def qcow2_head(size: int) -> bytes:
    return struct.pack(">4sIQIIQ", b"QFI\xfb", 3, 0, 0, 16, size) + bytes(80)


def vmdk_head(size: int) -> bytes:
    return struct.pack("<4sIIQ", b"KDMV", 1, 3, size // 512) + bytes(492)


def vhdx_head(size: int) -> bytes:
    """A VHDX with what the format's description puts at 192 KiB (regions) and, here, at 1 MiB (metadata)."""
    image = bytearray(2 << 20)
    image[:8] = b"vhdxfile"
    metadata = bytes.fromhex("06a27c8b90479a4bb8fe575f050f886e")
    disk_size = bytes.fromhex("2442a52f1bcd7648b2115dbed83bf4b8")
    struct.pack_into("<4sIII", image, 0x30000, b"regi", 0, 1, 0)
    struct.pack_into("<16sQII", image, 0x30010, metadata, 1 << 20, 1 << 20, 1)
    struct.pack_into("<8sHH", image, 1 << 20, b"metadata", 0, 1)
    struct.pack_into("<16sIII", image, (1 << 20) + 32, disk_size, 65536, 8, 0)
    struct.pack_into("<Q", image, (1 << 20) + 65536, size)
    return bytes(image)


@pytest.mark.parametrize("make", [qcow2_head, vmdk_head, vhdx_head])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_stat_prints_the_virtual_size(tmp_path: Path, make: Any, pack: Any) -> None:
    image = tmp_path / "image & more"
    image.write_bytes(pack(make((5 << 20) + 512)))
    done = stat(str(image))
    assert (done.stdout, done.returncode) == (b"6\n", 0)


@pytest.mark.parametrize("kind", ["raw", "gz", "bz2", "xz"])
def test_stat_of_local_raw_images(tmp_path: Path, kind: str) -> None:
    image = tmp_path / "image"
    data = bytes((1 << 20) + 1)
    pack = {"raw": bytes, "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}[kind]
    image.write_bytes(pack(data))
    assert stat(str(image)).stdout == b"2\n"
    assert stat(str(image), argv=True).stdout == b"2\n"
    if kind != "raw":
        assert stat(str(image), NO_DECOMPRESS="yes").stdout == b"1\n"


def test_stat_over_http(tmp_path: Path, web: str) -> None:
    (tmp_path / "raw").write_bytes(bytes((2 << 20) + 5))
    (tmp_path / "qcow2.xz").write_bytes(lzma.compress(qcow2_head(7 << 20)))
    (tmp_path / "raw.gz").write_bytes(PACKED["gz"])
    assert stat(f"{web}/raw").stdout == b"3\n"
    assert stat(f"{web}/qcow2.xz").stdout == b"7\n"
    for address in (f"{web}/raw.gz", f"{web}/missing"):
        done = stat(address)
        assert (done.returncode, done.stdout) == (255, b"")


def test_stat_of_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for path in (tmp_path / "missing", tmp_path / "empty"):
        done = stat(str(path))
        assert done.returncode == 255
        assert str(path).encode() in done.stderr


def test_context_puts_an_iso_on_the_host(tmp_path: Path) -> None:
    fake = tmp_path / "ssh"
    fake.write_text('#!/bin/sh\n[ "$1" = bob ] && exec sh -c "$2"\necho "no route" >&2; exit 255\n')
    fake.chmod(0o755)
    (tmp_path / "context.sh").write_text("NETWORK='YES'\n")
    (tmp_path / "data").write_bytes(DATA)
    where = f"{tmp_path}//7/disk.3"
    files = [str(tmp_path / "context.sh"), f"{tmp_path}/data:'My data.bin'"]
    assert run("tm/ssh/context", *files, f"bob:{where}", "7", "101", path=tmp_path).returncode == 0
    iso = pycdlib.PyCdlib()
    iso.open(where)
    assert iso.pvd.volume_identifier.strip() == b"CONTEXT"
    for name, content in (("context.sh", b"NETWORK='YES'\n"), ("My data.bin", DATA)):
        for kind in ("rr_path", "joliet_path"):
            out = io.BytesIO()
            iso.get_file_from_iso_fp(out, **{kind: f"/{name}"})
            assert out.getvalue() == content
    iso.close()
    lost = run("tm/ssh/context", *files, f"eve:{where}", "7", "101", path=tmp_path)
    assert lost.returncode == 255
    assert b"no route" in lost.stderr
    missing = run("tm/ssh/context", "/nowhere", f"bob:{where}", "7", "101", path=tmp_path)
    assert missing.returncode == 255
