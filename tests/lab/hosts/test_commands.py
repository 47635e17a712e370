# SPDX-License-Identifier: Apache-2.0
"""Commands of host scripts on devices and in directories for temporary files, in every kind of lab."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path

import pytest

from lab.hosts import Hosts, tools
from lab.hosts.layout import CHECKOUT, PROGRAMS
from lab.images import flat, write_qcow2

BY_RES = "/dev/drbd/by-res/img/0"
NODE = "/dev/drbd1000"
MIB = 1 << 20
DEVICE = 4 * MIB
SIZE = 2 * MIB
EXTENTS = {4096: b"a" * 70_000, SIZE - 512: b"b" * 512}


@pytest.fixture(params=["installed", "stand-in"])
def lab(request: pytest.FixtureRequest, hosts: Hosts) -> Hosts:
    """With a device of 4 MiB on alice that shows old content, and either qemu-img on the hosts."""
    if request.param == "stand-in":
        text = tools.QEMU_IMG.format(python=sys.executable, programs=str(PROGRAMS), checkout=str(CHECKOUT))
        (hosts.layout.host_bin / "qemu-img").write_text(text)
        (hosts.layout.host_bin / "qemu-img").chmod(0o755)
    elif shutil.which("qemu-img") is None:
        pytest.skip("qemu-img is not installed")
    hosts.devices.create("IMG/0", DEVICE // 1024, stale=True)
    hosts.devices.expose("IMG/0", "alice", [NODE, BY_RES])
    return hosts


@pytest.fixture
def image(lab: Hosts, tmp_path: Path) -> Hosts:
    """With a qcow2 image on the device."""
    write_qcow2(tmp_path / "a.qcow2", SIZE, EXTENTS)
    data = (tmp_path / "a.qcow2").read_bytes()
    lab.run("alice", f"dd of={BY_RES} conv=notrunc status=none", stdin=data, check=True)
    return lab


def run(hosts: Hosts, script: str) -> list[str]:
    done = hosts.run("alice", f"set -e -o pipefail; {script}")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def info(hosts: Hosts, path: str, *options: str) -> dict[str, object]:
    return json.loads("\n".join(run(hosts, " ".join(("qemu-img info --output=json", *options, path)))))


def device_size(hosts: Hosts) -> int:
    return int(run(hosts, f"blockdev --getsize64 {BY_RES}")[0])


def test_an_image_on_a_device_is_told_of_by_every_path(image):
    place = f"{image.layout.datastores}/101/7"
    run(image, f"mkdir -p {place}; ln -s {BY_RES} {place}/disk.0")
    for path in (NODE, BY_RES, f"{place}/disk.0"):
        told = info(image, path, "-f qcow2")
        assert (told["format"], told["virtual-size"], told["filename"]) == ("qcow2", SIZE, path)
    assert info(image, BY_RES, "-f raw")["virtual-size"] == DEVICE
    assert run(image, f"qemu-img check -q -f qcow2 {BY_RES}; echo $?") == ["0"]


def test_an_image_on_a_device_grows(image):
    assert run(image, f"qemu-img resize -f qcow2 {BY_RES} {600 * MIB}") == ["Image resized."]
    assert run(image, f"qemu-img resize -q -f qcow2 {BY_RES} {700 * MIB}") == []
    assert info(image, BY_RES, "-f qcow2")["virtual-size"] == 700 * MIB
    assert device_size(image) == DEVICE
    place = f"{image.layout.datastores}/out"
    found = run(
        image,
        f"""
        qemu-img convert -f qcow2 -O raw {BY_RES} {place}
        head -c {SIZE} {place} | md5sum
        tail -c {MIB} {place} | cmp -n {MIB} - /dev/zero
        stat -c %s {place}
        """,
    )
    assert found == [f"{hashlib.md5(flat(SIZE, EXTENTS)).hexdigest()}  -", str(700 * MIB)]


def test_an_image_that_a_guest_has_open(image):
    with image.open_disk("alice", BY_RES) as guest:
        before = guest.sha256()
        for words, lock in (
            (f"resize -f qcow2 {BY_RES} {3 * MIB}", '"write"'),
            (f"convert -n -f raw -O raw ~/new {NODE}", '"write"'),
            (f"info -f qcow2 --output=json {BY_RES}", 'shared "write"'),
            (f"convert -f qcow2 -O raw {BY_RES} ~/copy", 'shared "write"'),
        ):
            done = image.run("alice", f"truncate -s 1M ~/new; qemu-img {words}")
            assert (done.returncode, f"Failed to get {lock} lock" in done.stderr) == (1, True), words
        assert info(image, BY_RES, "-U", "-f qcow2")["virtual-size"] == SIZE
        assert guest.sha256() == before
        guest.grow_qcow2(600 * MIB)
        assert info(image, BY_RES, "-U", "-f qcow2")["virtual-size"] == 600 * MIB
    assert run(image, f"qemu-img check -q -f qcow2 {BY_RES}; echo $?") == ["0"]
    run(image, f"qemu-img resize -q -f qcow2 {BY_RES} {700 * MIB}")


def test_a_guest_finds_no_image_to_grow(lab):
    with lab.open_disk("alice", BY_RES) as guest, pytest.raises(ValueError, match="not in qcow2 format"):
        guest.grow_qcow2(DEVICE)


def test_no_image_shrinks(image):
    assert image.run("alice", f"qemu-img resize -f qcow2 {BY_RES} {MIB}").returncode == 1
    assert info(image, BY_RES, "-f qcow2")["virtual-size"] == SIZE


def test_a_device_does_not_change_its_size(lab, tmp_path):
    done = lab.run("alice", f"qemu-img resize -f raw {BY_RES} {DEVICE + MIB}")
    assert (done.returncode, device_size(lab)) == (1, DEVICE)
    write_qcow2(tmp_path / "large.qcow2", DEVICE + MIB, {DEVICE: b"x" * 512})
    place = lab.path("alice", lab.layout.datastores)
    shutil.copy(tmp_path / "large.qcow2", place)
    source = f"{lab.layout.datastores}/large.qcow2"
    for option in ("", "-n"):
        done = lab.run("alice", f"qemu-img convert {option} -f qcow2 -O raw {source} {BY_RES}")
        assert (done.returncode, device_size(lab)) == (1, DEVICE)


def test_a_smaller_image_on_a_device_leaves_its_size(lab):
    place = f"{lab.layout.datastores}/small"
    run(
        lab,
        f"truncate -s 1M ~/small; printf head | dd of=~/small conv=notrunc status=none; mv ~/small {place}",
    )
    run(lab, f"qemu-img convert -f raw -O raw {place} {BY_RES}")
    assert device_size(lab) == DEVICE
    assert run(lab, f"head -c 4 {BY_RES}") == ["head"]


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_a_device_becomes_a_file(image, kind):
    """As an export makes it: in a directory of its own, which is gone when something fails."""
    staging = f"{image.layout.datastores}/staging"
    script = f"""
        mkdir -p {staging}
        directory=$(mktemp -d {staging}/export.XXXXXXXX)
        trap 'rm -rf "$directory"' EXIT
        umask 0077
        qemu-img convert -f {{0}} -O {kind} {BY_RES} "$directory/image"
        echo "$directory"
        md5sum "$directory/image" | cut -d ' ' -f 1
        md5sum "$directory/image" | cut -d ' ' -f 3
        qemu-img info -f {kind} --output=json "$directory/image" | sed -n 's/^    "virtual-size": \\([0-9]*\\),*$/\\1/p'
        qemu-img convert -f {kind} -O raw "$directory/image" "$directory/raw"
        head -c {SIZE} "$directory/raw" | md5sum
        trap - EXIT
    """
    directory, digest, name, size, content = run(image, script.replace("{0}", "qcow2"))
    assert directory.startswith(f"{staging}/export.")
    assert name == f"{directory}/image"
    assert (int(size), content.split()[0]) == (SIZE, hashlib.md5(flat(SIZE, EXTENTS)).hexdigest())
    exported = image.path("alice", name)
    assert digest == hashlib.md5(exported.read_bytes()).hexdigest()
    assert exported.stat().st_mode & 0o777 == 0o600
    assert run(image, f"cat '{name}' | md5sum")[0].split()[0] == digest
    assert image.run("alice", "set -e; " + script.replace("{0}", "vmdk")).returncode != 0
    assert [path.name for path in image.path("alice", staging).iterdir()] == [Path(directory).name]


@pytest.mark.parametrize("staging", ["datastores", "home", "/var/tmp/lab-staging"])
def test_what_is_old_is_removed(hosts, staging):
    place = {
        "datastores": f"{hosts.layout.datastores}/staging",
        "home": f"{hosts.layout.home('alice')}/staging",
    }.get(staging, staging)
    script = f"""
        mkdir -p {place}/export.dir/sub
        touch {place}/export.new {place}/other.old
        touch -d '2 hours ago' {place}/export.old {place}/export.dir {place}/other.old
        find {place} -maxdepth 1 -type f -name 'export.*' -mmin +60 -delete
        find {place} -mindepth 1 -maxdepth 1 -type d -name 'export.*' -mmin +60 -exec rm -rf {{}} +
        find {place} -mindepth 1
        rm -r {place}
    """
    assert sorted(run(hosts, script)) == [f"{place}/export.new", f"{place}/other.old"]


def test_digests_of_a_device(hosts):
    hosts.devices.create("IMG/0", 64)
    hosts.devices.expose("IMG/0", "alice", [NODE, BY_RES])
    zeros = hashlib.md5(bytes(65536)).hexdigest()
    assert run(hosts, f"md5sum {BY_RES}; sha256sum {NODE}") == [
        f"{zeros}  {BY_RES}",
        f"{hashlib.sha256(bytes(65536)).hexdigest()}  {NODE}",
    ]
