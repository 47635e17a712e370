# SPDX-License-Identifier: Apache-2.0
"""The calls that a real oned 7.4.0 made while VMs rested, moved, failed and ended: where the VM is after each."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.actions.support import content, device_size, links, resources
from tests.actions.tm.disks import points
from tests.actions.tm.support import bare_volume, on_nodes
from tests.e2e.lives import check_windows
from tests.e2e.replaying import OS, Oned, scenario

FRONT_END = "frontend"


def volumes(oned: Oned, vm: int) -> dict[str, str]:
    """Resources of all disks of a VM, by the paths of their links."""
    found = {path: text for texts in links(oned.cloud).values() for path, text in texts.items()}
    return {path: text.split("/")[4] for path, text in found.items() if path.split("/")[1] == str(vm)}


def places(oned: Oned, vm: int) -> list[tuple[str, int]]:
    """Hosts and datastores that have the VM's directory."""
    hosts = oned.cloud.hosts
    tops = {name: hosts.layout.host_datastores(name) for name in hosts.names}
    tops[FRONT_END] = oned.cloud.one.tree.datastores
    return [
        (name, int(path.parent.name)) for name, top in tops.items() for path in sorted(top.glob(f"*/{vm}"))
    ]


def disk_links(vm: int, datastore: int, disks: int) -> set[str]:
    return {f"{datastore}/{vm}/disk.{disk}" for disk in range(disks)}


def forget(oned: Oned, vm: int, host: str, datastore: int = 101) -> None:
    """Remove a directory with nothing but links and documents from a host."""
    directory = oned.cloud.hosts.layout.host_datastores(host) / str(datastore) / str(vm)
    assert {path.name for path in directory.iterdir() if not path.is_symlink()} <= {"disk.4", "disk.5"}
    shutil.rmtree(directory)


def check(oned: Oned, step: str, vm: int, host: str, datastore: int, disks: int) -> None:
    """The VM's directory is there alone, and so are its disks, unless that is the front-end."""
    assert places(oned, vm) == [(host, datastore)], step
    linked = {} if host == FRONT_END else {host: disk_links(vm, datastore, disks)}
    assert {name: set(texts) for name, texts in links(oned.cloud).items()} == linked, step
    used = set(volumes(oned, vm).values())
    for name in resources(oned.cloud):
        clients = {node for node, role in on_nodes(oned.cloud, name).items() if role == "diskless"}
        assert clients <= ({host} if name in used else set()), f"{step}: {name}: {clients}"
        if name in used:
            assert host in on_nodes(oned.cloud, name), f"{step}: {name}"
        check_windows(oned.cloud, name, step)


def check_gone(oned: Oned, step: str, vm: int) -> None:
    assert places(oned, vm) == [], step
    assert links(oned.cloud) == {}, step
    assert oned.of_vms() == set(), step
    for name in resources(oned.cloud):
        assert "diskless" not in on_nodes(oned.cloud, name).values(), f"{step}: {name}"
        check_windows(oned.cloud, name, step)


def test_vm_at_rest_and_on_the_move(stocked: Oned) -> None:
    stocked.play("b01-instantiate-deploy")
    before = volumes(stocked, 0)
    for step, host, datastore in (
        ("b04-poweroff-hard", "alice", 101),
        ("b05-undeploy", FRONT_END, 101),
        ("b06-deploy-after-undeploy-other-host", "bob", 101),
        ("b05b-undeploy-hard", FRONT_END, 101),
        ("b06b-deploy-after-undeploy-other-ds", "alice", 102),
        ("b07-stop", FRONT_END, 102),
        ("b08-resume-after-stop", "bob", 102),
        ("b10-resume-after-suspend", "bob", 102),
        ("b11-migrate-cold-save-restore", "charlie", 102),
        ("b12-migrate-live", "alice", 102),
        ("b13-migrate-poff", "bob", 102),
        ("b14-migrate-poff-hard", "charlie", 102),
        ("b15-migrate-save-other-ds", "alice", 102),
        ("b16-migrate-poff-other-ds-back", "bob", 101),
        ("b17-migrate-poweredoff-vm-other-host", "charlie", 101),
        ("b18-migrate-poweredoff-vm-other-ds", "alice", 102),
        ("b18b-migrate-poweredoff-vm-same-host-other-ds", "alice", 101),
        ("b18c-resume", "alice", 101),
        ("b19-migrate-live-vmm-fails", "alice", 101),
        ("b20-migrate-live-premigrate-fails", "alice", 101),
        ("b21-migrate-live-postmigrate-fails", "bob", 101),
        ("b23-suspend-migrate-other-host", "alice", 101),
        ("b24-suspended-migrate-other-ds", "bob", 102),
        ("b25-resume-and-back", "bob", 102),
    ):
        stocked.play(step)
        check(stocked, step, 0, host, datastore, 6)
    after = volumes(stocked, 0)
    assert sorted(after.values()) == sorted(before.values())
    assert content(stocked.cloud, after["102/0/disk.0"], len(OS)) == OS


