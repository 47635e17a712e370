# SPDX-License-Identifier: Apache-2.0
"""Puts the lab's commands where the driver and the hosts find them."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from lab.hosts.layout import PROGRAMS, Layout

SSH = """\
#!{python} -IS
import sys

sys.path.insert(0, {programs!r})
from ssh_client import main

sys.exit(main({root!r}))
"""


def install(layout: Layout) -> None:
    layout.bin.mkdir(parents=True, exist_ok=True)
    layout.host_bin.mkdir(parents=True, exist_ok=True)
    _write(layout.bin / "ssh", SSH.format(python=sys.executable, programs=str(PROGRAMS), root=str(layout.root)))


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def remove(path: Path) -> None:
    """Remove a file or a tree, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
