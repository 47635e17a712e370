# SPDX-License-Identifier: Apache-2.0
"""DRBD's rules about who may open a device, write and read: quorum, readers, two Primaries, hosts that die."""

from __future__ import annotations

import errno
import os
import signal

import pytest

from lab.devices_protocol import NoDevices
from lab.hosts import DeviceBusy, Hosts

KEY = "IMG/0"
NODE = "/dev/drbd1000"


@pytest.fixture
def volume(hosts: Hosts) -> Hosts:
    hosts.devices.create(KEY, 1024)
    for name in hosts.names:
        hosts.devices.expose(KEY, name, [NODE])
    return hosts


def refused(hosts: Hosts, name: str, *, write: bool = True) -> bool:
    try:
        hosts.open_disk(name, NODE, write=write).close()
    except (OSError, DeviceBusy):
        return True
    return False


class TestAccess:
    @pytest.mark.parametrize("access", ["ro", "none"])
    def test_nobody_opens_a_device_without_quorum(self, volume, access):
        volume.devices.set_access(KEY, "alice", access)
        for write in (True, False):
            with pytest.raises(OSError, match="No such device or address"):
                volume.open_disk("alice", NODE, write=write)
        assert volume.run("alice", f"dd if={NODE} of=/dev/null count=1").returncode == 1
        assert volume.run("alice", f"printf x | dd of={NODE} conv=notrunc").returncode == 1
        assert volume.run("alice", f"test -b {NODE}").returncode == 0
        assert not refused(volume, "bob")
        volume.devices.set_access(KEY, "alice", "rw")
        assert volume.run("alice", f"printf x | dd of={NODE} conv=notrunc status=none", check=True)
        assert not refused(volume, "alice")

    def test_it_holds_for_a_device_that_appears_later(self, volume):
        volume.devices.hide(KEY, "alice")
        volume.devices.set_access(KEY, "alice", "none")
        volume.devices.expose(KEY, "alice", [NODE])
        assert refused(volume, "alice", write=False)

    def test_a_guest_gets_errors_until_quorum_is_back(self, volume):
        with volume.open_disk("alice", NODE) as guest:
            guest.write(0, b"before")
            volume.devices.set_access(KEY, "alice", "ro")
            with pytest.raises(OSError, match="Input/output error"):
                guest.write(0, b"during")
            assert guest.read(0, 6) == b"before"
            volume.devices.set_access(KEY, "alice", "none")
            with pytest.raises(OSError, match="Input/output error") as error:
                guest.read(0, 6)
            assert error.value.errno == errno.EIO
            volume.devices.set_access(KEY, "alice", "rw")
            guest.write(0, b"after!")
            assert guest.read(0, 6) == b"after!"

    def test_another_host_takes_over_from_one_that_lost_quorum(self, volume):
        old = volume.open_disk("alice", NODE)
        assert refused(volume, "bob")
        volume.devices.set_access(KEY, "alice", "ro")
        new = volume.open_disk("bob", NODE)
        new.write(0, b"by bob")
        assert refused(volume, "charlie")
        volume.devices.set_access(KEY, "alice", "rw")
        for attempt in (lambda: old.write(0, b"by alice"), lambda: old.read(0, 6)):
            with pytest.raises(OSError, match="Input/output error"):
                attempt()
        new.write(3, b"Bob")
        assert refused(volume, "alice")
        old.close()
        new.close()
        with volume.open_disk("alice", NODE) as again:
            assert again.read(0, 6) == b"by Bob"
            again.write(0, b"by alice")

    def test_only_known_words(self, volume):
        for devices in (volume.devices, NoDevices()):
            with pytest.raises(ValueError, match="maybe"):
                devices.set_access(KEY, "alice", "maybe")


class TestReaders:
    def test_a_reader_keeps_other_hosts_from_becoming_primary(self, volume):
        with volume.open_disk("alice", NODE, write=False), volume.open_disk("bob", NODE, write=False):
            with pytest.raises(DeviceBusy) as busy:
                volume.open_disk("charlie", NODE)
            assert busy.value.hosts == {"alice", "bob"}
            assert volume.devices.openers(KEY) == set()
        assert not refused(volume, "charlie")

    def test_its_own_host_can_write(self, volume):
        with volume.open_disk("alice", NODE, write=False):
            assert not refused(volume, "alice")