def test_nobody_tells_who_has_the_image(stocked: Oned) -> None:
    """A VM that stays on its host keeps its persistent disk there."""
    stocked.play("b01-instantiate-deploy")
    assert on_nodes(stocked.cloud, "OpenNebula-Image-6")["alice"] == "diskless"
    del stocked.cloud.one.inventory.images[6]
    stocked.play("b18b-migrate-poweredoff-vm-same-host-other-ds")
    assert on_nodes(stocked.cloud, "OpenNebula-Image-6")["alice"] == "diskless"


@pytest.mark.parametrize(
    ("number", "state", "vm"), [("i04", "undeployed", 3), ("i05", "stopped", 4), ("i06", "suspended", 5)]
)
def test_ends_of_vms_at_rest(stocked: Oned, number: str, state: str, vm: int) -> None:
    name = f"{number}-terminate-{state}"
    stocked.play(name)
    check(stocked, name, vm, "alice" if state == "suspended" else FRONT_END, 101, 4)
    stocked.play(f"{name}:go")
    check_gone(stocked, name, vm)


def test_half_done_migrations(stocked: Oned) -> None:
    stocked.play("p02b-recover-retry-replays-all")
    stocked.play("p03-migrate-mv-third-disk-fails-then-retry")
    assert places(stocked, 28) == [("alice", 101), ("bob", 101)]
    stocked.play("p03b-recover-retry-replays-all")
    check(stocked, "p03b", 28, "bob", 101, 4)
    stocked.play("p04-migrate-mv-second-fails-then-recover-failure")
    stocked.play("p04b-recover-failure")
    used = volumes(stocked, 28)
    assert {path for path in links(stocked.cloud)["bob"] if path in used} == disk_links(28, 101, 4)
    stocked.play("p05-migrate-other-ds-mv-fails-then-recover-delete")
    # The host to which a migration that was given up had led: oned does not come back to it.
    forget(stocked, 28, "charlie")
    stocked.play("p05b-recover-delete")
    check_gone(stocked, "p05b", 28)


def test_recreation_during_a_migration(stocked: Oned) -> None:
    stocked.play("p07-migrate-mv-fails-then-recover-recreate")
    stocked.play("p07b-recover-recreate")
    check_gone(stocked, "p07b", 30)
    stocked.play("p07c-deploy-again")
    check(stocked, "p07c", 30, "charlie", 101, 4)
    stocked.play("p07d-terminate")
    check_gone(stocked, "p07d", 30)


def test_live_migration_that_was_given_up_while_it_ran(stocked: Oned) -> None:
    """It goes on nevertheless; oned has the VM removed where it takes it to be."""
    stocked.play("p08-live-migrate-hangs-recover")
    check(stocked, "p08", 31, "bob", 101, 4)
    stocked.play("p08-terminate")
    forget(stocked, 31, "bob")
    check_gone(stocked, "p08", 31)


def test_moves_that_fail_at_once(stocked: Oned) -> None:
    """Volumes that nobody owns, as addon-linstor leaves them."""
    for name in ("OpenNebula-Image-0-vm10-disk0", "OpenNebula-Volatile-vm10-disk3"):
        bare_volume(stocked.cloud, name, 1024)
    for step, host in (
        ("h09b-recover-retry-migrate", "bob"),
        ("h11b-recover-retry-undeploy", FRONT_END),
        ("h12b-recover-retry", "alice"),
    ):
        stocked.play(
            {"h09b": "h09-migrate-cold-mv-fails", "h11b": "h11-undeploy-mv-fails"}.get(
                step[:4], "h12-resume-mv-fails"
            )
        )
        stocked.play(step)
        check(stocked, step, 10, host, 101, 4)


@pytest.fixture
def v2(oned: Oned) -> Oned:
    """With the images and the datastores of that part of the captures."""
    cloud = oned.cloud
    for number in (59, 60, 61):
        bare_volume(cloud, f"OpenNebula-Image-{number}", 1024)
    for number, kind in ((106, "IMAGE_DS"), (107, "SYSTEM_DS"), (108, "SYSTEM_DS")):
        group = {"LINSTOR_CONTROLLERS": cloud.controllers, "LINSTOR_RESOURCE_GROUP": "one"}
        cloud.one.add_datastore(number, f"v2 {number}", TYPE=kind, DISK_TYPE="BLOCK", **group)
    return oned


