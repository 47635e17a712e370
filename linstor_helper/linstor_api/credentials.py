# SPDX-License-Identifier: Apache-2.0
"""How the driver trusts a controller (certificates) and how the controller trusts the driver (key, token)."""

from __future__ import annotations

import json
import os
import ssl
import stat
from typing import NamedTuple

from linstor_helper.errors import ConfigError


class Credentials(NamedTuple):
    """Paths of PEM files and of the token; ``verify`` False accepts any certificate."""

    cafile: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    token_file: str | None = None
    verify: bool = True

    def context(self) -> ssl.SSLContext:
        """What a TLS connection is made with.  Raises ConfigError for a file that cannot be used."""
        try:
            context = ssl.create_default_context(cafile=self.cafile)
        except OSError as error:
            raise _unusable("LINSTOR_CA_FILE", self.cafile, error) from error
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certfile:
            try:
                # an empty password makes an encrypted key an error; without it OpenSSL asks on the terminal
                context.load_cert_chain(self.certfile, self.keyfile, password="")
            except OSError as error:
                raise _unusable("LINSTOR_CERT_FILE", self.certfile, error) from error
        return context

    def token(self, fallback: str = "") -> str:
        """The bearer token; "" when there is none.

        ``fallback`` is the JSON file in which a LINSTOR satellite keeps a token for clients on its machine.
        It counts only when no token is configured, and not when this user may not read it.
        Raises ConfigError when the configured file cannot be used or is open to others.
        """
        if self.token_file is None:
            return _satellite_token(fallback)
        try:
            with open(self.token_file, encoding="ascii") as file:
                mode = os.fstat(file.fileno()).st_mode
                token = file.read().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise _unusable("LINSTOR_TOKEN_FILE", self.token_file, error) from error
        if stat.S_IMODE(mode) & 0o077:
            raise ConfigError(
                f"LINSTOR_TOKEN_FILE {self.token_file} can be read by other users",
                hint=f"chmod 600 {self.token_file}",
            )
        if not token or not token.isprintable() or " " in token:
            raise ConfigError(f"LINSTOR_TOKEN_FILE {self.token_file} does not hold one token")
        return token


def _satellite_token(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return ""
    token = found.get("token", "") if isinstance(found, dict) else ""
    return token if isinstance(token, str) and token.isprintable() else ""


def _unusable(attribute: str, path: str | None, error: Exception) -> ConfigError:
    reason = getattr(error, "strerror", None) or getattr(error, "reason", None) or str(error)
    return ConfigError(f"{attribute} {path} cannot be used: {reason}")
