# SPDX-License-Identifier: Apache-2.0
"""A self-contained OpenNebula directory (ONE_LOCATION) with our drivers linked into its remotes."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from lab.one.version import OneVersion

CHECKOUT = Path(__file__).resolve().parents[2]
"""The directory that holds ``datastore/``, ``tm/`` and the library."""

_STAND_INS = Path(__file__).resolve().parent / "stand_ins"
_COMMANDS = ("onevm", "onedatastore", "oneimage", "onehost")


class Installation:
    """Paths of one ONE_LOCATION."""

    def __init__(self, location: Path) -> None:
        self.location = location
        self.var = location / "var"
        self.remotes = self.var / "remotes"
        self.datastores = self.var / "datastores"
        self.vms = self.var / "vms"
        self.bin = location / "bin"
        self.home = location / "home"
        self.auth = self.home / ".one" / "one_auth"

    @property
    def datastore_location(self) -> str:
        """DATASTORE_LOCATION with the double slash that oned prints."""
        return f"{self.var}//datastores"


def install(location: Path, version: OneVersion, session: str, drivers: Path = CHECKOUT) -> Installation:
    """Create the tree. `drivers` is a directory with ``datastore/`` and ``tm/`` full of executables."""
    tree = Installation(location)
    etc = tree.remotes / "etc" / "datastore"
    for directory in (tree.datastores, tree.vms, tree.bin, tree.auth.parent, etc / "linstor"):
        directory.mkdir(parents=True, exist_ok=True)
    (tree.remotes / "VERSION").write_text(f"{version}\n")
    (etc / "datastore.conf").write_text("# BACKUP_BASE_PATH=\n")
    tree.auth.write_text(f"{session}\n")
    tree.auth.chmod(0o600)
    for kind in ("datastore", "tm"):
        (tree.remotes / kind).mkdir(exist_ok=True)
        (tree.remotes / kind / "linstor").symlink_to(drivers / kind)
    _link_stand_ins(tree)
    _interpreter(tree.bin / "python3")
    return tree


def _link_stand_ins(tree: Installation) -> None:
    for source in sorted(_STAND_INS.rglob("*")):
        relative = source.relative_to(_STAND_INS)
        if source.is_dir() or "__pycache__" in relative.parts:
            continue
        target = tree.remotes / relative if relative.parts[0] != "bin" else tree.location / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(source)
    for command in _COMMANDS:
        (tree.bin / command).symlink_to("oneshow")


def _interpreter(path: Path) -> None:
    # A symbolic link would lose the virtual environment that the interpreter belongs to.
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


def driver_environment(tree: Installation, url: str, first_in_path: list[Path]) -> dict[str, str]:
    """Environment of the driver processes, as captured from a self-contained oned 7.4.

    `first_in_path` is searched before everything else. PYTHONPATH stands for the installed library.
    """
    path = [str(one) for one in (*first_in_path, tree.bin)]
    path.append(os.environ.get("PATH", os.defpath))
    return {
        "HOME": str(tree.home),
        "USER": "oneadmin",
        "LOGNAME": "oneadmin",
        "LANG": "C.UTF-8",
        "PATH": os.pathsep.join(path),
        "PWD": str(tree.var),
        "SHLVL": "0",
        "PRIORITY": "19",
        "ONE_MAD_DEBUG": "",
        "ONE_LOCATION": str(tree.location),
        "ONE_AUTH": str(tree.auth),
        "ONE_XMLRPC": url,
        "PYTHONPATH": str(CHECKOUT),
    }