def test_another_image_datastore(v2: Oned) -> None:
    v2.play("v2-native-01-deploy")
    check(v2, "deploy", 33, "alice", 107, 5)
    v2.play("v2-native-07-live-migrate")
    check(v2, "live", 33, "bob", 107, 5)


def test_live_change_of_the_datastore_is_refused(v2: Oned) -> None:
    """The guest would keep the old paths; DS_LIVE_MIGRATE is not for these datastores."""
    premigrate, *_ = scenario("v2-native-14-live-migrate-other-ds-same-host")
    call = v2.cloud.replay(premigrate)
    assert call.rc != 0
    assert "its system datastore cannot be changed" in call.stderr


def test_migration_to_another_datastore_and_end(v2: Oned) -> None:
    v2.play("v2-native-01-deploy")
    v2.play("v2-native-13-migrate-poff-other-ds-with-snapshot")
    check(v2, "other datastore", 33, "bob", 108, 5)
    # What the live migration would have done.
    v2.play("v2-native-15-terminate")
    forget(v2, 33, "bob", 108)
    check_gone(v2, "terminate", 33)


def test_ssh_system_datastore(v2: Oned) -> None:
    """Volatile disks are files there, which the hypervisor takes along when it migrates."""
    v2.play("v2-ssh-01-deploy")
    check(v2, "deploy", 35, "alice", 103, 3)
    copy = "OpenNebula-Image-59-vm35-disk0"
    sizes = [device_size(v2.cloud, copy)]
    for step in ("v2-ssh-02-live-snapshot", "v2-ssh-03-live-resize", "v2-ssh-04-live-saveas"):
        v2.play(step)
        check(v2, step, 35, "alice", 103, 3)
    sizes.append(device_size(v2.cloud, copy))
    assert [device_size(v2.cloud, f"OpenNebula-Image-{number}") for number in (67, 66)] == sizes
    v2.play("v2-ssh-07-live-migrate")
    check(v2, "live", 35, "bob", 103, 3)
    for disk in (3, 4):
        (v2.cloud.hosts.layout.host_datastores("bob") / "103" / "35" / f"disk.{disk}").touch()
    v2.play("v2-ssh-08-cold-migrate")
    check(v2, "cold", 35, "charlie", 103, 3)
    v2.play("v2-ssh-10-poweroff-snap-revert-delete")
    check(v2, "reverted", 35, "charlie", 103, 3)
    assert device_size(v2.cloud, copy) == sizes[0]
    assert points(v2.cloud, copy) == [0]
    v2.play("v2-ssh-11-resume")
    v2.play("v2-ssh-12-undeploy-deploy")
    check(v2, "deployed again", 35, "alice", 103, 3)
    v2.play("v2-ssh-15-terminate")
    check_gone(v2, "terminate", 35)


def test_shareable_image(oned: Oned) -> None:
    cloud, name = oned.cloud, "OpenNebula-Image-44"
    bare_volume(cloud, name, 64)
    for number in range(8, 45):
        image = cloud.one.image_create(f"image {number}", size=64, source=f"OpenNebula-Image-{number}")
    image.vms = [21, 22]
    first, second = scenario("l08-shareable-image")[1:]
    assert "LINSTOR_ALLOW_SHAREABLE" in cloud.replay(first).stderr
    assert links(cloud) == {}
    (cloud.one.tree.remotes / "etc/datastore/linstor/linstor.conf").write_text(
        "LINSTOR_ALLOW_SHAREABLE=YES\n"
    )
    for call in (first, second):
        made = cloud.replay(call)
        assert (made.rc, made.stderr) == (0, "")
    assert set(links(cloud)) == {"bob", "charlie"}
    paths = [os.path.normpath(cloud.one.tree.datastores / f"101/{vm}/disk.0") for vm in (21, 22)]
    with cloud.hosts.open_disk("bob", paths[0]) as one, cloud.hosts.open_disk("charlie", paths[1]) as other:
        one.write(0, b"written on bob")
        assert other.read(0, 14) == b"written on bob"
    for call in scenario("l08-terminate"):
        vm = int(call.argv[-2])
        made = cloud.replay(call)
        assert (made.rc, made.stderr) == (0, "")
        if call.action == "delete":
            image.vms.remove(vm)
            assert places(oned, vm) == []
    check_gone(oned, "terminate", 22)
