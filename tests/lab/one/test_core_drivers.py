# SPDX-License-Identifier: Apache-2.0
"""The stand-ins for OpenNebula's own transfer managers, as drivers of system datastores on the lab's hosts."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.hosts import Hosts
from lab.one.install import driver_environment, install
from lab.one.version import OneVersion

VM = 7
DEVICE = "/dev/drbd/by-res/img/0"
# Notes how it was called, and what both hosts have of the VM at that moment. It fails, which nobody minds.
RECORDER = """#!/bin/bash
{ echo "${0#*/remotes/}" "$@"; cat
  for host in "$1" "$2"; do ssh "$host" "find -L '$STATE' -mindepth 2 -maxdepth 2 -name 7 | sort"; done; } >>"$NOTES"
exit 3
"""
ONEVM = """#!/bin/sh
[ "$1 $2 $3" = "show -x 7" ] && exec cat "$0.xml"
exit 255
"""


class Site:
    """Hosts alice and bob, and an OpenNebula directory with a driver `linstor` and `ceph` that take notes.

    103 and 106 are every host's own datastores, 105 and 107 are shared.
    """

    def __init__(self, root: Path) -> None:
        location = root / "one"
        self.datastores = location / "var" / "datastores"
        self.hosts = Hosts(root / "lab", ["alice", "bob"], str(self.datastores), shared=["105", "107"])
        recorders = root / "drivers"
        for name in ("premigrate", "postmigrate", "failmigrate"):
            self._program(recorders / "tm" / name, RECORDER)
        (recorders / "datastore").mkdir()
        self.tree = install(location, OneVersion.parse("7.4.0"), "oneadmin:opennebula", recorders)
        (self.tree.remotes / "tm" / "ceph").symlink_to(recorders / "tm")
        self._program(root / "bin" / "onevm", ONEVM)
        self._shown = root / "bin" / "onevm.xml"
        self._notes = root / "notes"
        self._environment = {
            **driver_environment(self.tree, "", [root / "bin", self.hosts.bin_dir]),
            **self.hosts.environment(),
            "NOTES": str(self._notes),
            "STATE": str(self.datastores),
        }
        self.show(lcm_state=8, records=[103, 103])

    def _program(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def show(self, lcm_state: int, records: list[int]) -> None:
        """What oned answers about the VM: LCM_STATE and the datastore of each history record."""
        history = "".join(f"<HISTORY><DS_ID>{one}</DS_ID></HISTORY>" for one in records)
        self._shown.write_text(
            f"<VM><LCM_STATE>{lcm_state}</LCM_STATE><HISTORY_RECORDS>{history}</HISTORY_RECORDS></VM>"
        )

    def forget(self) -> None:
        """oned answers no more."""
        self._shown.unlink()

    def directory(self, datastore: int = 103) -> str:
        return f"{self.datastores}/{datastore}/{VM}"

    def fill(self, host: str, datastore: int = 103, name: str = "vm.xml") -> None:
        """A VM's directory with a file, a link to a device and a sparse volatile disk."""
        place = self.directory(datastore)
        self.hosts.run(
            host,
            f"mkdir -p {place}; touch {place}/{name}; ln -s {DEVICE} {place}/disk.0; truncate -s 64M {place}/disk.1",
            check=True,
        )

    def files(self, host: str, datastore: int = 103) -> list[str]:
        return self.hosts.run(
            host, f"cd {self.directory(datastore)} 2>&1 && find . -mindepth 1"
        ).stdout.split()

    def has(self, host: str, datastore: int = 103) -> bool:
        return self.hosts.run(host, f"test -e {self.directory(datastore)}").returncode == 0

    def call(self, action: str, *argv: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.tree.remotes / "tm" / action), *argv],
            input=stdin,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def move(
        self, driver: str, source: str, destination: str, old: int = 103, new: int = 103, path: str = ""
    ) -> int:
        # As oned prints paths, and with a slash at the end.
        places = (f"{host}:{self.directory(ds)}{path}/" for host, ds in ((source, old), (destination, new)))
        words = [place.replace("/var/", "/var//") for place in places]
        return self.call(f"{driver}/mv", *words, str(VM), str(new)).returncode

    def migrate(
        self,
        action: str,
        managers: list[str],
        *,
        datastore: int = 103,
        hosts: str = "alice bob",
        more: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """Call premigrate and the like for a VM whose disks have these TM_MADs."""
        disks = "".join(f"<DISK><TM_MAD>{one}</TM_MAD></DISK>" for one in managers)
        document = base64.b64encode(f"<VM><TEMPLATE>{disks}</TEMPLATE></VM>".encode()).decode()
        words = [*hosts.split(), self.directory(datastore), str(VM), str(datastore), *more.split()]
        self.document = document
        return self.call(action, *words, stdin=document)

    def notes(self) -> list[str]:
        return self._notes.read_text().splitlines() if self._notes.exists() else []


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.hosts.close()


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


@pytest.mark.parametrize("driver", ["ssh", "local", "shared", "qcow2"])
class TestEveryDriver:
    def test_failmigrate_does_nothing(self, site: Site, driver: str) -> None:
        site.fill("bob")
        assert site.migrate(f"{driver}/failmigrate", ["linstor"]).returncode == 0
        assert (len(site.files("bob")), site.notes()) == (3, [])

    def test_volatile_disks_are_sparse_and_made_anew(self, site: Site, driver: str) -> None:
        place = f"{site.directory()}/disk.1"
        assert site.call(f"{driver}/mkimage", "8", "raw", f"alice:{place}", "7", "103").returncode == 0
        site.hosts.run("alice", f"echo old | dd of={place} conv=notrunc status=none", check=True)
        assert site.call(f"{driver}/mkswap", "4", f"alice:{place}", "7", "103").returncode == 0
        disk = site.hosts.path("alice", place).stat()
        assert (disk.st_size, disk.st_blocks) == (4 << 20, 0)

    def test_delete(self, site: Site, driver: str) -> None:
        site.fill("alice")
        for name in ("disk.0", "disk.1"):
            where = f"alice:{site.directory()}/{name}".replace("/var/", "/var//")
            assert site.call(f"{driver}/delete", where, "7", "103").returncode == 0
        assert sorted(site.files("alice")) == ["./disk.0", "./vm.xml"], "a link that leads nowhere stays"
        for _ in range(2):
            assert site.call(f"{driver}/delete", f"alice:{site.directory()}", "7", "103").returncode == 0
        assert not site.has("alice")
        site.hosts.set_link("alice", "refused")
        done = site.call(f"{driver}/delete", f"alice:{site.directory()}", "7", "103")
        assert done.returncode == 255
        assert "Connection refused" in done.stderr


def test_the_room_of_a_shared_datastore(site: Site) -> None:
    document = f"<A><DATASTORE_LOCATION>{site.datastores}</DATASTORE_LOCATION></A>"
    done = site.call("shared/monitor", "105", stdin=base64.b64encode(document.encode()).decode())
    room = dict(line.split("=") for line in done.stdout.split())
    assert room.keys() == {"TOTAL_MB", "USED_MB", "FREE_MB"}
    assert int(room["TOTAL_MB"]) >= int(room["FREE_MB"]) > 0
