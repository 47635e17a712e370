# SPDX-License-Identifier: Apache-2.0
"""The list of controllers: where it comes from, and one form for all spellings."""

from __future__ import annotations

import re
from collections.abc import Mapping

from linstor_helper.errors import ConfigError

PORT = 3370
TLS_PORT = 3371
DEFAULT = "localhost"

_SCHEMES = {
    "": "linstor",
    "linstor": "linstor",
    "http": "linstor",
    "linstor+ssl": "linstor+ssl",
    "https": "linstor+ssl",
}
_CONTROLLER = re.compile(
    r"(?:(?P<scheme>[A-Za-z+]+)://)?"
    r"(?:\[(?P<bracketed>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9_.-]+)|(?P<bare>[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*))"
    r"(?(bare)|(?::(?P<port>[0-9]{1,5}))?)"
    r"/?\Z"
)


def normalise(text: str) -> tuple[str, ...]:
    """``linstor://host:port`` or ``linstor+ssl://host:port`` for each entry of a list, in its order.

    Commas or blanks separate entries; plain names mean HTTP on port 3370, https:// and linstor+ssl:// mean
    TLS on port 3371.  IPv6 addresses may stand without brackets when there is no port.
    Raises ValueError that quotes the wrong entry, unless it may hold a password.
    """
    uris = dict.fromkeys(_uri(entry) for entry in re.split(r"[\s,]+", text.strip(", \t\r\n")))
    return tuple(uris)


def default(environment: Mapping[str, str], client_conf: str) -> str:
    """The list of LINSTOR's own client on this machine: LS_CONTROLLERS, its configuration, localhost."""
    return environment.get("LS_CONTROLLERS", "").strip() or _from_client(client_conf) or DEFAULT


def _uri(entry: str) -> str:
    if "@" in entry:
        raise ValueError(
            "has a user or a password in an address; use LINSTOR_TOKEN_FILE or LINSTOR_CERT_FILE"
        )
    match = _CONTROLLER.match(entry)
    scheme = None if match is None else _SCHEMES.get((match["scheme"] or "").lower())
    if match is None or scheme is None:
        raise ValueError(
            f"has an entry that is no controller (HOST, HOST:PORT, linstor+ssl://HOST:PORT): {entry!r}"
        )
    host = match["host"] or f"[{_ipv6(match['bracketed'] or match['bare'])}]"
    port = int(match["port"] or (PORT if scheme == "linstor" else TLS_PORT))
    if not 0 < port < 65536:
        raise ValueError(f"has an entry without a valid port: {entry!r}")
    return f"{scheme}://{host}:{port}"


def _ipv6(text: str) -> str:
    # Only who uses IPv6 pays for the import.
    import socket

    try:
        return socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, text))
    except OSError:
        raise ValueError(f"has an entry that is no IPv6 address: {text!r}") from None


def _from_client(path: str) -> str:
    """``controllers`` of the section [global]."""
    # Only who does not name controllers in OpenNebula pays for the import.
    import configparser

    parser = configparser.RawConfigParser()
    try:
        parser.read(path, encoding="utf-8")
        return parser.get("global", "controllers", fallback="").strip()
    except (configparser.Error, OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
