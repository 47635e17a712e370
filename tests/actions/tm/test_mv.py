# SPDX-License-Identifier: Apache-2.0
"""``tm/linstor/mv``: a VM that does not run goes to another host, to the front-end, and back."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from lab.cloud import FRONT_END, Cloud
from lab.controller.faults import UNAVAILABLE
from lab.one import LcmState, VirtualMachine
from tests.actions.support import by_res, links, locks_left, resources
from tests.actions.tm.journeys import (
    VOLATILE,
    arrived,
    clients,
    depart,
    directory,
    entries,
    impatient,
    live,
    migrating,
    moved,
    payload,
    places,
)
from tests.actions.tm.support import (
    bare_image,
    disk_bytes,
    link_of,
    new_image,
    on_nodes,
    run,
    write_disk,
)

MIB = 1 << 20
HOST_TO_HOST = (
    LcmState.PROLOG_MIGRATE,
    LcmState.PROLOG_MIGRATE_FAILURE,
    LcmState.PROLOG_MIGRATE_POWEROFF,
    LcmState.PROLOG_MIGRATE_POWEROFF_FAILURE,
    LcmState.PROLOG_MIGRATE_SUSPEND,
    LcmState.PROLOG_MIGRATE_SUSPEND_FAILURE,
    # Releases add states; this one is not known to anybody.
    99,
)
LOST = (LcmState.PROLOG_MIGRATE_UNKNOWN, LcmState.PROLOG_MIGRATE_UNKNOWN_FAILURE, LcmState.UNKNOWN)
TO_FRONT_END = (
    LcmState.EPILOG_STOP,
    LcmState.EPILOG_STOP_FAILURE,
    LcmState.EPILOG_UNDEPLOY,
    LcmState.EPILOG_UNDEPLOY_FAILURE,
)
FROM_FRONT_END = (
    LcmState.PROLOG_RESUME,
    LcmState.PROLOG_RESUME_FAILURE,
    LcmState.PROLOG_UNDEPLOY,
    LcmState.PROLOG_UNDEPLOY_FAILURE,
)


@pytest.fixture
def two_disks(cloud: Cloud) -> VirtualMachine:
    """A persistent and a volatile disk, on a host without storage."""
    vm = arrived(cloud, bare_image(cloud, "data", persistent=True), VOLATILE, host="dave")
    write_disk(cloud, vm, 0, b"of the guest")
    (directory(cloud, vm, "dave") / "vm.xml").write_text("<VM/>")
    return vm


def volumes(vm: VirtualMachine) -> tuple[str, str]:
    return "data", f"OpenNebula-Volatile-vm{vm.id}-disk1"


def assert_at(cloud: Cloud, vm: VirtualMachine, host: str, state: object) -> None:
    """The VM has both disks at that host and nowhere else."""
    for number, name in enumerate(volumes(vm)):
        assert link_of(cloud, vm, number) == by_res(name), state
        assert clients(cloud, name) == (["dave"] if host == "dave" else []), state
    assert disk_bytes(cloud, vm, 12) == b"of the guest", state


def test_in_every_state(cloud: Cloud, two_disks: VirtualMachine) -> None:
    vm = two_disks
    here = "dave"
    for state in HOST_TO_HOST:
        there = "alice" if here == "dave" else "dave"
        depart(cloud, vm, there, state)
        moved(cloud, cloud.one.lines.migration(vm))
        assert_at(cloud, vm, there, state)
        assert places(cloud, vm) == [there], state
        assert list(links(cloud)) == [there], state
        here = there
    for back, forth in zip(TO_FRONT_END, FROM_FRONT_END):
        vm.set_state(vm.state, back)
        moved(cloud, cloud.one.lines.to_front_end(vm))
        assert links(cloud) == {}, back
        for name in volumes(vm):
            assert clients(cloud, name) == [], back
            assert sorted(on_nodes(cloud, name).values()) == ["disk", "disk", "tie-breaker"], back
        assert places(cloud, vm) == [FRONT_END], back
        assert entries(directory(cloud, vm, FRONT_END)) == {"vm.xml": "<VM/>"}, back
        here = "alice" if here == "dave" else "dave"
        depart(cloud, vm, here, forth)
        moved(cloud, cloud.one.lines.from_front_end(vm))
        assert_at(cloud, vm, here, forth)
        assert places(cloud, vm) == [here], forth
    assert locks_left(cloud) == []


@pytest.mark.parametrize("state", LOST)
def test_a_lost_host_is_not_asked(cloud: Cloud, two_disks: VirtualMachine, state: LcmState) -> None:
    vm = two_disks
    depart(cloud, vm, "alice", state)
    before = len(cloud.hosts.calls)
    moved(cloud, cloud.one.lines.migration(vm))
    assert {call["host"] for call in cloud.hosts.calls[before:]} == {"alice"}
    assert_at(cloud, vm, "alice", state)
    assert "vm.xml" in entries(directory(cloud, vm, "dave"))


def test_a_state_that_nobody_knows_and_the_front_end(cloud: Cloud, two_disks: VirtualMachine) -> None:
    """To guess that the VM is being stopped would take its disks away."""
    vm = two_disks
    before = on_nodes(cloud, "data"), links(cloud)
    vm.set_state(vm.state, 99)  # type: ignore[arg-type]
    call = run(cloud, cloud.one.lines.to_front_end(vm)[0])
    assert call.rc == 1
    assert f"host {FRONT_END} is not a LINSTOR node" in call.user_error[:100]
    assert (on_nodes(cloud, "data"), links(cloud)) == before


def test_all_kinds_of_disks(cloud: Cloud) -> None:
    image = new_image(cloud, "os")
    data = bare_image(cloud, "data", persistent=True)
    (cloud.images_dir / "cd.iso").write_bytes(b"CD" * 600_000)
    cd = cloud.one.image_create("cd", path=cloud.images_dir / "cd.iso", type="CDROM")
    fixed = bare_image(cloud, "fixed", persistent=True, PERSISTENT_TYPE="IMMUTABLE")
    images = {name: sorted(on_nodes(cloud, name).values()) for name in resources(cloud)}
    vm = arrived(cloud, image, data, cd, fixed, VOLATILE, {"TYPE": "swap", "SIZE": 8}, host="dave")
    names = [link_of(cloud, vm, number).split("/")[4] for number in range(6)]  # type: ignore[union-attr]
    for number in (0, 1, 4, 5):
        write_disk(cloud, vm, 0, b"%d" % number, number)
    content = [disk_bytes(cloud, vm, MIB, number) for number in range(6)]

    def on_dave_only() -> bool:
        return [clients(cloud, name) for name in names] == [["dave"]] * 6

    def nowhere() -> bool:
        return [clients(cloud, name) for name in names] == [[]] * 6

    assert on_dave_only()
    depart(cloud, vm, "alice", LcmState.PROLOG_MIGRATE)
    moved(cloud, cloud.one.lines.migration(vm))
    # alice has a disk of each, or is where the volume is attached over the network.
    for name in names:
        assert "dave" not in on_nodes(cloud, name) or on_nodes(cloud, name)["dave"] == "tie-breaker"
    assert [disk_bytes(cloud, vm, MIB, number) for number in range(6)] == content
    vm.set_state(vm.state, LcmState.EPILOG_STOP)
    moved(cloud, cloud.one.lines.to_front_end(vm))
    assert nowhere()
    assert links(cloud) == {}
    depart(cloud, vm, "dave", LcmState.PROLOG_RESUME)
    moved(cloud, cloud.one.lines.from_front_end(vm))
    assert on_dave_only()
    assert [disk_bytes(cloud, vm, MIB, number) for number in range(6)] == content
    cloud.one.vm_recover(vm, "delete")
    assert {name: sorted(on_nodes(cloud, name).values()) for name in resources(cloud)} == images


# What an administrator can name hosts.
@pytest.mark.parametrize("name", ["dave.example.org", "hv-7"])
def test_a_host_with_another_name_than_its_node(cloud: Cloud, name: str) -> None:
    if name == "hv-7":
        cloud.cluster.node("dave").props["NodeUname"] = name
    hosts = cloud.root / "hosts"
    (hosts / name).symlink_to(hosts / "dave")
    cloud.one.inventory.add_host(name)
    vm = arrived(cloud, bare_image(cloud, "data", persistent=True), VOLATILE)
    depart(cloud, vm, name, LcmState.PROLOG_MIGRATE_POWEROFF)
    moved(cloud, cloud.one.lines.migration(vm))
    for number, volume in enumerate(volumes(vm)):
        assert on_nodes(cloud, volume)["dave"] == "diskless"
        assert links(cloud)["dave"][f"101/{vm.id}/disk.{number}"] == by_res(volume)
    depart(cloud, vm, "bob", LcmState.PROLOG_MIGRATE_POWEROFF)
    moved(cloud, cloud.one.lines.migration(vm))
    assert list(links(cloud)) == ["bob"]
    for volume in volumes(vm):
        assert on_nodes(cloud, volume).get("dave") != "diskless"
    depart(cloud, vm, name, LcmState.PROLOG_MIGRATE_POWEROFF)
    moved(cloud, cloud.one.lines.migration(vm))
    vm.set_state(vm.state, LcmState.EPILOG_UNDEPLOY)
    moved(cloud, cloud.one.lines.to_front_end(vm))
    assert links(cloud) == {}
    assert clients(cloud, "data") == []


def test_the_front_end_is_a_host_of_vms(cloud: Cloud, two_disks: VirtualMachine) -> None:
    """All in one: a stopped VM's directory is where it was, its volumes are attached nowhere."""
    vm = two_disks

    def as_front_end(lines: list[str]) -> list[str]:
        return [line.replace(f"{FRONT_END}:", "dave:") for line in lines]

    vm.set_state(vm.state, LcmState.EPILOG_STOP)
    moved(cloud, as_front_end(cloud.one.lines.to_front_end(vm)))
    assert entries(directory(cloud, vm, "dave"))["vm.xml"] == "<VM/>"
    assert places(cloud, vm) == ["dave"]
    for name in volumes(vm):
        assert clients(cloud, name) == []
    depart(cloud, vm, "dave", LcmState.PROLOG_RESUME)
    moved(cloud, as_front_end(cloud.one.lines.from_front_end(vm)))
    assert_at(cloud, vm, "dave", "resumed in place")
    vm.set_state(vm.state, LcmState.EPILOG_UNDEPLOY)
    moved(cloud, as_front_end(cloud.one.lines.to_front_end(vm)))
    depart(cloud, vm, "alice", LcmState.PROLOG_UNDEPLOY)
    moved(cloud, as_front_end(cloud.one.lines.from_front_end(vm)))
    assert_at(cloud, vm, "alice", "deployed elsewhere")
    assert places(cloud, vm) == ["alice"]


