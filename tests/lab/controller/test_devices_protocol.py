# SPDX-License-Identifier: Apache-2.0
"""The in-memory devices keep the rules that real ones have."""

from __future__ import annotations

import pytest

from lab.devices_protocol import DeviceBusy, NoDevices

BLOCK = b"x" * 4096


@pytest.fixture
def volume(devices: NoDevices) -> NoDevices:
    devices.create("A/0", 64)
    devices.expose("A/0", "alice", ["/dev/drbd1000"])
    devices.expose("A/0", "bob", ["/dev/drbd1000"])
    return devices


def test_content(volume: NoDevices) -> None:
    assert volume.read("A/0", 0, 4096) == bytes(4096)
    assert volume.allocated_kib("A/0") == 0
    volume.write("A/0", 8192, BLOCK * 2)
    volume.copy("A/0", "B/0")
    volume.write("A/0", 8192, bytes(4096))
    assert volume.read("B/0", 4096, 12288) == bytes(4096) + BLOCK * 2
    assert volume.allocated_kib("B/0") == 8
    volume.resize("B/0", 12)
    assert (volume.size_kib("B/0"), volume.allocated_kib("B/0")) == (12, 4)
    with pytest.raises(OSError, match="beyond"):
        volume.write("B/0", 12288, BLOCK)
    with pytest.raises(ValueError, match="4096"):
        volume.write("B/0", 1, BLOCK)
    for make in (lambda: volume.create("A/0", 4), lambda: volume.copy("B/0", "A/0")):
        with pytest.raises(FileExistsError):
            make()


def test_one_primary(volume: NoDevices) -> None:
    volume.open("A/0", "alice")
    assert volume.openers("A/0") == {"alice"}
    with pytest.raises(DeviceBusy) as refused:
        volume.open("A/0", "bob")
    assert refused.value.hosts == {"alice"}
    volume.allow_writers("A/0", {"alice", "bob"})
    volume.open("A/0", "bob")
    assert volume.openers("A/0") == {"alice", "bob"}


def test_open_devices_stay(volume: NoDevices) -> None:
    volume.open("A/0", "alice", write=False)
    assert volume.openers("A/0") == set()
    for refused in (lambda: volume.hide("A/0", "alice"), lambda: volume.delete("A/0")):
        with pytest.raises(DeviceBusy):
            refused()
    volume.close("A/0", "alice")
    volume.hide("A/0", "alice")
    with pytest.raises(FileNotFoundError):
        volume.open("A/0", "alice")
    volume.delete("A/0")
    assert not volume.exists("A/0")
