# SPDX-License-Identifier: Apache-2.0
"""One mount namespace per host: its own /dev, /tmp, home and datastores, and none of the front-end's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from lab.hosts.layout import CHECKOUT, PROGRAMS, Layout
from lab.hosts.session import SYSTEM_PATH


class NamespaceUnavailable(Exception):
    """The system does not let this user have mount namespaces."""


class Namespaces:
    """The namespaces of all hosts. Raises NamespaceUnavailable."""

    def __init__(self, layout: Layout, hosts: Sequence[str]) -> None:
        self._holders: dict[str, subprocess.Popen[bytes]] = {}
        self._options: dict[str, list[str]] = {}
        self._nsenter = shutil.which("nsenter", path=SYSTEM_PATH) or ""
        if not self._nsenter:
            raise NamespaceUnavailable("nsenter (util-linux) is missing")
        for host in hosts:
            self._holders[host] = subprocess.Popen(
                [sys.executable, "-IS", str(PROGRAMS / "holder.py"), *_plan(layout, host)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={},
                # Ctrl-C at the lab's terminal must not take mounts away from under those who clean up.
                start_new_session=True,
            )
        try:
            for host in hosts:
                self._options[host] = self._wait_ready(host)
        except NamespaceUnavailable:
            self.close()
            raise

    def _wait_ready(self, host: str) -> list[str]:
        holder = self._holders[host]
        assert holder.stdout is not None
        assert holder.stderr is not None
        word, *options = holder.stdout.readline().decode().split() or [""]
        if word != "ready":
            raise NamespaceUnavailable(holder.stderr.read().decode(errors="replace").strip())
        return options

    @property
    def privileged(self) -> bool:
        """Whether they are made by root, so that block devices work in them."""
        return all("-U" not in options for options in self._options.values())

    def enter(self, host: str) -> list[str]:
        """Words that make a command run in the host's namespace."""
        return [self._nsenter, "-t", str(self._holders[host].pid), *self._options[host], "--"]

    def close(self) -> None:
        for holder in self._holders.values():
            holder.communicate()
        self._holders.clear()


def _plan(layout: Layout, host: str) -> list[str]:
    """For ``programs/holder.py``. Hides the front-end's files: a host that is told to read one fails."""
    hidden = _outermost(["/tmp", "/var/tmp", str(layout.root)])
    plan = ["dev", str(layout.dev(host))]
    for directory in hidden:
        plan += ["hide", directory]
    for directory in _outermost([sys.prefix, sys.base_prefix, str(CHECKOUT / "lab"), str(layout.host_bin)]):
        if any(_is_below(directory, above) for above in hidden):
            plan += ["bind", directory, directory]
    plan += ["bind", str(layout.home(host)), str(layout.home(host))]
    plan += ["bind", str(layout.host_datastores(host)), str(layout.datastores)]
    for name in layout.shared:
        plan += ["bind", str(layout.datastores / name), str(layout.datastores / name)]
    return plan


def _outermost(directories: Sequence[str]) -> list[str]:
    real = sorted({os.path.realpath(directory) for directory in directories if os.path.isdir(directory)})
    return [path for path in real if not any(_is_below(path, other) for other in real if other != path)]


def _is_below(path: str, above: str) -> bool:
    return Path(above) in Path(path).parents