class TestTwoPrimaries:
    def test_the_permission_stays_while_both_write(self, volume):
        volume.devices.allow_writers(KEY, {"alice", "bob"})
        with volume.open_disk("alice", NODE) as source, volume.open_disk("bob", NODE) as target:
            for nodes in (None, {"bob", "charlie"}):
                with pytest.raises(DeviceBusy) as busy:
                    volume.devices.allow_writers(KEY, nodes)
                assert busy.value.hosts == {"alice", "bob"}
            assert volume.devices.openers(KEY) == {"alice", "bob"}
            volume.devices.allow_writers(KEY, {"alice", "bob", "charlie"})
            source.write(0, b"source")
            target.write(8, b"target")
            source.close()
            volume.devices.allow_writers(KEY, None)
            assert target.read(0, 14) == b"source\0\0target"
            assert refused(volume, "alice")

    @pytest.mark.parametrize("dead", ["alice", "bob"])
    def test_the_death_of_one_ends_it(self, volume, dead):
        survivor = {"alice": "bob", "bob": "alice"}[dead]
        volume.devices.allow_writers(KEY, {"alice", "bob"})
        guests = {name: volume.open_disk(name, NODE) for name in ("alice", "bob")}
        guests[dead].write(0, b"last words")
        volume.set_power(dead, False)
        assert volume.devices.openers(KEY) == {survivor}
        volume.devices.allow_writers(KEY, None)
        assert guests[survivor].read(0, 10) == b"last words"
        guests[survivor].close()
        assert not refused(volume, "charlie")

    def test_a_lost_peer_does_not_keep_the_permission(self, volume):
        volume.devices.allow_writers(KEY, {"alice", "bob"})
        with volume.open_disk("alice", NODE), volume.open_disk("bob", NODE):
            volume.devices.set_access(KEY, "bob", "none")
            volume.devices.allow_writers(KEY, None)


class TestDeadHosts:
    def test_a_device_that_was_removed_meanwhile_is_gone_when_the_host_returns(self, volume):
        guest = volume.open_disk("alice", NODE)
        volume.set_power("alice", False)
        assert not guest.alive
        volume.devices.hide(KEY, "alice")
        volume.set_power("alice", True)
        assert volume.run("alice", f"test -e {NODE}").returncode == 1
        volume.devices.delete(KEY)
        assert [volume.run(name, f"test -e {NODE}").returncode for name in volume.names] == [1, 1, 1]

    def test_a_device_that_stays_is_there_again(self, volume):
        with volume.open_disk("alice", NODE) as guest:
            guest.write(0, b"kept")
            volume.set_power("alice", False)
        volume.set_power("alice", True)
        with volume.open_disk("alice", NODE) as guest:
            assert guest.read(0, 4) == b"kept"

    def test_a_guest_whose_process_dies_is_no_primary(self, volume):
        guest = volume.open_disk("alice", NODE)
        os.kill(guest.pid, signal.SIGKILL)
        guest._process.wait()
        assert not refused(volume, "bob")


class TestInMemory:
    """The same rules in the devices that are none."""

    @pytest.fixture
    def devices(self) -> NoDevices:
        made = NoDevices()
        made.create(KEY, 64)
        for node in ("alice", "bob"):
            made.expose(KEY, node, [NODE])
        return made

    def test_access(self, devices):
        devices.open(KEY, "alice")
        with pytest.raises(DeviceBusy):
            devices.open(KEY, "bob")
        devices.set_access(KEY, "alice", "ro")
        assert devices.access(KEY, "alice") == "ro"
        for write in (True, False):
            with pytest.raises(OSError, match="can not be opened"):
                devices.open(KEY, "alice", write=write)
        devices.open(KEY, "bob")
        assert devices.openers(KEY) == {"alice", "bob"}

    def test_readers(self, devices):
        devices.open(KEY, "alice", write=False)
        with pytest.raises(DeviceBusy):
            devices.open(KEY, "bob")
        devices.open(KEY, "bob", write=False)

    def test_two_primaries(self, devices):
        devices.allow_writers(KEY, {"alice", "bob"})
        devices.open(KEY, "alice")
        devices.open(KEY, "bob")
        with pytest.raises(DeviceBusy):
            devices.allow_writers(KEY, None)
        devices.close(KEY, "alice")
        devices.allow_writers(KEY, None)
        with pytest.raises(DeviceBusy):
            devices.open(KEY, "alice")
