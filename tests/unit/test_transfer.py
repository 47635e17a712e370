# SPDX-License-Identifier: Apache-2.0
"""Bytes on their way into volumes: no zeros travel, nothing is lost, nothing of before stays."""

from __future__ import annotations

import io
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lab.hosts import Hosts
from linstor_helper import transfer
from linstor_helper.errors import RefusedError
from linstor_helper.ports import Resource
from linstor_helper.ssh import SshHosts
from linstor_helper.transfer import Extent, Target
from linstor_helper.units import KIB, MIB, Size

GRAIN = 64 * KIB
LENGTHS = st.one_of(
    st.integers(0, 3 * GRAIN),
    st.sampled_from(
        [GRAIN, GRAIN - 1, GRAIN + 1, transfer.CHUNK, transfer.CHUNK + GRAIN, transfer.CHUNK - 1]
    ),
)
PIECES = st.lists(st.tuples(LENGTHS, st.sampled_from([b"\0", b"x", b"\0y"])), max_size=8)


def joined(pieces: list[tuple[int, bytes]]) -> bytes:
    return b"".join((fill * length)[:length] for length, fill in pieces)


def put_together(extents: list[Extent], length: int) -> bytes:
    """What a target full of zeros holds afterwards; extents come in order and never overlap."""
    disk, end = bytearray(length), 0
    for offset, data in extents:
        assert data
        assert offset >= end
        end = offset + len(data)
        assert end <= length
        disk[offset:end] = data
    return bytes(disk)


def assert_only_data(extents: list[Extent]) -> None:
    """Neither long zeros nor pieces too large for the memory budget."""
    for _, data in extents:
        assert len(data) <= transfer.CHUNK
        assert data[:GRAIN].strip(b"\0")
        assert data[-(len(data) % GRAIN or GRAIN) :].strip(b"\0")


@given(PIECES, st.integers(0, 200_000))
@example([(transfer.CHUNK, b"\0"), (1, b"x")], 65536)
@settings(deadline=None, max_examples=60)
def test_a_stream_comes_out_as_it_went_in(pieces: list[tuple[int, bytes]], head: int) -> None:
    content = joined(pieces)
    found = list(transfer.extents_of_stream(io.BytesIO(content[head:]), content[:head]))
    assert put_together(found, len(content)) == content
    assert_only_data(found)


