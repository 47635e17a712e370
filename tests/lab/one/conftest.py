# SPDX-License-Identifier: Apache-2.0
"""A stand-in for oned over scripted drivers: bash programs that do as a plan says, and files for devices."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.one import Oned

DRIVER = """#!/bin/bash
# Acts like a driver whose volumes are files; a plan, if there is one for this call, replaces what it does.
action=${0##*/} kind=${0%/*/*} kind=${kind##*/}
while read -r line; do :; done
for plan in "$PLANS/$kind.$action.once" "$PLANS/$kind.$action"; do
    if [ -e "$plan" ]; then
        [[ $plan != *.once ]] || mv "$plan" "$plan.used"
        [[ $plan != *.once ]] || plan=$plan.used
        source "$plan"
        exit
    fi
done
case $kind.${action%.*} in
    datastore.stat) echo 1024 ;;
    datastore.cp | datastore.clone) echo "OpenNebula-Image-${!#} raw" ;;
    datastore.mkfs) echo "OpenNebula-Image-${!#}" ;;
    *.monitor) echo "USED_MB=1024"; echo "TOTAL_MB=1048576"; echo "FREE_MB=1047552" ;;
    tm.clone | tm.ln | tm.mkimage | tm.mkswap | tm.context)
        path=${*: -3:1} path=${path#*:}
        [[ -d ${path%/*} ]] || mkdir -p "${path%/*}"
        : > "$path"
        ;;
    tm.delete | tm.mvds) rm -rf "${1#*:}" ;;
    tm.mv)
        old=${1#*:} new=${2#*:}
        # All hosts are one machine: what keeps its place stays, and the directory's move finds no rest.
        if [[ $old != "$new" && -e $old ]]; then
            mkdir -p "${new%/*}"
            if [[ -d $new ]]; then mv "$old"/* "$new"; else mv "$old" "$new"; fi
        fi
        ;;
esac
"""
ACTIONS = {
    "datastore": (
        *("stat", "cp", "mkfs", "clone", "rm", "monitor", "export"),
        *("snap_delete", "snap_revert", "snap_flatten"),
    ),
    "tm": (
        *("clone", "ln", "mkimage", "mkswap", "context", "delete", "mvds", "mv", "monitor"),
        *("premigrate", "postmigrate", "failmigrate", "cpds", "resize"),
        *("snap_create", "snap_create_live", "snap_delete", "snap_revert"),
    ),
}


class FileGuest:
    """Holds a file open as a guest would a device."""

    def __init__(self, path: str, mode: str) -> None:
        self._stream = open(path, mode, buffering=0)  # noqa: SIM115

    @property
    def alive(self) -> bool:
        return not self._stream.closed

    def write(self, offset: int, data: bytes) -> None:
        self._stream.seek(offset)
        self._stream.write(data)

    def read(self, offset: int, length: int) -> bytes:
        self._stream.seek(offset)
        return self._stream.read(length)

    def size(self) -> int:
        return self._stream.seek(0, 2)

    def grow_qcow2(self, size: int) -> None:
        command = ["qemu-img", "resize", "-q", "-f", "qcow2", self._stream.name, str(size)]
        subprocess.run(command, check=True)

    def close(self) -> None:
        self._stream.close()


class NoDomains:
    """Nobody asks for domains."""

    def start(self, *_: object) -> None: ...

    def shut_down(self, *_: object) -> None: ...

    def end(self, *_: object) -> None: ...


class OneMachineHosts:
    """All hosts are this machine; `down` names those that do not answer."""

    def __init__(self) -> None:
        self.down: set[str] = set()
        self.domains = NoDomains()

    def run(self, name: str, script: str) -> subprocess.CompletedProcess[str]:
        command = ["false" if name in self.down else "bash", "-c", script]
        return subprocess.run(command, capture_output=True, text=True)

    def open_disk(self, name: str, path: str, *, write: bool) -> FileGuest:
        if name in self.down:
            raise ConnectionError(f"{name} is down")
        return FileGuest(path, "r+b" if write else "rb")


class Bench:
    """An Oned, its hosts and the plans of its drivers."""

    def __init__(self, root: Path, version: str = "7.4.0") -> None:
        self.drivers = root / "drivers"
        self.plans = root / "plans"
        self.plans.mkdir(parents=True)
        for kind, actions in ACTIONS.items():
            for action in actions:
                path = self.drivers / kind / action
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(DRIVER)
                path.chmod(0o755)
        self.hosts = OneMachineHosts()
        self.one = Oned(
            root / "one",
            self.hosts,
            hosts=("host0", "host1", "host2"),
            version=version,
            drivers=self.drivers,
            front_end="vm",
            environment={"PLANS": str(self.plans)},
        )
        self.one.add_datastore(
            100, "linstor img", TYPE="IMAGE_DS", LINSTOR_RESOURCE_GROUP="one", DISK_TYPE="BLOCK"
        )
        self.one.add_datastore(101, "linstor sys", TYPE="SYSTEM_DS", DISK_TYPE="BLOCK")
        self.one.add_datastore(102, "linstor sys2", TYPE="SYSTEM_DS", DISK_TYPE="BLOCK")
        self.one.add_datastore(103, "ssh sys", TYPE="SYSTEM_DS", TM_MAD="ssh")

    def plan(self, call: str, script: str, once: bool = True) -> None:
        """Let the next (or every) call such as ``tm.clone`` run `script` instead."""
        (self.plans / (call + (".once" if once else ""))).write_text(script)

    def made(self, since: int = 0) -> list[str]:
        """Driver calls as ``name argv``, with /srv/one for the installation."""
        root = str(self.one.tree.location)
        return [
            " ".join([call.name, *call.argv]).replace(root, "/srv/one") for call in self.one.calls[since:]
        ]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.one.close()
