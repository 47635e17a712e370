# SPDX-License-Identifier: Apache-2.0
"""premigrate and postmigrate, and whom they call."""

from __future__ import annotations

import pytest

from tests.lab.one.core_drivers.site_of_hosts import VM, Site


def called(site: Site, driver: str, action: str, manager: str, datastore: int) -> list[str]:
    """The notes of one call: arguments and standard input."""
    words = f"alice bob {site.directory(datastore)} {VM} {datastore} {driver}"
    return [f"tm/{driver}/../{manager}/{action} {words}", site.document]


class TestPremigrate:
    def test_ssh_clears_the_destination_and_calls_every_other_manager_once(self, site: Site) -> None:
        site.fill("alice")
        site.fill("bob")
        managers = ["linstor", "ssh", "ceph", "linstor"]
        done = site.migrate("ssh/premigrate", managers)
        assert done.returncode == 0
        state = [site.directory()]
        assert site.notes() == [
            *called(site, "ssh", "premigrate", "linstor", 103),
            *state,
            *called(site, "ssh", "premigrate", "ceph", 103),
            *state,
        ]
        assert (site.has("alice"), site.has("bob")) == (True, False)
        own = [call for call in site.hosts.calls if call["argv"][1:] == ["bash", "-s"]]
        assert len(own) == 1, "it does not call itself"

    def test_a_called_manager_calls_nobody(self, site: Site) -> None:
        assert site.migrate("ssh/premigrate", ["linstor"], more="qcow2").returncode == 0
        assert site.notes() == []

    def test_a_manager_that_is_missing_is_passed_over(self, site: Site) -> None:
        done = site.migrate("ssh/premigrate", ["storpool", "linstor"])
        assert (done.returncode, len(site.notes())) == (0, 2)
        assert "storpool/premigrate: No such file" in done.stderr

    @pytest.mark.parametrize("driver", ["ssh", "local", "shared"])
    def test_on_one_host_nothing_happens(self, site: Site, driver: str) -> None:
        site.fill("alice")
        assert site.migrate(f"{driver}/premigrate", ["linstor"], hosts="alice alice").returncode == 0
        assert (len(site.files("alice")), site.notes()) == (3, [])

    def test_a_destination_that_is_down(self, site: Site) -> None:
        site.hosts.set_link("bob", "refused")
        assert site.migrate("ssh/premigrate", ["linstor"]).returncode == 255
        assert site.notes() == []

    def test_the_first_release_clears_nothing(self, site: Site) -> None:
        site.become("5.12.9")
        site.fill("bob")
        assert site.migrate("ssh/premigrate", ["linstor"]).returncode == 0
        assert (len(site.files("bob")), len(site.notes())) == (3, 3)

    @pytest.mark.parametrize("driver", ["shared", "qcow2"])
    def test_a_shared_directory_is_kept(self, site: Site, driver: str) -> None:
        site.fill("alice", 105)
        assert site.migrate(f"{driver}/premigrate", ["linstor"], datastore=105).returncode == 0
        assert site.notes()[:2] == called(site, driver, "premigrate", "linstor", 105)
        assert len(site.files("bob", 105)) == 3

    def test_local_calls_the_manager_of_the_first_disk_only(self, site: Site) -> None:
        site.fill("bob")
        assert site.migrate("local/premigrate", ["linstor", "ceph"]).returncode == 0
        assert site.notes() == called(site, "local", "premigrate", "linstor", 103)
        assert not site.has("bob")

    def test_local_calls_nobody_when_the_first_disk_is_its_own(self, site: Site) -> None:
        assert site.migrate("local/premigrate", ["local", "linstor"]).returncode == 0
        assert site.notes() == []
        assert len(site.hosts.calls) == 1

    def test_local_can_not_do_without_disks(self, site: Site) -> None:
        assert site.migrate("local/premigrate", []).returncode == 1


class TestPostmigrate:
    @pytest.mark.parametrize("driver", ["ssh", "local"])
    def test_the_others_are_called_before_the_source_is_removed(self, site: Site, driver: str) -> None:
        site.fill("alice")
        site.fill("bob")
        assert site.migrate(f"{driver}/postmigrate", ["linstor"]).returncode == 0
        assert site.notes() == [
            *called(site, driver, "postmigrate", "linstor", 103),
            site.directory(),
            site.directory(),
        ]
        assert (site.has("alice"), site.has("bob")) == (False, True)

    def test_the_source_is_in_the_datastore_of_the_last_record_but_one(self, site: Site) -> None:
        site.show(4, [103, 106, 103])
        site.fill("alice")
        site.fill("alice", 106)
        assert site.migrate("ssh/postmigrate", ["linstor"]).returncode == 0
        assert (site.has("alice"), site.has("alice", 106)) == (True, False)

    def test_without_a_host_or_datastore_to_leave_nothing_happens(self, site: Site) -> None:
        site.fill("alice")
        assert site.migrate("ssh/postmigrate", ["linstor"], hosts="alice alice").returncode == 0
        assert (site.has("alice"), site.notes()) == (True, [])

    def test_the_first_release_removes_nothing(self, site: Site) -> None:
        site.become("5.12.9")
        site.fill("alice")
        assert site.migrate("ssh/postmigrate", ["linstor"]).returncode == 0
        assert (len(site.files("alice")), len(site.notes())) == (3, 3)

    def test_on_one_host_the_old_datastore_is_left(self, site: Site) -> None:
        site.show(4, [106, 103])
        site.fill("alice", 106)
        assert site.migrate("ssh/postmigrate", ["linstor"], hosts="alice alice").returncode == 0
        assert (site.has("alice", 106), len(site.notes())) == (False, 4)

    def test_a_source_that_is_down(self, site: Site) -> None:
        site.hosts.set_link("alice", "refused")
        assert site.migrate("ssh/postmigrate", ["linstor"]).returncode == 255
        assert site.notes()[:2] == called(site, "ssh", "postmigrate", "linstor", 103)

    @pytest.mark.parametrize("driver", ["shared", "qcow2"])
    def test_a_shared_directory_is_kept(self, site: Site, driver: str) -> None:
        site.show(4, [105, 105])
        site.fill("alice", 105)
        assert site.migrate(f"{driver}/postmigrate", ["linstor"], datastore=105).returncode == 0
        assert site.notes()[:2] == called(site, driver, "postmigrate", "linstor", 105)
        assert len(site.files("bob", 105)) == 3

    def test_a_shared_directory_in_the_old_datastore_is_removed_first(self, site: Site) -> None:
        site.show(4, [107, 105])
        site.fill("alice", 105)
        site.fill("alice", 107)
        done = site.migrate("shared/postmigrate", ["linstor"], datastore=105, hosts="alice alice")
        assert done.returncode == 0
        assert site.notes()[2:] == [site.directory(105)] * 2
        assert not site.has("bob", 107)