def test_the_same_place(cloud: Cloud, two_disks: VirtualMachine) -> None:
    vm = two_disks
    depart(cloud, vm, "dave", LcmState.PROLOG_MIGRATE_POWEROFF)
    before = entries(directory(cloud, vm, "dave"))
    moved(cloud, cloud.one.lines.migration(vm))
    assert_at(cloud, vm, "dave", "stayed")
    assert entries(directory(cloud, vm, "dave")) == before


def test_another_system_datastore_on_the_same_host(cloud: Cloud, two_disks: VirtualMachine) -> None:
    vm = two_disks
    depart(cloud, vm, "dave", LcmState.PROLOG_MIGRATE_POWEROFF, datastore=102)
    moved(cloud, cloud.one.lines.migration(vm))
    assert_at(cloud, vm, "dave", "elsewhere")
    assert not directory(cloud, vm, "dave", 101).exists()
    assert entries(directory(cloud, vm, "dave"))["vm.xml"] == "<VM/>"
    assert cloud.cluster.rd(volumes(vm)[1]).group == "one-three"


def test_a_directory_with_everything(cloud: Cloud, two_disks: VirtualMachine) -> None:
    """Names that a shell would trip over, hidden files, permissions; a hole costs nothing on the way."""
    vm = two_disks
    place = directory(cloud, vm, "dave")
    (place / ".hidden").write_text("hidden")
    (place / ".monitor").mkdir()
    (place / ".monitor" / "one 'two' \"three\" $HOME `id` *").write_text("quoted")
    (place / "-rf").write_text("option")
    (place / "new\nline").write_text("lines")
    (place / "disk.2").write_bytes(b"context\0iso")
    (place / "disk.1.snap").mkdir()
    (place / "disk.1.snap" / "0").symlink_to("../disk.1")
    (place / "link to nowhere").symlink_to("/nowhere")
    with open(place / "checkpoint", "wb") as file:
        file.truncate(64 * MIB)
        file.seek(40 * MIB)
        file.write(os.urandom(MIB))
    (place / "checkpoint").chmod(0o600)
    memory = (place / "checkpoint").read_bytes()
    wanted = {name: text for name, text in entries(place).items() if name not in ("disk.0", "disk.1")}
    volume_links = {number: link_of(cloud, vm, number) for number in (0, 1)}
    vm.set_state(vm.state, LcmState.EPILOG_STOP)
    *disks, whole = cloud.one.lines.to_front_end(vm)
    moved(cloud, disks)
    before = len(cloud.hosts.calls)
    moved(cloud, [whole])
    assert sum(call["stdin"] + call["stdout"] for call in cloud.hosts.calls[before:]) < 3 * MIB
    on_front_end = directory(cloud, vm, FRONT_END)
    assert entries(on_front_end) == wanted
    assert (on_front_end / "checkpoint").stat().st_blocks * 512 < 3 * MIB
    assert not place.exists()
    depart(cloud, vm, "alice", LcmState.PROLOG_RESUME)
    moved(cloud, cloud.one.lines.from_front_end(vm))
    there = directory(cloud, vm, "alice")
    assert entries(there) == {**wanted, **{f"disk.{n}": f"-> {text}" for n, text in volume_links.items()}}
    assert (there / "checkpoint").read_bytes() == memory
    assert (there / "checkpoint").stat().st_mode & 0o777 == 0o600
    assert places(cloud, vm) == ["alice"]


