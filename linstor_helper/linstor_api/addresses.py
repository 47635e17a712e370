# SPDX-License-Identifier: Apache-2.0
"""Where controllers listen: ``host``, ``host:port``, ``linstor://host``, ``linstor+ssl://host:port``."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

from linstor_helper.errors import ConfigError

# REST guide 2.16: the ports of a controller that nobody configured
HTTP_PORT = 3370
HTTPS_PORT = 3371

_SECURE = {"linstor": False, "http": False, "linstor+ssl": True, "https": True}


class Address(NamedTuple):
    """One controller, and whether to speak TLS with it."""

    host: str
    port: int
    secure: bool

    @classmethod
    def parse(cls, text: str) -> Address:
        """Raises ConfigError when ``text`` is none of the forms above."""
        url = text.strip()
        try:
            split = urlsplit(url if "://" in url else f"linstor://{url}")
            secure = _SECURE[split.scheme]
            port = split.port
        except (KeyError, ValueError):
            raise _bad(text) from None
        if not split.hostname or split.username or split.path.strip("/") or split.query or split.fragment:
            raise _bad(text)
        return cls(split.hostname, port or (HTTPS_PORT if secure else HTTP_PORT), secure)

    def redirected(self, location: str) -> Address | None:
        """The HTTPS address that this one points to, or None when it is not on the same host."""
        try:
            split = urlsplit(location)
            port = split.port
        except ValueError:
            return None
        if split.scheme != "https" or (split.hostname or "") != self.host.lower():
            return None
        return Address(self.host, port or HTTPS_PORT, True)

    @property
    def identity(self) -> str:
        """The same for every way to reach one controller: its two default ports serve one cluster."""
        if self.port in (HTTP_PORT, HTTPS_PORT):
            return self.host.lower()
        return f"{self.host.lower()}:{self.port}"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'linstor+ssl' if self.secure else 'linstor'}://{host}:{self.port}"


def _bad(text: str) -> ConfigError:
    return ConfigError(
        f"{text!r} is not the address of a LINSTOR controller",
        hint="write HOST, HOST:PORT, linstor://HOST:PORT or linstor+ssl://HOST:PORT into LINSTOR_CONTROLLERS",
    )
