# SPDX-License-Identifier: Apache-2.0
"""Puts the lab's commands where the driver and the hosts find them."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from lab.hosts.layout import CHECKOUT, PROGRAMS, Layout
from lab.hosts.session import SYSTEM_PATH

SSH = """\
#!{python} -IS
import sys

sys.path.insert(0, {programs!r})
from ssh_client import main

sys.exit(main({root!r}))
"""

VIRSH = """\
#!{python} -IS
import sys

sys.path.insert(0, {programs!r})
from virsh import main

sys.exit(main(sys.argv[1:]))
"""
QEMU_IMG = """\
#!{python}
import sys

sys.path[:0] = [{programs!r}, {checkout!r}]
from qemu_img import main

sys.exit(main(sys.argv[1:]))
"""
# Commands that refuse a device which is a plain file, or harm it.
FILE_DEVICE_COMMANDS = ("dd", "blockdev", "blkdiscard")


def install(layout: Layout, *, block: bool) -> None:
    """``block``: whether the hosts' devices are block devices."""
    _write(
        layout.bin / "ssh", SSH.format(python=sys.executable, programs=str(PROGRAMS), root=str(layout.root))
    )
    _write(layout.host_bin / "virsh", VIRSH.format(python=sys.executable, programs=str(PROGRAMS)))
    if not shutil.which("qemu-img", path=SYSTEM_PATH):
        stand_in = QEMU_IMG.format(python=sys.executable, programs=str(PROGRAMS), checkout=str(CHECKOUT))
        for directory in (layout.bin, layout.host_bin):
            _write(directory / "qemu-img", stand_in)
    elif not block:
        _write(layout.host_bin / "qemu-img", (PROGRAMS / "qemu-img.bash").read_text())
    if not block:
        for command in FILE_DEVICE_COMMANDS:
            _write(layout.host_bin / command, (PROGRAMS / f"{command}.bash").read_text())


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def remove(path: Path) -> None:
    """Remove a file or a tree, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
