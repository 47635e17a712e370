# SPDX-License-Identifier: Apache-2.0
"""mv: directories of VMs between hosts and datastores."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.one.core_drivers.site_of_hosts import DEVICE, VM, Site


class TestMoveBetweenHosts:
    @pytest.mark.parametrize("driver", ["ssh", "local"])
    def test_a_directory(self, site: Site, driver: str) -> None:
        site.fill("alice")
        site.fill("bob", name="of-an-earlier-attempt")
        assert site.move(driver, "alice", "bob") == 0
        assert not site.has("alice")
        assert sorted(site.files("bob")) == ["./disk.0", "./disk.1", "./vm.xml"]
        assert site.hosts.readlink("bob", f"{site.directory()}/disk.0") == DEVICE
        disk = site.hosts.path("bob", f"{site.directory()}/disk.1").stat()
        assert (disk.st_size, disk.st_blocks) == (64 << 20, 0)

    def test_to_the_front_end_and_back(self, site: Site) -> None:
        site.fill("alice")
        assert site.move("ssh", "alice", "frontend") == 0
        assert not site.has("alice")
        assert site.hosts.readlink("frontend", f"{site.directory()}/disk.0") == DEVICE
        assert site.move("ssh", "frontend", "bob") == 0
        assert not Path(site.directory()).exists()
        assert site.hosts.readlink("bob", f"{site.directory()}/disk.0") == DEVICE

    @pytest.mark.parametrize("driver", ["ssh", "local"])
    def test_to_another_datastore_of_the_same_host(self, site: Site, driver: str) -> None:
        site.fill("alice")
        assert site.move(driver, "alice", "alice", new=106) == 0
        assert (site.has("alice"), len(site.files("alice", 106))) == (False, 3)

    @pytest.mark.parametrize("driver", ["ssh", "local"])
    def test_nothing_moves_to_where_it_is(self, site: Site, driver: str) -> None:
        site.fill("alice")
        assert site.move(driver, "alice", "alice") == 0
        assert len(site.files("alice")) == 3

    def test_ssh_notices_that_two_hosts_share_the_directory(self, site: Site) -> None:
        site.fill("alice", 105)
        assert site.move("ssh", "alice", "bob", 105, 105) == 0
        assert len(site.files("bob", 105)) == 3
        assert [path.name for path in (site.datastores / "105").iterdir()] == [str(VM)]

    @pytest.mark.parametrize("driver", ["ssh", "local"])
    def test_a_disk_stays(self, site: Site, driver: str) -> None:
        site.fill("alice")
        assert site.move(driver, "alice", "bob", path="/disk.1") == 0
        assert (len(site.files("alice")), site.has("bob")) == (3, False)
        assert site.hosts.calls == []

    @pytest.mark.parametrize("lcm_state", [60, 61])
    @pytest.mark.parametrize("driver", ["ssh", "local"])
    def test_the_vm_of_a_lost_host_stays(self, site: Site, driver: str, lcm_state: int) -> None:
        site.show(lcm_state, [103, 103])
        site.fill("bob", name="made-by-the-disks-driver")
        site.hosts.set_power("alice", False)
        assert site.move(driver, "alice", "bob") == 0
        assert len(site.files("bob")) == 3
        assert site.hosts.calls == []

    @pytest.mark.parametrize(
        ("version", "lcm_state", "stays"),
        [("5.12.9", 60, True), ("5.12.9", 61, False), ("6.2.0", 60, False), ("6.4.0", 61, True)],
    )
    def test_older_releases_know_fewer_states(
        self, site: Site, version: str, lcm_state: int, stays: bool
    ) -> None:
        site.become(version)
        site.show(lcm_state, [103, 103])
        site.fill("bob")
        site.hosts.set_link("alice", "refused")
        assert (site.move("ssh", "alice", "bob") == 0) == stays

    def test_it_goes_on_without_an_answer_from_oned(self, site: Site) -> None:
        site.forget()
        site.fill("alice")
        assert site.move("ssh", "alice", "bob") == 0
        assert site.has("bob")

    def test_a_source_that_is_down_ends_it_before_the_destination_is_touched(self, site: Site) -> None:
        site.fill("bob", 106)
        site.hosts.set_link("alice", "refused")
        assert site.move("ssh", "alice", "bob", new=106) == 255
        assert len(site.files("bob", 106)) == 3

    def test_a_destination_that_is_down_leaves_the_source(self, site: Site) -> None:
        site.fill("alice")
        site.hosts.set_link("bob", "refused")
        assert site.move("ssh", "alice", "bob") == 255
        assert len(site.files("alice")) == 3

    def test_a_source_that_can_not_be_read_in_full_stays(self, site: Site) -> None:
        site.fill("alice")
        tar = site.hosts.layout.host_bin / "tar"
        tar.write_text('#!/bin/sh\nPATH=/usr/bin:/bin\ntar "$@"\ncase $* in *-cf*) exit 1 ;; esac\n')
        tar.chmod(0o755)
        assert site.move("ssh", "alice", "bob") == 1
        assert (len(site.files("alice")), len(site.files("bob"))) == (3, 3)

    def test_a_source_that_is_missing_costs_the_destination(self, site: Site) -> None:
        site.fill("bob")
        assert site.move("ssh", "alice", "bob") != 0
        assert not site.has("bob")


@pytest.mark.parametrize("driver", ["shared", "qcow2"])
class TestMoveOfSharedDirectories:
    def test_between_hosts_nothing_happens(self, site: Site, driver: str) -> None:
        site.fill("alice", 105)
        assert site.move(driver, "alice", "bob", 105, 105) == 0
        assert len(site.files("bob", 105)) == 3
        assert site.hosts.calls == []

    def test_to_another_datastore(self, site: Site, driver: str) -> None:
        site.fill("alice", 105)
        site.hosts.set_link("alice", "refused")
        assert site.move(driver, "alice", "bob", 105, 107) == 0
        assert (site.has("alice", 105), len(site.files("alice", 107))) == (False, 3)

    def test_it_nests_in_a_directory_that_is_there(self, site: Site, driver: str) -> None:
        site.fill("alice", 105)
        site.hosts.run("bob", f"mkdir {site.directory(107)}", check=True)
        assert site.move(driver, "alice", "bob", 105, 107) == 0
        assert sorted(site.files("bob", 107)) == ["./7", "./7/disk.0", "./7/disk.1", "./7/vm.xml"]

    def test_a_disk_stays(self, site: Site, driver: str) -> None:
        site.fill("alice", 105)
        assert site.move(driver, "alice", "bob", 105, 107, path="/disk.0") == 0
        assert len(site.files("alice", 105)) == 3
