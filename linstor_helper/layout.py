# SPDX-License-Identifier: Apache-2.0
"""Where the files of OpenNebula are, and which version of it is installed."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import NamedTuple

NEWEST_BEHAVIOUR = (7, 0)
"""What counts as the version when OpenNebula does not tell; nothing that the driver does changed later."""

_VERSION = re.compile(r"[0-9]+(?:\.[0-9]+){1,3}")


class OneLayout(NamedTuple):
    """Directories of an installation, from packages or self-contained below ONE_LOCATION."""

    var: str
    etc: str
    remotes: str
    log: str
    locks: str
    linstor_client_conf: str = "/etc/linstor/linstor-client.conf"
    """The configuration of LINSTOR's own client; it names the controllers if nothing else does."""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> OneLayout:
        """The layout that ONE_LOCATION asks for."""
        location = environment.get("ONE_LOCATION", "")
        if not location:
            return cls("/var/lib/one", "/etc/one", "/var/lib/one/remotes", "/var/log/one", "/var/lock/one")
        var = posixpath.join(location, "var")
        return cls(
            var,
            posixpath.join(location, "etc"),
            posixpath.join(var, "remotes"),
            var,
            posixpath.join(var, "lock"),
        )

    @property
    def configuration(self) -> str:
        """The driver's own settings; below etc/ they survive an upgrade of OpenNebula."""
        return posixpath.join(self.remotes, "etc/datastore/linstor/linstor.conf")

    @property
    def downloader(self) -> str:
        """OpenNebula's program that fetches an image from anywhere."""
        return posixpath.join(self.remotes, "datastore/downloader.sh")


def one_version(layout: OneLayout) -> tuple[int, ...]:
    """The installed version of OpenNebula, such as (6, 10, 5); NEWEST_BEHAVIOUR when it cannot be read."""
    try:
        with open(posixpath.join(layout.remotes, "VERSION"), encoding="ascii", errors="replace") as stream:
            text = stream.read(100)
    except OSError:
        return NEWEST_BEHAVIOUR
    found = _VERSION.match(text.strip())
    return NEWEST_BEHAVIOUR if found is None else tuple(int(part) for part in found.group().split("."))
