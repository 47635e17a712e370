# SPDX-License-Identifier: Apache-2.0
"""failmigrate, mkimage, mkswap, resize, delete and monitor."""

from __future__ import annotations

import base64

import pytest

from tests.lab.one.core_drivers.site_of_hosts import Site


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

    def test_volatile_disks_grow_unless_qemu_does_it(self, site: Site, driver: str) -> None:
        site.fill("alice")
        place = f"{site.directory()}/disk.1"
        for state, size in ((62, 64), (63, 96)):
            site.show(lcm_state=state, records=[103])
            done = site.call(f"{driver}/resize", f"alice:{place}", "96", "7", "103")
            assert (done.returncode, site.hosts.path("alice", place).stat().st_size) == (0, size << 20)
        missing = site.call(f"{driver}/resize", f"alice:{site.directory()}/disk.5", "96", "7", "103")
        assert missing.returncode == 1
        assert "cannot resize" in missing.stderr

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
