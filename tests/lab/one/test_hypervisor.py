# SPDX-License-Identifier: Apache-2.0
"""Guests of the lab's cloud that move: what is open where, and what is in the VM's directory."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.cloud import Cloud
from lab.one import HostState, Image, LcmState, VirtualMachine, VmState

# A driver whose volumes are there already: the devices are made available by the tests.
LINK = """#!/bin/bash
host=${2%%:*} path=${2#*:} name=${1#*:}
ssh "$host" bash -s <<EOF
mkdir -p "$(dirname "$path")" && ln -sfn "/dev/drbd/by-res/$name/0" "$path"
EOF
"""
CONTEXT = """#!/bin/bash
place=${@: -3:1} path=${place#*:}
ssh "${place%%:*}" "mkdir -p '${path%/*}'; truncate -s 65536 '$path'"
"""
REMOVE = """#!/bin/bash
ssh "${1%%:*}" "rm -rf '${1#*:}'"
"""
# Links all disks of the VM on the other host.
PREMIGRATE = """#!/bin/bash
read -r document
base64 -d <<<"$document" >"${0%/*}/document"
ssh "$2" bash -s <<EOF
mkdir -p "$3"; touch "$3/disk.1"
[ -L "$3/disk.0" ] || ln -s /dev/drbd/by-res/data/0 "$3/disk.0"
EOF
"""
# The directory and what is in it, with the links as links; the disks have no files of their own.
MOVE = """#!/bin/bash
source=${1#*:} target=${2#*:}
case $source in */disk.*) exit 0 ;; esac
ssh "${1%%:*}" "tar -C '$source' -cf - ." | ssh "${2%%:*}" "mkdir -p '$target' && tar -C '$target' -xf -"
ssh "${1%%:*}" "rm -rf '$source'"
"""
DRIVERS = {
    "tm/ln": LINK,
    "tm/context": CONTEXT,
    "tm/mvds": REMOVE,
    "tm/delete": REMOVE,
    "tm/mv": MOVE,
    "tm/resize": "#!/bin/sh\n",
    "tm/premigrate": PREMIGRATE,
    "tm/postmigrate": "#!/bin/sh\n",
    "tm/failmigrate": "#!/bin/sh\n",
}
TEXT = b"written by the guest"


def made_drivers(root: Path) -> Path:
    for name, text in DRIVERS.items():
        script = root / "drivers" / name
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(text)
        script.chmod(0o755)
    return root / "drivers"


@pytest.fixture
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    root = tmp_path_factory.mktemp("cloud")
    with Cloud(root, drivers=made_drivers(root)) as made:
        request(made, "resource-groups/one/spawn", resource_definition_name="data", volume_sizes=[8192])
        for node in ("alice", "bob"):
            request(made, f"resource-definitions/data/resources/{node}/make-available", diskful=False)
        yield made


@pytest.fixture
def image(cloud: Cloud) -> Image:
    return cloud.one.image_create("data", size=8, source="data", persistent=True)


@pytest.fixture
def vm(cloud: Cloud, image: Image) -> VirtualMachine:
    return cloud.one.vm_instantiate([image], host="alice")


def request(cloud: Cloud, path: str, method: str = "POST", **body: object) -> None:
    made = urllib.request.Request(
        f"{cloud.controller.url}/v1/{path}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
        method=method,
    )
    urllib.request.urlopen(made).close()


def two_primaries(cloud: Cloud) -> None:
    path = "resource-definitions/data/resource-connections/alice/bob"
    request(cloud, path, "PUT", override_props={"DrbdOptions/Net/allow-two-primaries": "yes"})


def writers(cloud: Cloud) -> set[str]:
    """Hosts on which the volume is open for writing."""
    return cloud.hosts.devices.openers(cloud.cluster.rd("data").content_key(0))


def listing(cloud: Cloud, host: str, vm: VirtualMachine) -> list[str]:
    directory = cloud.one.lines.directory(vm).replace("//", "/")
    path = cloud.hosts.path(host, directory)
    return sorted(one.name for one in path.iterdir()) if path.exists() else []


def grow(cloud: Cloud, kib: int) -> None:
    request(cloud, "resource-definitions/data/volume-definitions/0", "PUT", size_kib=kib)


def test_a_guest_learns_that_its_device_has_grown(cloud: Cloud, vm: VirtualMachine) -> None:
    one = cloud.one
    one.vm_disk_resize(vm, 0, 16)
    assert ": RESIZEDISK: Failed to resize disk 0" in vm.error
    assert vm.disk(0)["SIZE"] == "8"
    grow(cloud, 16384)
    del vm.user_template["ERROR"]
    one.vm_disk_resize(vm, 0, 16)
    assert (vm.error, vm.disk(0)["SIZE"], vm.lcm_state) == ("", "16", LcmState.RUNNING)
    assert one.hypervisor.guest(vm.id, 0).read((16 << 20) - 1, 1) == bytes(1)


@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="needs qemu-img")
def test_a_guest_with_a_qcow2_image_on_its_device(cloud: Cloud, vm: VirtualMachine) -> None:
    one = cloud.one
    path = one.disk_path(vm, 0)
    one.vm_poweroff(vm)
    cloud.hosts.run("alice", f"qemu-img create -q -f qcow2 '{path}' 6M", check=True)
    vm.disk(0)["DRIVER"] = "qcow2"
    one.vm_resume(vm)
    # Larger than the device: qemu does not care before the guest has filled it.
    for size in (32, 9000):
        one.vm_disk_resize(vm, 0, size)
        assert (vm.error, vm.disk(0)["SIZE"]) == ("", str(size))
        told = cloud.hosts.run("alice", f"qemu-img info -U --output=json '{path}'", check=True).stdout
        assert (json.loads(told)["format"], json.loads(told)["virtual-size"]) == ("qcow2", size << 20)
    cloud.hosts.run("alice", f"qemu-img check -q -U '{path}'", check=True)
    vm.disk(0)["SIZE"] = "16"
    one.hypervisor.guest(vm.id, 0).write(0, bytes(4))
    one.vm_disk_resize(vm, 0, 32)
    assert "not in qcow2 format" in vm.error
    assert vm.disk(0)["SIZE"] == "16"


def test_live_migration_needs_two_primaries(cloud: Cloud, vm: VirtualMachine) -> None:
    guest = cloud.one.hypervisor.guest
    guest(vm.id, 0).write(0, TEXT)
    cloud.one.vm_migrate(vm, "bob", live=True)
    assert (vm.lcm_state, vm.host) == (LcmState.RUNNING, "alice")
    assert ": MIGRATE: Could not open" in vm.error
    assert cloud.one.calls[-1].name == "tm/linstor/failmigrate"
    assert guest(vm.id, 0).read(0, len(TEXT)) == TEXT
    guest(vm.id, 0).write(0, b"W")
    two_primaries(cloud)
    cloud.one.vm_migrate(vm, "bob", live=True)
    assert (vm.lcm_state, vm.host) == (LcmState.RUNNING, "bob")
    assert guest(vm.id, 0).read(0, len(TEXT)) == b"W" + TEXT[1:]
    guest(vm.id, 0).write(0, b"V")
    assert writers(cloud) == {"bob"}
    document = (cloud.root / "drivers" / "tm" / "document").read_text()
    assert document.count("<HISTORY>") == 1
    assert "<HOSTNAME>bob</HOSTNAME>" in document


def test_a_migration_that_fails_when_both_have_the_disks(cloud: Cloud, vm: VirtualMachine) -> None:
    two_primaries(cloud)
    cloud.one.hypervisor.fail_next("migrate")
    cloud.one.vm_migrate(vm, "bob", live=True)
    assert (vm.lcm_state, vm.host) == (LcmState.RUNNING, "alice")
    assert writers(cloud) == {"alice"}
    cloud.one.hypervisor.guest(vm.id, 0).write(0, TEXT)


def test_directory_of_a_datastore_that_is_not_shared(cloud: Cloud, image: Image) -> None:
    """kvm's migrate brings documents, files and links, and takes all away when it fails."""
    one = cloud.one
    vm = one.vm_instantiate([image, {"TYPE": "fs", "SIZE": 2, "FORMAT": "raw"}], host="alice", datastore=103)
    assert vm.lcm_state is LcmState.RUNNING, vm.error
    one.hypervisor.guest(vm.id, 1).write(1_000_000, TEXT)
    # OpenNebula's premigrate calls ours, which has the directory of another datastore to make.
    (cloud.root / "drivers" / "tm" / "premigrate").write_text("#!/bin/sh\n")
    files = ["disk.0", "disk.1", "disk.2", "ds.xml", "vm.xml"]
    assert listing(cloud, "alice", vm) == files
    one.vm_migrate(vm, "bob", live=True)
    assert (vm.lcm_state, vm.host) == (LcmState.RUNNING, "alice")
    assert listing(cloud, "bob", vm) == []
    two_primaries(cloud)
    one.vm_migrate(vm, "bob", live=True)
    assert (vm.host, vm.lcm_state) == ("bob", LcmState.RUNNING), vm.error
    assert listing(cloud, "bob", vm) == files
    link = one.disk_path(vm, 0).replace("//", "/")
    assert cloud.hosts.readlink("bob", link) == "/dev/drbd/by-res/data/0"
    assert one.hypervisor.guest(vm.id, 1).read(1_000_000, len(TEXT)) == TEXT
    assert listing(cloud, "alice", vm) == []


def test_the_oldest_release_takes_no_files_along(tmp_path: Path) -> None:
    drivers = made_drivers(tmp_path)
    with Cloud(tmp_path, drivers=drivers, one_version="5.12.0") as cloud:
        (drivers / "tm" / "premigrate").write_text("#!/bin/sh\n")
        vm = cloud.one.vm_instantiate([], host="alice", datastore=103)
        assert listing(cloud, "alice", vm) == ["disk.0"]
        cloud.one.vm_migrate(vm, "bob", live=True)
        assert ": MIGRATE: Could not open" in vm.error
        assert listing(cloud, "bob", vm) == []


def test_shared_directory(cloud: Cloud, image: Image) -> None:
    """Where all hosts share the directory nothing is brought or taken away."""
    one = cloud.one
    vm = one.vm_instantiate([image], host="alice", datastore=105)
    (cloud.root / "drivers" / "tm" / "premigrate").write_text("#!/bin/sh\n")
    one.vm_migrate(vm, "bob", live=True)
    assert vm.host == "alice"
    two_primaries(cloud)
    one.vm_migrate(vm, "bob", live=True)
    assert (vm.host, vm.lcm_state) == ("bob", LcmState.RUNNING), vm.error
    for host in ("alice", "bob", "frontend"):
        assert listing(cloud, host, vm) == ["disk.0", "disk.1", "ds.xml", "vm.xml"]


def test_memory_has_to_come_along(cloud: Cloud, vm: VirtualMachine) -> None:
    one = cloud.one
    one.hypervisor.guest(vm.id, 0).write(0, TEXT)
    one.vm_migrate(vm, "bob")
    assert (vm.lcm_state, vm.host, vm.error) == (LcmState.RUNNING, "bob", "")
    assert one.hypervisor.guest(vm.id, 0).read(0, len(TEXT)) == TEXT
    assert "checkpoint" not in listing(cloud, "bob", vm)
    # A driver that leaves the directory behind.
    (cloud.root / "drivers" / "tm" / "mv").write_text(
        '#!/bin/sh\nssh "${1%%:*}" "rm -f \'${1#*:}/checkpoint\'"'
    )
    one.vm_migrate(vm, "alice")
    assert vm.lcm_state is LcmState.BOOT_MIGRATE_FAILURE
    assert ": RESTORE: on alice: Could not restore from " in vm.error


def test_a_lost_host(cloud: Cloud, vm: VirtualMachine) -> None:
    """As long as the guest lives there, DRBD keeps the disk from others; with the power it is gone."""
    one = cloud.one
    one.hypervisor.guest(vm.id, 0).write(0, TEXT)
    for name in ("mv", "context"):
        script = cloud.root / "drivers" / "tm" / name
        link = "ln -sfn /dev/drbd/by-res/data/0" if name == "mv" else "truncate -s 65536"
        place = "$2" if name == "mv" else "${@: -3:1}"
        script.write_text(
            f'#!/bin/bash\nplace={place} path=${{place#*:}}\ncase $path in *.[01]) ssh "${{place%%:*}}" '
            f"\"mkdir -p '${{path%/*}}'; {link} '$path'\" ;; esac\n"
        )
    cloud.hosts.set_link("alice", "down")
    one.host_error("alice")
    one.vm_migrate(vm, "bob")
    assert vm.lcm_state is LcmState.BOOT_FAILURE
    assert ": DEPLOY: Could not open" in vm.error
    cloud.hosts.set_power("alice", False)
    one.vm_recover(vm, "retry")
    assert (vm.lcm_state, vm.host) == (LcmState.RUNNING, "bob"), vm.error
    assert one.hypervisor.guest(vm.id, 0).read(0, len(TEXT)) == TEXT
    cloud.hosts.set_power("alice", True)
    one.host_state("alice", HostState.MONITORED)
    assert (vm.lcm_state, vm.state) == (LcmState.RUNNING, VmState.ACTIVE)
