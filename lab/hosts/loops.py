# SPDX-License-Identifier: Apache-2.0
"""Block devices over files: Linux loop devices that vanish with the process that made them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import tempfile
from pathlib import Path

BLKFLSBUF = 0x1261
LOOP_CLR_FD = 0x4C01
LOOP_SET_CAPACITY = 0x4C07


class Loop:
    """One loop device, attached as long as this object (or anybody else) keeps it open.

    It is detached right after it was opened here. Linux puts that off until the last close, so that a lab
    that is killed leaves no loop device behind.
    """

    def __init__(self, backing: Path) -> None:
        made = subprocess.run(
            ["losetup", "--find", "--show", str(backing)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if made.returncode:
            raise OSError(f"losetup: {made.stderr.strip()}")
        self.device = made.stdout.strip()
        self._descriptor = os.open(self.device, os.O_RDWR | os.O_CLOEXEC)
        # A second opener makes Linux mark the device for detaching instead of doing it now (6.10 and later
        # do so always).
        with open(self.device, "rb") as second:
            fcntl.ioctl(second, LOOP_CLR_FD)
        self.number = os.fstat(self._descriptor).st_rdev

    def flush(self) -> None:
        """Bring what was written through the device to the file."""
        os.fsync(self._descriptor)

    def resized(self) -> None:
        """Take over the size of the file."""
        fcntl.ioctl(self._descriptor, LOOP_SET_CAPACITY)

    def detach(self) -> None:
        os.close(self._descriptor)


def available() -> bool:
    """Whether this process may make loop devices."""
    if os.geteuid() != 0 or not os.path.exists("/dev/loop-control"):
        return False
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(4096)
        try:
            Loop(Path(file.name)).detach()
        except OSError:
            return False
    return True


def attached(directory: Path) -> list[str]:
    """Loop devices whose file stands (or stood) in the directory."""
    found = []
    for entry in Path("/sys/block").glob("loop*"):
        with contextlib.suppress(OSError):
            backing = (entry / "loop" / "backing_file").read_text().rstrip("\n")
            if backing.startswith(f"{directory}/"):
                found.append(f"/dev/{entry.name}")
    return found


def detach_all(directory: Path) -> None:
    """Detach what an earlier lab left over files in the directory."""
    for device in attached(directory):
        subprocess.run(
            ["losetup", "--detach", device], stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