def test_a_directory_that_is_there_already(cloud: Cloud, two_disks: VirtualMachine) -> None:
    """What an interrupted run has left is written over; what a later step made there stays."""
    vm = two_disks
    depart(cloud, vm, "alice", LcmState.PROLOG_MIGRATE)
    there = directory(cloud, vm, "alice")
    there.mkdir(parents=True)
    (there / "vm.xml").write_text("<VM><ID>an old one, and longer</ID></VM>")
    (there / "ds.xml").write_text("<DATASTORE/>")
    moved(cloud, cloud.one.lines.migration(vm))
    found = entries(there)
    assert (found["vm.xml"], found["ds.xml"]) == ("<VM/>", "<DATASTORE/>")


def test_a_directory_that_is_not_there(cloud: Cloud, two_disks: VirtualMachine) -> None:
    vm = two_disks
    depart(cloud, vm, "alice", LcmState.PROLOG_MIGRATE)
    for path in directory(cloud, vm, "dave").iterdir():
        path.unlink()
    directory(cloud, vm, "dave").rmdir()
    moved(cloud, cloud.one.lines.migration(vm))
    assert_at(cloud, vm, "alice", "its directory was gone")


@pytest.fixture
def shared(cloud: Cloud) -> int:
    """A datastore of the driver whose directory is one for all hosts and the front-end."""
    cloud.one.add_datastore(
        105,
        "linstor on NFS",
        TYPE="SYSTEM_DS",
        LINSTOR_CONTROLLERS=cloud.controllers,
        LINSTOR_RESOURCE_GROUP="one",
        DISK_TYPE="BLOCK",
    )
    return 105


