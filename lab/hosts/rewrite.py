# SPDX-License-Identifier: Apache-2.0
"""Hosts where the system permits no mount namespace: commands are led to the host's own files by
translating paths.

Weaker than a namespace: it reaches the words of commands (and of ``test`` and ``cd``) in bash, but no
redirection to a path and no ``[[``, and the front-end's files are in sight.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from lab.hosts.layout import PROGRAMS, Layout
from lab.hosts.session import SYSTEM_PATH

COMMANDS = """
    [ awk bash blkdiscard blkid blockdev cat chmod chown cmp cp cut dd df diff du dumpe2fs e2fsck
    fallocate file find flock fsck.ext4 fsfreeze fuser grep gzip head install ln ls md5sum mkdir mke2fs
    mkfs mkfs.btrfs mkfs.ext2 mkfs.ext3 mkfs.ext4 mkfs.xfs mkswap mktemp mount mv od qemu-img readlink
    realpath resize2fs rm rmdir sed sh sha1sum sha256sum sha512sum sort stat sync tail tar tee test
    touch truncate umount wc wipefs xxd
""".split()  # noqa: SIM905 - a list literal would take a line for each


# Every process of a host has the host's /dev open under this number, so that a symbolic link through it leads
# each host to its own devices, wherever the link was made.
DEV_DESCRIPTOR = 193
OWN_DEV = f"/proc/self/fd/{DEV_DESCRIPTOR}"


def install(layout: Layout, hosts: Sequence[str]) -> None:
    """Make the commands that translate. Those that the machine does not have stay missing."""
    for host in hosts:
        for name in layout.shared:
            (layout.host_datastores(host) / name).symlink_to(layout.datastores / name)
    layout.shims.mkdir(parents=True, exist_ok=True)
    for command in COMMANDS:
        if shutil.which(command, path=real_path(layout)):
            shim = layout.shims / command
            shim.unlink(missing_ok=True)
            shim.symlink_to(PROGRAMS / "shim.bash")


def real_path(layout: Layout) -> str:
    """PATH of the commands that do the work."""
    return f"{layout.host_bin}:{SYSTEM_PATH}"


def enter(layout: Layout, host: str) -> list[str]:
    """Words that make a command run as a process of the host."""
    script = f'exec {DEV_DESCRIPTOR}<"$1"; shift; exec "$@"'
    return ["/bin/bash", "-p", "-c", script, "host", str(layout.dev(host))]


def environment(layout: Layout, host: str) -> dict[str, str]:
    """What the translating commands need to know."""
    return {
        "PATH": f"{layout.shims}:{real_path(layout)}",
        "LAB_HOST_DIR": str(layout.host(host)),
        "LAB_DATASTORES": str(layout.datastores),
        "LAB_OWN_DEV": OWN_DEV,
    }


def outside(layout: Layout, host: str, path: str) -> str:
    """Where the host's path really is."""
    path = re.sub("//+", "/", path)
    for seen, real in ((layout.datastores, layout.host_datastores(host)), (Path("/dev"), layout.dev(host))):
        if path == str(seen) or path.startswith(f"{seen}/"):
            return str(real) + path[len(str(seen)) :]
    return path


def inside(layout: Layout, host: str, text: str) -> str:
    """The text with real paths as the host knows them."""
    text = text.replace(f"{layout.dev(host)}{os.sep}", "/dev/").replace(f"{OWN_DEV}/", "/dev/")
    return text.replace(str(layout.host_datastores(host)), str(layout.datastores))
