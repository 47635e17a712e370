# SPDX-License-Identifier: Apache-2.0
"""What the transfer manager stand-ins share: arguments, commands on hosts, the VM's document."""

from __future__ import annotations

import os
import posixpath
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from typing import NamedTuple, NoReturn


class Place(NamedTuple):
    host: str
    path: str

    @classmethod
    def parse(cls, argument: str) -> Place:
        """``HOST:PATH``, without repeated and final slashes."""
        host, _, path = argument.partition(":")
        return cls(host, posixpath.normpath(path))

    @property
    def directory(self) -> str:
        return posixpath.dirname(self.path)

    @property
    def is_disk(self) -> bool:
        """OpenNebula's own test: something like ``disk.0`` anywhere in the path."""
        return re.search(r"/disk\.[0-9]+", self.path) is not None


def release() -> tuple[int, ...]:
    """Of the OpenNebula that runs the drivers."""
    with open(
        os.path.join(os.environ["ONE_LOCATION"], "var", "remotes", "VERSION"), encoding="ascii"
    ) as file:
        return tuple(int(number) for number in file.read().strip().split("."))


def fail(status: int, message: str) -> NoReturn:
    print(message, file=sys.stderr)
    sys.exit(status)


def on_host(host: str, script: str, failure: str) -> str:
    """Run a script with ``bash -s``; its output. Ends this program with the status of one that fails."""
    done = subprocess.run(["ssh", host, "bash", "-s"], input=script, capture_output=True, text=True)
    if done.returncode != 0:
        fail(done.returncode, f"{failure}: {host}: {' '.join(done.stderr.split())}")
    return done.stdout


def vm_texts(vm_id: str, path: str) -> list[str]:
    """Texts of the elements in the VM's document that oned answers now; none when it does not answer."""
    shown = subprocess.run(["onevm", "show", "-x", vm_id], stdin=subprocess.DEVNULL, capture_output=True)
    if shown.returncode != 0:
        return []
    return [one.text or "" for one in ElementTree.fromstring(shown.stdout).findall(path)]