def test_a_directory_on_a_shared_file_system(cloud: Cloud, shared: int) -> None:
    """It is never removed, since what is removed is what the VM uses."""
    vm = arrived(cloud, bare_image(cloud, "data", persistent=True), VOLATILE, datastore=shared)
    place = directory(cloud, vm, "alice")
    (place / "checkpoint").write_bytes(b"memory")
    inode = (place / "checkpoint").stat().st_ino
    wanted = entries(place)
    depart(cloud, vm, "dave", LcmState.PROLOG_MIGRATE)
    moved(cloud, cloud.one.lines.migration(vm))
    assert entries(place) == wanted
    vm.set_state(vm.state, LcmState.EPILOG_STOP)
    moved(cloud, cloud.one.lines.to_front_end(vm))
    assert (place / "checkpoint").stat().st_ino == inode
    depart(cloud, vm, "bob", LcmState.PROLOG_RESUME)
    moved(cloud, cloud.one.lines.from_front_end(vm))
    assert entries(place) == wanted
    for hooks in (("PRE", "POST"), ("PRE", "FAIL")):
        migrating(cloud, vm, "dave" if vm.host == "bob" else "charlie")
        for hook in hooks:
            call = live(cloud, vm, hook)
            assert (call.rc, call.stderr) == (0, "")
            assert entries(place) == wanted, hook
    assert (place / "checkpoint").stat().st_ino == inode