class _Trickle(io.RawIOBase):
    """Gives single bytes around every border, as a pipe may."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)
        self._turn = 0

    def read(self, count: int = -1) -> bytes:
        self._turn += 1
        return self._content.read(1 if self._turn % 2 else min(count, 50_000))


def test_short_reads_are_not_the_end() -> None:
    content = os.urandom(300_000) + bytes(200_000) + b"end"
    found = list(transfer.extents_of_stream(_Trickle(content)))
    assert put_together(found, len(content)) == content


@given(PIECES, st.booleans(), st.integers(0, 1 << 40))
@settings(deadline=None, max_examples=60)
def test_a_file_comes_out_as_it_is(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[int, bytes]], sparse: bool, base: int
) -> None:
    content = joined(pieces)
    path = tmp_path_factory.getbasetemp() / "file"
    with open(path, "wb") as stream:
        for length, fill in pieces:
            if sparse and fill == b"\0":
                stream.seek(length, os.SEEK_CUR)
            else:
                stream.write((fill * length)[:length])
        stream.truncate(len(content))
    found = list(transfer.extents_of_file(str(path), base))
    assert put_together([(offset - base, data) for offset, data in found], len(content)) == content
    assert_only_data(found)


def test_holes_are_skipped_without_reading(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with open(path, "wb") as stream:
        stream.truncate(1 << 40)
        stream.seek((1 << 40) - 5 * MIB)
        stream.write(b"x" * 10)
    found = list(transfer.extents_of_file(str(path)))
    assert found == [((1 << 40) - 5 * MIB, (b"x" * 10).ljust(GRAIN, b"\0"))]


def test_neighbours_in_one_grain_are_sent_once(tmp_path: Path) -> None:
    """Nor may a gap begin or end where no device could zero it."""
    path = tmp_path / "file"
    with open(path, "wb") as stream:
        for place in (0, 20_000, 50_000, 200_000):
            stream.seek(place)
            stream.write(b"x")
    found = list(transfer.extents_of_file(str(path)))
    assert [(offset, len(data)) for offset, data in found] == [(0, GRAIN), (3 * GRAIN, 200_001 - 3 * GRAIN)]


def test_memory_does_not_grow_with_the_stream() -> None:
    class Endless:
        """96 MiB, zeros and data in turns."""

        left = 96

        def read(self, count: int) -> bytes:
            self.left -= 1
            return (b"\0" if self.left % 2 else b"x") * min(count, MIB) if self.left >= 0 else b""

    tracemalloc.start()
    total = sum(len(data) for _, data in transfer.extents_of_stream(Endless()))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == 48 * MIB
    assert peak < 6 * transfer.CHUNK


def resource(node: str, provider: str | None = "LVM_THIN", *flags: str) -> Resource:
    return Resource("r", node, frozenset(flags), False, ("DRBD", "STORAGE"), None, "UpToDate", provider)


@pytest.mark.parametrize("provider", ["LVM_THIN", "ZFS", "ZFS_THIN", "FILE", "FILE_THIN"])
def test_providers_whose_volumes_begin_with_zeros(provider: str) -> None:
    assert transfer.reads_as_zeros([resource("a", provider), resource("b", "DISKLESS", "DISKLESS")])


@pytest.mark.parametrize("provider", ["LVM", "SPDK", "EBS_INIT", "NEW_IN_2030", None])
def test_all_others_are_not_trusted(provider: str | None) -> None:
    assert not transfer.reads_as_zeros([resource("a"), resource("b", provider)])


@pytest.mark.parametrize(
    ("bridges", "expected"),
    [
        ((), ["a", "b", "c", "a"]),
        (("B",), ["B"] * 4),
        (("x", "c", "a"), ["c", "a", "c", "a"]),
        (("x", "y"), ["x", "y", "x", "y"]),
    ],
)
def test_the_work_goes_round(bridges: tuple[str, ...], expected: list[str]) -> None:
    nodes = [resource("c"), resource("b"), resource("a"), resource("d", None, "DELETE")]

    def usable(one: Resource) -> bool:
        return not one.deleting

    assert [transfer.choose_host(nodes, usable, bridges, turn) for turn in range(4)] == expected


# -- on a host ------------------------------------------------------------------------------------------------------


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Hosts, SshHosts]]:
    """Hosts of the lab and the adapter that reaches them."""
    with Hosts(tmp_path, ["alice"], str(tmp_path / "datastores")) as hosts:
        monkeypatch.setenv("PATH", f"{hosts.bin_dir}:{os.environ['PATH']}")
        for name, text in hosts.environment().items():
            monkeypatch.setenv(name, text)
        yield hosts, SshHosts(5)


DEVICE = "/dev/drbd/by-res/img/0"
SIZE = 1024 * KIB
CASES: list[list[Extent]] = [
    [],
    [(0, b"x")],
    [(GRAIN, b"x" * GRAIN), (4 * GRAIN, b"y" * 5_000)],
    [(SIZE - GRAIN, b"y" * GRAIN)],
    [(SIZE - GRAIN, b"y" * 70)],
    [(0, b"x" * SIZE)],
    [(0, b"dd of=/dev/null\necho $(id) '\n\0\xff")],
]


@pytest.mark.parametrize("stale", [False, True], ids=["zeros", "stale"])
def test_a_target_holds_the_extents_and_zeros_else(ssh: tuple[Hosts, SshHosts], stale: bool) -> None:
    hosts, adapter = ssh
    for number, extents in enumerate(CASES):
        key = f"IMG{number}/0"
        hosts.devices.create(key, SIZE // 1024, stale=stale)
        hosts.devices.expose(key, "alice", [f"/dev/drbd{1000 + number}", DEVICE])
        transfer.write(adapter, Target("alice", DEVICE, Size(SIZE), not stale), extents, 5)
        with hosts.open_disk("alice", DEVICE, write=False) as disk:
            assert disk.read(0, SIZE) == put_together(extents, SIZE), number
        hosts.devices.delete(key)


def test_what_does_not_fit_is_refused_before_it_is_sent(ssh: tuple[Hosts, SshHosts]) -> None:
    hosts, adapter = ssh
    hosts.devices.create("IMG/0", 2 * SIZE // 1024)
    hosts.devices.expose("IMG/0", "alice", ["/dev/drbd1000", DEVICE])
    target = Target("alice", DEVICE, Size(SIZE), True)
    with pytest.raises(RefusedError, match="larger than its declared size"):
        transfer.write(adapter, target, [(0, b"x"), (SIZE - 1, b"xy")], 5)
    with hosts.open_disk("alice", DEVICE, write=False) as disk:
        assert disk.read(SIZE - 1, 10) == bytes(10)


def test_encrypted_storage_does_not_read_as_zeros() -> None:
    plain = resource("a")
    assert transfer.reads_as_zeros([plain])
    assert not transfer.reads_as_zeros([plain._replace(layers=("DRBD", "LUKS", "STORAGE"))])
