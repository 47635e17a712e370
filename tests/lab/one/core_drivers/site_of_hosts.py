# SPDX-License-Identifier: Apache-2.0
"""A site where the stand-ins for OpenNebula's own transfer managers drive system datastores."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

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
        self.document = ""
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

    def become(self, version: str) -> None:
        """Pretend to be another release of OpenNebula."""
        (self.tree.remotes / "VERSION").write_text(f"{version}\n")

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