@pytest.mark.parametrize("driver", ["linstor", "shared"])
def test_a_failed_premigrate_on_a_shared_file_system(cloud: Cloud, driver: str, shared: int) -> None:
    """The links there are those of the running VM, too."""
    impatient(cloud)
    cloud.one.inventory.datastores[shared].template["TM_MAD"] = driver
    first, second = (bare_image(cloud, name, persistent=True) for name in ("one", "two"))
    vm = arrived(cloud, first, second, datastore=shared)
    wanted = entries(directory(cloud, vm, "alice"))
    migrating(cloud, vm, "dave")
    cloud.controller.faults.add(UNAVAILABLE, path="/two/", times=99)
    call = live(cloud, vm, "PRE", *(["shared"] if driver == "shared" else []))
    assert call.rc == 1
    assert entries(directory(cloud, vm, "alice")) == wanted
    assert clients(cloud, "one") == []


AT, TO = "alice:/var/lib/one/datastores/101/{vm}", "bob:/var/lib/one/datastores/101/{vm}"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ("", "expected HOST:PATH HOST:PATH VM DATASTORE as arguments, got 0 arguments"),
        (f"{AT}/disk.0 {{vm}} 100", "got 3 arguments"),
        (f"{AT}/disk.0 {TO}/disk.0 {{vm}} 100 ssh", "got 5 arguments"),
        (f"alice {TO}/disk.0 {{vm}} 100", "'alice' is not of the form HOST:/PATH"),
        (f"-oProxyCommand=id:/tmp {TO}/disk.0 {{vm}} 100", "is not of the form HOST:/PATH"),
        (f"{AT}/disk.0 bob:relative/disk.0 {{vm}} 100", "is not of the form HOST:/PATH"),
        (f"{AT}/disk.0 {TO}/disk.0 x 100", "the VM's id is not a number: 'x'"),
        (f"{AT}/disk.0 {TO}/disk.0 {{vm}} -1", "the datastore's id is not a number: '-1'"),
        (f"{AT}/disk.0 {TO}/disk.0 77 100", "VM 77 does not exist in OpenNebula"),
        (f"{AT}/disk.0 {TO}/disk.0 {{vm}} 77", "datastore 77 does not exist in OpenNebula"),
        (f"{AT}/disk.0 {TO}/disk.7 {{vm}} 100", "VM {vm} has no disk 7"),
        (f"{AT} {TO}/disk.0 {{vm}} 100", "is not the path of a disk"),
        (f"{AT}/disk.0 {TO} {{vm}} 101", "is not the directory of VM {vm}"),
        (f"{AT} bob:/ {{vm}} 101", "bob:/ is not the directory of VM {vm}"),
        (f"alice:/var/lib/one/datastores/101 {TO} {{vm}} 101", "is not the directory of VM {vm}"),
        (f"alice:/var/lib/one/{{vm}} {TO} {{vm}} 101", "is not the directory of VM {vm}"),
        (f"{AT}/.. {TO} {{vm}} 101", "is not the directory of VM {vm}"),
    ],
)
def test_wrong_arguments(attached: tuple[Cloud, VirtualMachine], arguments: str, error: str) -> None:
    """Above all nothing is removed that is not the VM's directory."""
    cloud, vm = attached
    before = on_nodes(cloud, "data"), links(cloud), entries(directory(cloud, vm, "alice"))
    call = cloud.call("tm/mv", *arguments.format(vm=vm.id).split())
    assert (call.rc, call.stdout) == (1, "")
    assert error.format(vm=vm.id) in call.user_error
    assert "Traceback" not in call.stderr
    assert "internal error" not in call.stderr
    assert len(call.user_error.splitlines()) == 1
    assert (on_nodes(cloud, "data"), links(cloud), entries(directory(cloud, vm, "alice"))) == before


