# SPDX-License-Identifier: Apache-2.0
"""The calls that a real oned 7.4.0 made, and the state of the cloud after each scenario of them."""

from __future__ import annotations

from tests.actions.support import (
    MIB,
    by_res,
    content,
    device_size,
    is_complete,
    links,
    properties,
    resources,
)
from tests.actions.tm.support import on_nodes
from tests.e2e.replaying import IMAGES, OS, Oned


def test_images(oned: Oned) -> None:
    cloud = oned.cloud
    for call in oned.play("00-setup"):
        assert "TOTAL_MB=" in call.stdout
    oned.play("a01-image-register-path")
    assert is_complete(cloud, "OpenNebula-Image-0")
    assert content(cloud, "OpenNebula-Image-0", 700 * MIB + len(OS))[700 * MIB :] == OS
    oned.play("a03-datablock-empty-raw")
    assert device_size(cloud, "OpenNebula-Image-2") >= 512 * MIB
    oned.play("a04-datablock-fs-ext4")
    assert content(cloud, "OpenNebula-Image-3", 2048)[1080:1082] == b"\x53\xef"
    oned.play("a05-image-register-cdrom")
    oned.play("a06-image-clone")
    assert content(cloud, "OpenNebula-Image-5", len(OS)) == OS
    assert properties(cloud, "OpenNebula-Image-5")["image"] == "5"
    oned.play("a08-datablock-persistent")
    oned.play("a09-image-delete")
    assert "OpenNebula-Image-5" not in resources(cloud)
    # The user deletes it again after oned was told that the first time had failed.
    oned.play("a12-image-rm-fails")
    oned.play("a12b-image-rm-force-delete")
    assert resources(cloud) == IMAGES - {"OpenNebula-Image-1", "OpenNebula-Image-6"}
    for name in resources(cloud):
        assert is_complete(cloud, name)


def test_deployment_and_hot_plugging(stocked: Oned) -> None:
    cloud = stocked.cloud
    stocked.play("b01-instantiate-deploy")
    own = {"0-disk0", "0-disk3", "0-disk4", "0-disk5"}
    assert stocked.of_vms() == own
    assert stocked.linked("alice", 0) == {f"disk.{number}" for number in range(6)}
    texts = links(cloud)["alice"]
    assert texts["101/0/disk.1"] == by_res("OpenNebula-Image-6")
    assert texts["101/0/disk.2"] == by_res("OpenNebula-Image-4")
    assert b"VMID='0'" in stocked.iso("alice", 101, 0, 6)
    clone = "OpenNebula-Image-0-vm0-disk0"
    assert device_size(cloud, clone) >= 2048 * MIB
    assert content(cloud, clone, len(OS)) == OS
    assert content(cloud, "OpenNebula-Volatile-vm0-disk5", 4096)[4086:] == b"SWAPSPACE2"
    stocked.play("b03-resume-from-poweroff")

    before = on_nodes(cloud, "OpenNebula-Image-7"), on_nodes(cloud, "OpenNebula-Image-4")
    for attach, detach, volume in (
        ("c01-attach-nonpersistent-running", "c02-detach-nonpersistent-running", {"0-disk7"}),
        ("c03-attach-persistent-running", "c04-detach-persistent-running", set()),
        ("c07-attach-swap-running", "c07b-detach-swap", {"0-disk7"}),
        ("c08-attach-nonpersistent-with-size-running", "c08b-detach", {"0-disk7"}),
        ("c13-attach-cdrom-running", "c13b-detach-cdrom-running", set()),
        ("c14-attach-nonpersistent-poweroff", "c15-detach-nonpersistent-poweroff", {"0-disk8"}),
    ):
        stocked.play(attach)
        assert stocked.of_vms() == own | volume
        assert len(stocked.linked("bob", 0)) == 1
        if attach.startswith("c08"):
            assert device_size(cloud, "OpenNebula-Image-1-vm0-disk7") >= 3000 * MIB
        stocked.play(detach)
        assert stocked.of_vms() == own
        assert stocked.linked("bob", 0) == set()
    assert (on_nodes(cloud, "OpenNebula-Image-7"), on_nodes(cloud, "OpenNebula-Image-4")) == before


def test_attach_that_oned_takes_back(stocked: Oned) -> None:
    """The hypervisor refused a disk; a disk that came although oned took it for failed is made anew."""
    stocked.play("c09-attach-vmm-fails-rollback")
    assert stocked.of_vms() == set()
    stocked.play("c10-attach-tm-clone-fails")
    stocked.play("c11-detach-vmm-fails")
    assert stocked.of_vms() == {"0-disk7"}
    stocked.play("c12-detach-tm-delete-fails")
    assert stocked.of_vms() == set()
    assert links(stocked.cloud) == {}


def test_termination(stocked: Oned) -> None:
    stocked.play("i02-terminate-hard-running")
    assert stocked.of_vms() == {"1-disk0", "1-disk3"}
    assert stocked.linked("alice", 1) == {"disk.0", "disk.1", "disk.2", "disk.3"}
    stocked.play("i02-terminate-hard-running:go")
    assert stocked.of_vms() == set()
    assert not (stocked.cloud.hosts.layout.host_datastores("alice") / "101" / "1").exists()


def test_recovery(stocked: Oned) -> None:
    stocked.play("h01-prolog-clone-fails")
    stocked.play("h02-recover-retry-prolog")
    assert stocked.of_vms() == {"8-disk0", "8-disk3"}
    # Deletes everything on the first host, then deploys on another one and in another datastore.
    stocked.play("h03-recover-delete-recreate-running")
    assert stocked.of_vms() == {"8-disk0", "8-disk3"}
    assert properties(stocked.cloud, "OpenNebula-Volatile-vm8-disk3")["datastore"] == "102"
    assert stocked.linked("alice", 8) == set()
    assert len(stocked.linked("charlie", 8)) == 4
    stocked.play("h05-prolog-ln-fails-then-recreate")
    assert stocked.of_vms() == set()
    stocked.play("h05-prolog-ln-fails-then-recreate:go")
    stocked.play("h05b-recreate-after-prolog-failure")
    assert stocked.of_vms() == set()
    stocked.play("h06-prolog-fails-then-recover-delete")
    stocked.play("h06b-recover-delete-after-prolog-failure")
    # A VM of which this cloud never heard.
    stocked.play("h13-recover-delete-running")
    assert stocked.of_vms() == set()
    assert links(stocked.cloud) == {}


def test_retry_makes_the_whole_prolog_again(stocked: Oned) -> None:
    stocked.play("p02-prolog-third-disk-fails-then-retry")
    before = content(stocked.cloud, "OpenNebula-Image-0-vm28-disk0", len(OS))
    stocked.play("p02b-recover-retry-replays-all")
    assert before == OS
    assert stocked.of_vms() == {"28-disk0", "28-disk3"}
    assert len(stocked.linked("alice", 28)) == 4


def test_copies_of_images_for_one_vm(stocked: Oned) -> None:
    cloud = stocked.cloud
    stocked.play("l01-instantiate-persistent-copy")
    copies = {f"OpenNebula-Image-{number}" for number in (39, 40, 52, 53)}
    assert resources(cloud) == IMAGES | copies
    stocked.play("l01-instantiate-persistent-copy:deploy")
    assert links(cloud)["alice"]["101/27/disk.0"] == by_res("OpenNebula-Image-52")
    stocked.play("l01-instantiate-persistent-copy:terminate")
    assert resources(cloud) == IMAGES | copies
    assert content(cloud, "OpenNebula-Image-52", len(OS)) == OS
    assert links(cloud) == {}
