# SPDX-License-Identifier: Apache-2.0
"""Directories that are one for all hosts and the front-end, and links that each host follows in its own /dev."""

from __future__ import annotations

from pathlib import Path

import pytest

BY_RES = "/dev/drbd/by-res/img/0"
NODE = "/dev/drbd1000"


@pytest.fixture
def directory(hosts) -> Path:
    """Of a VM in the shared datastore, with a disk that alice and bob have."""
    hosts.devices.create("IMG/0", 1024)
    for name in ("alice", "bob"):
        hosts.devices.expose("IMG/0", name, [NODE, BY_RES])
    return hosts.layout.datastores / "105" / "7"


def test_a_file_is_seen_everywhere(hosts, directory):
    hosts.run("alice", f"mkdir -p {directory} && echo one | dd of={directory}/vm.xml status=none", check=True)
    assert hosts.run("charlie", f"cat {directory}/vm.xml").stdout == "one\n"
    assert (directory / "vm.xml").read_text() == "one\n"
    assert hosts.path("bob", directory / "vm.xml").samefile(directory / "vm.xml")
    (directory / "ds.xml").write_text("from the front-end")
    assert hosts.run("bob", f"ls {directory}").stdout.split() == ["ds.xml", "vm.xml"]
    hosts.run("bob", f"rm -rf {directory}", check=True)
    assert not directory.exists()


def test_other_directories_stay_the_hosts_own(hosts, directory):
    own = hosts.layout.datastores / "103" / "7"
    hosts.run("alice", f"mkdir -p {own} {directory}", check=True)
    assert hosts.run("bob", f"test -e {own}").returncode == 1
    assert not own.exists()
    assert hosts.path("alice", own).is_dir()


def test_each_host_follows_a_link_in_its_own_dev(hosts, directory):
    hosts.run("alice", f"mkdir -p {directory} && ln -s {BY_RES} {directory}/disk.0", check=True)
    assert {hosts.readlink(name, directory / "disk.0") for name in (*hosts.names, "frontend")} == {BY_RES}
    resolve = (
        f"readlink {directory}/disk.0; readlink -f {directory}/disk.0; test -b {directory}/disk.0; echo $?"
    )
    assert hosts.run("bob", resolve).stdout.split() == [BY_RES, NODE, "0"]
    assert hosts.run("charlie", f"test -b {directory}/disk.0; echo $?").stdout == "1\n"
    assert not (directory / "disk.0").exists()
    with hosts.open_disk("bob", f"{directory}/disk.0") as guest:
        guest.write(0, b"by bob")
    hosts.devices.hide("IMG/0", "bob")
    with pytest.raises(FileNotFoundError):
        hosts.open_disk("bob", f"{directory}/disk.0")
    assert hosts.run("alice", f"head -c 6 {directory}/disk.0").stdout == "by bob"
    assert hosts.run("bob", f"head -c 6 {directory}/disk.0").returncode == 1


def test_links_travel_with_a_directory(hosts, ssh, directory):
    """As tar carries them from one host to another."""
    own = hosts.layout.datastores / "103"
    hosts.run(
        "alice", f"mkdir -p {own}/7; ln -s {BY_RES} {own}/7/disk.0; truncate -s 1M {own}/7/disk.1", check=True
    )
    packed = ssh("alice", f"tar -C {own} --sparse -cf - 7").stdout
    assert len(packed) < 1 << 17
    assert ssh("bob", f"mkdir -p {own}; tar -C {own} --sparse -xf -", stdin=packed).returncode == 0
    assert hosts.readlink("bob", own / "7" / "disk.0") == BY_RES
    with hosts.open_disk("bob", f"{own}/7/disk.0") as guest:
        hosts.devices.hide("IMG/0", "alice")
        guest.write(0, b"still there")


def test_commands_of_host_scripts_find_the_hosts_own_files(hosts, ssh):
    own, shared = hosts.layout.datastores / "103", hosts.layout.datastores / "105"
    script = f"""
        set -e
        mkdir -p {own}/7 {own}/8
        file=$(mktemp -p {own}/7 XXXX)
        case $file in {own}/7/????) echo named ;; esac
        printf 'b\\na\\n' | dd of="$file" status=none
        sort {own}/7/* | cmp - <(printf 'a\\nb\\n')
        mv "$file" {own}/8/vm.xml
        find {own}/7 {own}/8 -mindepth 1 -name '*.xml'
        grep -c a {own}/8/vm.xml
        truncate -s 1M {own}/8/disk.1
        tar -C {own} --sparse -cf {shared}/packed.tar 8
        tar --extract --sparse --file={shared}/packed.tar --directory={own}/7
        cmp {own}/7/8/vm.xml {own}/8/vm.xml
        diff -r {own}/7/8 {own}/8
        stat -c '%n %s' {own}/7/8/disk.1
        cp -a {own}/8 {shared}/8
        du -s --apparent-size -B1M {shared}/8/disk.1
    """
    if hosts.isolation == "rewrite":
        script = script.replace(f"{own}/7/* |", '"$file" |')
    done = ssh.script("alice", script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().splitlines() == [
        "named",
        f"{own}/8/vm.xml",
        "1",
        f"{own}/7/8/disk.1 {1 << 20}",
        f"1\t{shared}/8/disk.1",
    ]
    assert not own.exists()
    assert (shared / "8" / "vm.xml").read_text() == "b\na\n"
