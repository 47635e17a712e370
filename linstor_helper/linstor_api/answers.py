# SPDX-License-Identifier: Apache-2.0
"""Complete HTTP answers, and whether it was LINSTOR that gave them."""

from __future__ import annotations

import json
import socket
import ssl
import zlib
from email.message import Message
from http.client import HTTPException
from typing import Any

_REDIRECTS = (301, 302, 303, 307, 308)


class NotServed(Exception):
    """Nobody answered, or somebody who is not a LINSTOR controller; the text says which."""


class Answer:
    """An answer with its body; has what python-linstor looks at in ``http.client.HTTPResponse``."""

    def __init__(self, status: int, headers: Message, body: bytes) -> None:
        self.status = status
        self._headers = headers
        self._body = body

    def getheader(self, name: str, default: str | None = None) -> str | None:
        return self._headers.get(name, default)

    def read(self) -> bytes:
        return self._body

    def close(self) -> None:
        """Nothing is left to be read."""

    @property
    def location(self) -> str:
        """Where a redirect points to; "" when this is none."""
        return self._headers.get("Location", "") if self.status in _REDIRECTS else ""

    def json(self) -> Any:
        """Raises ValueError when the body is something else."""
        body = self._body
        if self._headers.get("Content-Encoding") == "gzip":
            body = zlib.decompress(body, zlib.MAX_WBITS | 16)
        return json.loads(body)

    def check(self) -> None:
        """Raises NotServed unless LINSTOR answered.

        REST guide 1.2 and 1.3: a failure is a list of entries, or an object with such a list as ``messages``.
        A page of a proxy or of another service is neither.
        """
        if self.status in _REDIRECTS:
            raise NotServed(f"redirects to {self.location or 'nowhere'}")
        try:
            data = self.json()
        except (ValueError, zlib.error):
            data = None
        if data is None or (self.status >= 400 and not _is_failure(data)):
            raise NotServed(f"HTTP status {self.status}, and not from a LINSTOR controller")


def _is_failure(data: Any) -> bool:
    if isinstance(data, dict):
        data = data.get("messages")
    return isinstance(data, list) and any(isinstance(one, dict) and "ret_code" in one for one in data)


def reason(error: Exception, seconds: float) -> str:
    """Why there is no answer, in a few words; ``seconds`` is how long it was waited for."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not accepted: {error.verify_message}; see LINSTOR_CA_FILE"
    # Python 3.9 does not yet count it as TimeoutError
    if isinstance(error, socket.timeout):
        return f"silent for {seconds:g} s"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ConnectionError):
        return "connection lost"
    if isinstance(error, HTTPException):
        return "broken answer"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
