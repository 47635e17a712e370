# SPDX-License-Identifier: Apache-2.0
"""Moving the directory of a VM: `mv` of datastores that each host has for itself.

OpenNebula lets the source host send to the destination over ssh with a forwarded agent. Hosts of the lab
have no ssh, so that the stream passes through the front-end; what happens on the hosts, and when, is the same.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from shlex import quote

from places import Place, fail, on_host, release, vm_texts

LOST, LOST_FAILED = "60", "61"
"""LCM states PROLOG_MIGRATE_UNKNOWN and PROLOG_MIGRATE_UNKNOWN_FAILURE: the VM's host is lost."""


def move(same_directory: Callable[[Place, Place], bool]) -> None:
    """``mv SOURCE DESTINATION VMID DSID``. Disks and the VM of a lost host stay where they are."""
    source, destination = map(Place.parse, sys.argv[1:3])
    if destination.is_disk or "".join(vm_texts(sys.argv[3], "LCM_STATE")) in _states_that_stay():
        return
    # OpenNebula reads the marker of local monitoring here: a source that is down ends the move before
    # anything happens at the destination.
    on_host(source.host, "true", f"cannot move {source.path}")
    on_host(destination.host, f"mkdir -p {quote(destination.directory)}", "cannot make the directory")
    if source.directory == destination.directory and same_directory(source, destination):
        return
    on_host(destination.host, f"rm -rf {quote(destination.path)}", "cannot clear the destination")
    _send(source, destination)
    on_host(source.host, f"rm -rf {quote(source.path)}", "cannot remove the source")


def seen_from_both(source: Place, destination: Place) -> bool:
    """Whether a file that is made at the destination is there on the source's host too."""
    directory = quote(destination.directory)
    probe = on_host(destination.host, f"mktemp -p {directory}", "cannot make a file").strip()
    script = f"test ! -f {quote(probe)} || echo same"
    try:
        return on_host(source.host, script, "cannot look for a file") != ""
    finally:
        on_host(destination.host, f"rm -f {quote(probe)}", "cannot remove a file")


def same_host(source: Place, destination: Place) -> bool:
    return source.host == destination.host


def _states_that_stay() -> tuple[str, ...]:
    if release() >= (6, 4):
        return (LOST, LOST_FAILED)
    # 6.0 to 6.3 do not hand the VM's number to the function that asks for its state.
    return () if release() >= (6,) else (LOST,)


def _send(source: Place, destination: Place) -> None:
    name = source.path[len(source.directory) + 1 :]
    pack = f"tar -C {quote(source.directory)} --sparse -cf - {quote(name)}"
    unpack = f"tar -C {quote(destination.directory)} --sparse -xf -"
    with subprocess.Popen(
        ["ssh", source.host, pack], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as packing:
        unpacking = subprocess.run(["ssh", destination.host, unpack], stdin=packing.stdout)
    status = packing.returncode or unpacking.returncode
    if status != 0:
        fail(status, f"cannot copy {source.path} to {destination.host}")
