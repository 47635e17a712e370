# SPDX-License-Identifier: Apache-2.0
"""Which file systems OpenNebula offers for new images, and with which options: its ``datastore.conf``."""

from __future__ import annotations

import posixpath
from typing import NamedTuple

from linstor_helper.errors import RefusedError
from linstor_helper.layout import OneLayout
from linstor_helper.settings import conf_file

_OFFERED = "ext2,ext3,ext4,xfs"
"""When the file says nothing, as OpenNebula ships it."""


class FileSystem(NamedTuple):
    """A file system with the options of its mkfs."""

    kind: str
    options: tuple[str, ...]


def offered(layout: OneLayout, kind: str) -> FileSystem:
    """Raises RefusedError when OpenNebula is not configured to offer it, ConfigError for an unreadable file."""
    values = conf_file.read(posixpath.join(layout.remotes, "etc/datastore/datastore.conf"))
    kinds = [name.strip() for name in values.get("SUPPORTED_FS", _OFFERED).split(",")]
    if kind not in kinds:
        raise RefusedError(f"file system {kind!r} is not offered", hint="use one of " + ", ".join(kinds))
    return FileSystem(kind, tuple(values.get(f"FS_OPTS_{kind}", "").split()))
