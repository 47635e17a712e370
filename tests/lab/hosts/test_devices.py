# SPDX-License-Identifier: Apache-2.0
"""Devices as programs on hosts meet them, in every kind of lab that the machine permits."""

from __future__ import annotations

import errno
import hashlib
import os
import stat

import pytest

from lab.devices_protocol import STALE
from lab.hosts import DeviceBusy, Hosts

MIB = 1024
BY_RES = "/dev/drbd/by-res/img/0"
NODE = "/dev/drbd1000"


def make_volume(hosts: Hosts, *nodes: str, key: str = "IMG/0", size_kib: int = 4 * MIB) -> str:
    hosts.devices.create(key, size_kib)
    for node in nodes:
        hosts.devices.expose(key, node, [NODE, BY_RES])
    return key


def test_exposed_device_reads_as_zeros_and_has_its_size(hosts):
    make_volume(hosts, "alice")
    done = hosts.run(
        "alice",
        f"blockdev --getsize64 {BY_RES}; cmp -n 4194304 {BY_RES} /dev/zero && echo zeros",
    )
    assert done.stdout.split()[0] == str(4 << 20)
    assert done.stdout.endswith("zeros\n")


@pytest.mark.parametrize("size_kib", [4 * MIB, 200 * MIB])
def test_a_volume_of_storage_that_is_not_cleared_shows_old_content(hosts, size_kib):
    hosts.devices.create("OLD/0", size_kib, stale=True)
    hosts.devices.expose("OLD/0", "alice", [NODE])
    with hosts.open_disk("alice", NODE) as disk:
        assert disk.size() == size_kib << 10
        for offset in (0, 1 << 20, size_kib // 2 << 10, (size_kib - 4) << 10):
            assert disk.read(offset, 4096) == STALE * 4096


def test_by_res_path_leads_to_the_device_node(hosts):
    make_volume(hosts, "alice")
    assert hosts.run("alice", f"readlink -f {BY_RES}").stdout == f"{NODE}\n"


def test_block_test_succeeds_for_devices_only(hosts):
    make_volume(hosts, "alice")
    script = f"""
        test -b {NODE} && echo node
        [ -b {BY_RES} ] && echo link
        touch ~/plain; [ -b ~/plain ] || echo plain
        [ -b /dev/drbd1001 ] || echo none
    """
    assert hosts.run("alice", script).stdout.split() == ["node", "link", "plain", "none"]


def test_device_is_seen_on_its_hosts_only(hosts):
    make_volume(hosts, "alice", "bob")
    assert [hosts.run(name, f"test -e {BY_RES}").returncode for name in hosts.names] == [0, 0, 1]
    hosts.devices.hide("IMG/0", "alice")
    assert [
        hosts.run(name, f"test -e {BY_RES}; echo $?; ls -A /dev/drbd").stdout.split()
        for name in hosts.names[:2]
    ] == [
        ["1"],
        ["0", "by-res"],
    ]


def test_expose_again_with_other_paths_replaces_the_old_ones(hosts):
    key = make_volume(hosts, "alice")
    hosts.devices.expose(key, "alice", ["/dev/drbd1007"])
    assert (
        hosts.run(
            "alice", f"test -e {NODE} || test -e {BY_RES} || test -e /dev/drbd1007 && echo moved"
        ).stdout
        == "moved\n"
    )


def test_storage_only_volume_appears_below_its_volume_group(hosts):
    hosts.devices.create("IMG/0", MIB)
    hosts.devices.expose("IMG/0", "alice", ["/dev/vg0/img_00000"])
    hosts.run("alice", "echo -n secret | dd of=/dev/vg0/img_00000 conv=notrunc status=none", check=True)
    assert hosts.run("alice", "head -c 6 /dev/vg0/img_00000").stdout == "secret"


def test_bytes_written_on_one_host_are_read_on_the_other(hosts, ssh):
    make_volume(hosts, "alice", "bob")
    data = os.urandom(300_001)
    script = f"set -e; dd of={BY_RES} bs=64k iflag=fullblock conv=fsync status=none\n".encode()
    assert ssh("alice", "bash", "-s", stdin=script + data).returncode == 0
    digest = hosts.run("bob", f"head -c 300001 {BY_RES} | sha256sum").stdout.split()[0]
    assert digest == hashlib.sha256(data).hexdigest()
    assert hosts.run("bob", f"blockdev --getsize64 {NODE}").stdout == f"{4 << 20}\n"


def test_dd_does_not_cut_and_does_not_grow_a_device(hosts):
    make_volume(hosts, "alice", size_kib=MIB)
    hosts.run("alice", f"printf tail | dd of={NODE} bs=1 seek=1048572 conv=notrunc status=none", check=True)
    hosts.run("alice", f"printf head | dd of={NODE} status=none", check=True)
    assert hosts.run("alice", f"head -c 4 {NODE}; tail -c 4 {NODE}").stdout == "headtail"
    beyond = hosts.run(
        "alice", f"head -c 1048577 /dev/zero | dd of={NODE} bs=64k iflag=fullblock status=none"
    )
    assert (beyond.returncode, "No space left on device" in beyond.stderr) == (1, True)
    assert hosts.run("alice", f"blockdev --getsize64 {NODE}").stdout == "1048576\n"


def test_copy_is_independent_and_sparse(hosts):
    key = make_volume(hosts, "alice", size_kib=64 * MIB)
    with hosts.open_disk("alice", BY_RES) as guest:
        guest.write(32 << 20, b"x" * 8192)
        hosts.devices.copy(key, "CLONE/0")
        guest.write(32 << 20, b"y" * 8192)
    hosts.devices.expose("CLONE/0", "bob", ["/dev/drbd1001"])
    with hosts.open_disk("bob", "/dev/drbd1001") as clone:
        assert clone.size() == 64 << 20
        assert clone.read((32 << 20) - 1, 8194) == b"\0" + b"x" * 8192 + b"\0"
        clone.write(0, b"only in the clone")
    with hosts.open_disk("alice", BY_RES) as guest:
        assert guest.read(0, 17) == bytes(17)
        assert guest.read(32 << 20, 8192) == b"y" * 8192
    assert hosts.devices.allocated_kib("CLONE/0") < MIB


def test_copy_and_allocation_include_what_a_command_has_just_written(hosts):
    key = make_volume(hosts, "alice")
    # No fsync: what a block device has taken is still on its way to the content.
    hosts.run("alice", f"dd if=/dev/urandom of={NODE} bs=1M count=2 status=none", check=True)
    digest = hosts.run("alice", f"cat {NODE} | sha256sum").stdout
    hosts.devices.copy(key, "CLONE/0")
    assert hosts.devices.allocated_kib(key) == 2 * MIB
    hosts.devices.expose("CLONE/0", "bob", ["/dev/drbd1001"])
    assert hosts.run("bob", "cat /dev/drbd1001 | sha256sum").stdout == digest


def test_create_and_copy_never_replace_a_volume(hosts):
    key = make_volume(hosts)
    with pytest.raises(FileExistsError):
        hosts.devices.create(key, MIB)
    with pytest.raises(FileExistsError):
        hosts.devices.copy(key, key)
    with pytest.raises(KeyError):
        hosts.devices.copy("NONE/0", "NEW/0")


def test_discarded_blocks_are_released_and_read_as_zeros(hosts):
    key = make_volume(hosts, "alice", size_kib=8 * MIB)
    hosts.run("alice", f"dd if=/dev/urandom of={NODE} bs=1M count=8 conv=fsync status=none", check=True)
    assert hosts.devices.allocated_kib(key) >= 8 * MIB
    hosts.run("alice", f"blkdiscard -f -o 1048576 -l 6291456 {NODE}", check=True)
    assert 2 * MIB <= hosts.devices.allocated_kib(key) < 3 * MIB
    assert (
        hosts.run("alice", f"cmp -n 6291456 -i 1048576:0 {NODE} /dev/zero && echo zeros").stdout == "zeros\n"
    )


def test_resize_is_seen_by_a_guest_and_keeps_the_bytes(hosts):
    key = make_volume(hosts, "alice")
    with hosts.open_disk("alice", BY_RES) as guest:
        guest.write((4 << 20) - 4, b"last")
        hosts.devices.resize(key, 8 * MIB)
        assert guest.size() == 8 << 20
        assert guest.read((4 << 20) - 4, 8) == b"last\0\0\0\0"


def test_file_system_can_be_made(hosts):
    make_volume(hosts, "alice")
    done = hosts.run("alice", f"mkfs.ext4 -q -L data {BY_RES} && blkid -p -o value -s LABEL {BY_RES}")
    assert done.stdout == "data\n", done.stderr


def test_open_device_is_neither_hidden_nor_deleted(hosts):
    key = make_volume(hosts, "alice", "bob")
    with hosts.open_disk("alice", BY_RES, write=False):
        assert hosts.devices.openers(key) == set()
        hosts.devices.hide(key, "bob")
        for attempt in (lambda: hosts.devices.hide(key, "alice"), lambda: hosts.devices.delete(key)):
            with pytest.raises(DeviceBusy) as busy:
                attempt()
            assert busy.value.hosts == {"alice"}
    hosts.devices.delete(key)
    assert hosts.run("alice", f"test -e {NODE}").returncode == 1
    assert list(hosts.layout.contents.iterdir()) == []


def test_a_command_that_writes_is_an_opener_until_it_ends(hosts):
    key = make_volume(hosts, "alice")
    script = f"""
        cat {NODE} > /dev/null 3< {NODE}
        exec 3<> "$(readlink -f {NODE})"
        echo open; read -r; exec 3>&-; echo closed; read -r
    """
    if hosts.isolation == "rewrite":
        script = script.replace(f'"$(readlink -f {NODE})"', str(hosts.path("alice", NODE))).replace(
            f"3< {NODE}", ""
        )
    session = hosts._session("alice")
    with session.popen(["bash", "-c", script], stdin=-1, stdout=-1) as shell:
        assert shell.stdout.readline() == b"open\n"
        assert hosts.devices.openers(key) == {"alice"}
        shell.stdin.write(b"\n")
        shell.stdin.flush()
        assert shell.stdout.readline() == b"closed\n"
        assert hosts.devices.openers(key) == set()
        shell.stdin.close()


class TestOnePrimary:
    """DRBD lets one host be Primary; the device of a Secondary cannot be opened while there is one."""

    def test_other_hosts_can_neither_write_nor_read(self, hosts, ssh):
        key = make_volume(hosts, "alice", "bob")
        with hosts.open_disk("alice", BY_RES) as guest:
            guest.write(0, b"mine")
            assert hosts.devices.openers(key) == {"alice"}
            for write in (True, False):
                with pytest.raises(OSError, match="No such device or address") as refused:
                    hosts.open_disk("bob", BY_RES, write=write)
                assert refused.value.errno == errno.ENXIO
            assert ssh.script("bob", f"printf yours | dd of={BY_RES} conv=notrunc").returncode == 1
            assert ssh.script("bob", f"dd if={NODE} count=1").returncode == 1
            assert ssh.script("bob", f"test -b {BY_RES}").returncode == 0
            assert guest.read(0, 5) == b"mine\0"
        with hosts.open_disk("bob", BY_RES) as guest:
            assert guest.read(0, 4) == b"mine"

    def test_device_exposed_later_is_locked_too(self, hosts):
        key = make_volume(hosts, "alice")
        with hosts.open_disk("alice", BY_RES):
            hosts.devices.expose(key, "bob", [NODE])
            with pytest.raises(OSError, match="No such device or address"):
                hosts.open_disk("bob", NODE)

    def test_host_that_runs_a_writing_command_keeps_others_from_starting_a_guest(self, hosts):
        make_volume(hosts, "alice", "bob")
        session = hosts._session("alice")
        command = (
            f"exec 3<> {hosts.path('alice', NODE) if hosts.isolation == 'rewrite' else NODE}; echo; read -r"
        )
        with session.popen(["bash", "-c", command], stdin=-1, stdout=-1) as shell:
            shell.stdout.readline()
            with pytest.raises(DeviceBusy) as busy:
                hosts.open_disk("bob", NODE)
            assert busy.value.hosts == {"alice"}
            shell.stdin.close()
        hosts.open_disk("bob", NODE).close()

    def test_two_guests_on_the_same_host_share(self, hosts):
        make_volume(hosts, "alice", "bob")
        first, second = hosts.open_disk("alice", NODE), hosts.open_disk("alice", BY_RES)
        first.close()
        with pytest.raises(OSError, match="No such device or address"):
            hosts.open_disk("bob", NODE)
        second.close()
        hosts.open_disk("bob", NODE).close()

    def test_two_primaries_only_for_the_hosts_that_are_allowed(self, hosts):
        key = make_volume(hosts, "alice", "bob", "charlie")
        with hosts.open_disk("alice", NODE) as source:
            hosts.devices.allow_writers(key, {"alice", "bob"})
            with hosts.open_disk("bob", NODE) as target:
                assert hosts.devices.openers(key) == {"alice", "bob"}
                source.write(0, b"last of the source")
                assert target.read(0, 18) == b"last of the source"
                with pytest.raises(OSError, match="No such device or address"):
                    hosts.open_disk("charlie", NODE)
                source.close()
                hosts.devices.allow_writers(key, None)
                with pytest.raises(OSError, match="No such device or address"):
                    hosts.open_disk("alice", NODE)
                target.write(0, b"first of the target")

    def test_power_off_ends_the_role(self, hosts):
        key = make_volume(hosts, "alice", "bob")
        guest = hosts.open_disk("alice", NODE)
        guest.write(0, b"written")
        hosts.set_power("alice", False)
        assert not guest.alive
        assert hosts.devices.openers(key) == set()
        with pytest.raises(BrokenPipeError):
            guest.read(0, 1)
        with hosts.open_disk("bob", NODE) as other:
            assert other.read(0, 7) == b"written"


def test_guest_meets_the_end_of_the_disk(hosts):
    make_volume(hosts, "alice", size_kib=MIB)
    with hosts.open_disk("alice", NODE) as guest:
        with pytest.raises(OSError, match="No space left on device"):
            guest.write((1 << 20) - 2, b"1234")
        with pytest.raises(OSError, match="Input/output error"):
            guest.read(1 << 20, 1)
        guest.write(10, b"abc")
        assert guest.sha256() == hashlib.sha256(bytes(10) + b"abc" + bytes((1 << 20) - 13)).hexdigest()


def test_guest_opens_a_disk_through_the_datastore_link(hosts, ssh):
    make_volume(hosts, "alice", "bob")
    directory = f"{hosts.layout.datastores}/101/5"
    # OpenNebula's own paths have a double slash.
    doubled = directory.replace("/var/", "/var//")
    assert ssh.script("alice", f"mkdir -p {doubled} && ln -s {BY_RES} {doubled}/disk.0").returncode == 0
    assert hosts.readlink("alice", f"{directory}/disk.0") == BY_RES
    with hosts.open_disk("alice", f"{doubled}/disk.0") as guest:
        guest.write(0, b"by link")
    assert (
        hosts.run("bob", f"head -c 7 {NODE}; test -e {directory}/disk.0 || echo ' no link'").stdout
        == "by link no link\n"
    )
    with pytest.raises(FileNotFoundError):
        hosts.open_disk("bob", f"{directory}/disk.0")


def test_unknown_host_and_path_outside_of_dev_are_refused(hosts):
    hosts.devices.create("IMG/0", MIB)
    with pytest.raises(ValueError, match="dora"):
        hosts.devices.expose("IMG/0", "dora", [NODE])
    with pytest.raises(ValueError, match="drbd1000"):
        hosts.devices.expose("IMG/0", "alice", ["/tmp/drbd1000"])
    hosts.devices.hide("IMG/0", "alice")


def test_block_mode_is_made_of_block_devices(hosts):
    make_volume(hosts, "alice")
    kind = stat.S_IFMT(os.stat(hosts.path("alice", NODE)).st_mode)
    assert kind == (stat.S_IFBLK if hosts.mode == "block" else stat.S_IFREG)