@pytest.mark.parametrize(
    ("arguments", "stdin", "error"),
    [
        ("", "vm", "expected SOURCE_HOST TARGET_HOST DIRECTORY VM DATASTORE [SYSTEM_TM] as arguments, got 0"),
        ("alice bob {datastores}/101/0 0 101 linstor more", "vm", "got 7 arguments"),
        ("alice bob one/101/0 {vm} 101", "vm", "is not of the form HOST:/PATH"),
        ("alice bob {datastores}/101/{vm} x 101", "vm", "the VM's id is not a number"),
        (
            "alice bob {datastores}/101/{vm} 77 101",
            "vm",
            "the XML on standard input is of VM {vm}, not of VM 77",
        ),
        ("alice bob {datastores}/101/{vm} {vm} 101", "", "the XML on standard input is missing"),
        ("alice bob {datastores}/101/{vm} {vm} 101", "!", "the XML on standard input is not base64"),
        ("alice bob {datastores}/101/{vm} {vm} 77", "vm", "datastore 77 does not exist in OpenNebula"),
        ("alice bob {datastores}/101/77 {vm} 101", "vm", "/101/77 is not the directory of VM {vm}"),
    ],
)
@pytest.mark.parametrize("action", ["premigrate", "postmigrate", "failmigrate"])
def test_wrong_arguments_of_a_live_migration(
    attached: tuple[Cloud, VirtualMachine], action: str, arguments: str, stdin: str, error: str
) -> None:
    cloud, vm = attached
    before = on_nodes(cloud, "data"), links(cloud), entries(directory(cloud, vm, "alice"))
    call = cloud.call(
        f"tm/{action}",
        *arguments.format(vm=vm.id, datastores=cloud.one.tree.datastores).split(),
        stdin=payload(cloud, vm) if stdin == "vm" else stdin,
    )
    assert (call.rc, call.stdout) == (1, "")
    assert error.format(vm=vm.id) in call.user_error
    assert "Traceback" not in call.stderr
    assert "internal error" not in call.stderr
    assert len(call.user_error.splitlines()) == 1
    assert (on_nodes(cloud, "data"), links(cloud), entries(directory(cloud, vm, "alice"))) == before


@pytest.fixture(scope="module")
def attached() -> Iterator[tuple[Cloud, VirtualMachine]]:
    """One cloud for all calls that change nothing."""
    with Cloud() as cloud:
        vm = arrived(cloud, bare_image(cloud, "data", persistent=True))
        (directory(cloud, vm, "alice") / "vm.xml").write_text("<VM/>")
        yield cloud, vm
