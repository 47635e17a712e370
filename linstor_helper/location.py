# SPDX-License-Identifier: Apache-2.0
"""Where a disk or a VM directory is: ``host:/var/lib/one/datastores/<datastore>/<vm>[/disk.<n>]``."""

from __future__ import annotations

import posixpath
import re
from typing import NamedTuple

from linstor_helper.errors import UsageError

_DISK = re.compile(r"disk\.(\d+)\Z")


class Location(NamedTuple):
    """A path on a host, normalised (oned emits double slashes)."""

    host: str
    path: str

    @classmethod
    def parse(cls, text: str) -> Location:
        """Reads ``host:path``.  Raises UsageError when it is not of that form or the path is not absolute."""
        host, colon, path = text.partition(":")
        if not colon or not host or host.startswith("-") or not path.startswith("/"):
            raise UsageError(f"{text!r} is not of the form HOST:/PATH")
        return cls(host, posixpath.normpath("/" + path.lstrip("/")))

    @property
    def is_disk(self) -> bool:
        """Whether the last component is ``disk.<n>``; the directories above may be named anything."""
        return _DISK.match(posixpath.basename(self.path)) is not None

    @property
    def disk_id(self) -> int:
        """Raises UsageError when this is not the path of a disk."""
        match = _DISK.match(posixpath.basename(self.path))
        if match is None:
            raise UsageError(f"{self} is not the path of a disk (.../disk.N)")
        return int(match.group(1))

    def disk(self, disk_id: int) -> Location:
        """The place of a disk in this directory."""
        return Location(self.host, posixpath.join(self.path, f"disk.{disk_id}"))

    def require_disk(self) -> None:
        """Raises UsageError when this is not the path of a disk."""
        _ = self.disk_id

    @property
    def directory(self) -> str:
        return posixpath.dirname(self.path)

    def __str__(self) -> str:
        return f"{self.host}:{self.path}"


def source_resource(text: str) -> str:
    """The image's resource from an argument ``FRONT_END:SOURCE``, or from SOURCE alone."""
    return text.rpartition(":")[2]
