# SPDX-License-Identifier: Apache-2.0
"""What oned knows, by XML-RPC; OpenNebula's own commands are the way out when that does not work.

A call takes milliseconds, a command a quarter of a second and more, because it starts Ruby.  Both look for
the address and the session in the same places (OpenNebula 5.12 ... 7.4).
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any, NamedTuple

from linstor_helper.errors import CommandFailed, DeadlineExceeded, NotFoundError, NotReadyError, one_line
from linstor_helper.ports import Hosts

DEFAULT_ENDPOINT = "http://localhost:2633/RPC2"
TIMEOUT = 30.0
"""Seconds that oned may let us wait."""

_AUTHENTICATION = 0x0100
_NO_EXISTS = 0x0400
_SERVER_HOME = "/var/lib/one"


class _Kind(NamedTuple):
    name: str
    method: str
    command: str


_VM = _Kind("VM", "one.vm.info", "onevm")
_DATASTORE = _Kind("datastore", "one.datastore.info", "onedatastore")
_IMAGE = _Kind("image", "one.image.info", "oneimage")
_HOST = _Kind("host", "one.host.info", "onehost")


class _Unusable(Exception):
    """XML-RPC does not work here and a command might; the text says why."""


class OneApi:
    """An adapter for ``ports.OpenNebula``.

    The session (user:password) is sent to oned and nowhere else: it is in no argument, message or log.
    """

    def __init__(self, environment: Mapping[str, str], hosts: Hosts, timeout: float = TIMEOUT) -> None:
        """``environment`` says where oned is and who we are; ``timeout`` is in seconds."""
        self._environment = environment
        self._hosts = hosts
        self._timeout = timeout

    def vm(self, vm_id: int) -> bytes:
        """The <VM> document.

        Raises NotFoundError when there is no such VM, NotReadyError when OpenNebula does not tell.
        """
        return self._document(_VM, vm_id)

    def datastore(self, datastore_id: int) -> bytes:
        """The <DATASTORE> document, with encrypted attributes as they are stored; raises as ``vm``."""
        return self._document(_DATASTORE, datastore_id)

    def image(self, image_id: int) -> bytes:
        """The <IMAGE> document; raises as ``vm``."""
        return self._document(_IMAGE, image_id)

    def host(self, host_id: int) -> bytes:
        """The <HOST> document; raises as ``vm``."""
        return self._document(_HOST, host_id)

    def _document(self, kind: _Kind, object_id: int) -> bytes:
        endpoint = self._endpoint()
        try:
            ok, value, code = self._call(endpoint, kind.method, object_id)
        except _Unusable as error:
            return self._show(kind, object_id, f"{_public(endpoint)}: {error}")
        if ok:
            return str(value).encode()
        if code == _NO_EXISTS:
            raise NotFoundError(f"{kind.name} {object_id} does not exist in OpenNebula")
        if code == _AUTHENTICATION:
            return self._show(kind, object_id, f"{_public(endpoint)}: the session is not accepted")
        raise NotReadyError(f"OpenNebula does not tell about {kind.name} {object_id}", details=str(value))

    def _call(self, endpoint: str, method: str, object_id: int) -> tuple[bool, Any, int]:
        """oned's answer: success, value or message, code.

        Raises _Unusable, and NotReadyError when oned is silent: a command would wait for the same oned.
        """
        # Some actions get by without asking OpenNebula; they do not pay for the imports.
        import socket
        import xmlrpc.client
        from http.client import HTTPException
        from urllib.parse import urlsplit
        from xml.parsers.expat import ExpatError

        url = urlsplit(endpoint)
        if url.scheme not in ("http", "https") or not url.netloc:
            raise _Unusable("this is no http address")
        request = xmlrpc.client.dumps((self._session(), object_id), method).encode()
        secure = url.scheme == "https"
        transport = xmlrpc.client.SafeTransport() if secure else xmlrpc.client.Transport()
        try:
            transport.make_connection(url.netloc).timeout = self._timeout
            reply: Any = transport.request(url.netloc, url.path or "/RPC2", request)
            ok, value, code = reply[0][:3]
            return bool(ok), value, int(code)
        except socket.timeout:
            raise NotReadyError(
                f"OpenNebula is silent at {_public(endpoint)} for {self._timeout:g} s", hint="check oned"
            ) from None
        except xmlrpc.client.ProtocolError as error:
            raise _Unusable(f"HTTP status {error.errcode}") from None
        except (OSError, HTTPException) as error:
            raise _Unusable(one_line(str(error)) or type(error).__name__) from None
        except (xmlrpc.client.Error, ExpatError, ValueError, TypeError, LookupError):
            raise _Unusable("the answer is not one of oned") from None
        finally:
            transport.close()

    def _show(self, kind: _Kind, object_id: int, reason: str) -> bytes:
        """The document by OpenNebula's command; ``reason`` is why XML-RPC did not do."""
        argv = [kind.command, "show", "-x", str(object_id)]
        try:
            return self._hosts.local(argv, environment=self._environment).encode()
        except (CommandFailed, DeadlineExceeded) as error:
            if f"[{kind.method}] Error getting" in str(error):
                raise NotFoundError(f"{kind.name} {object_id} does not exist in OpenNebula") from None
            raise NotReadyError(
                f"OpenNebula does not answer at {reason}",
                details=f"{kind.command} show {object_id}: {error}",
                hint="check that oned runs, and ONE_XMLRPC and ONE_AUTH of oneadmin",
            ) from None

    def _endpoint(self) -> str:
        found = self._environment.get("ONE_XMLRPC", "").strip()
        return found or self._first_file("one_endpoint") or DEFAULT_ENDPOINT

    def _session(self) -> str:
        session = _content(self._environment.get("ONE_AUTH", "")) or self._first_file("one_auth")
        if not session:
            raise _Unusable("there is no file with a session (ONE_AUTH, ~/.one/one_auth)")
        return session

    def _first_file(self, name: str) -> str:
        """Contents of a file of the user, else of the one of the server."""
        homes = (self._environment.get("HOME", ""), _SERVER_HOME)
        texts = (_content(posixpath.join(home, ".one", name)) for home in homes if home)
        return next((text for text in texts if text), "")


def _public(endpoint: str) -> str:
    """The address without the user and password that it may hold."""
    scheme, separator, rest = endpoint.rpartition("://")
    return scheme + separator + rest.rpartition("@")[2]


def _content(path: str) -> str:
    """The text of a file without the white space at its end; empty when it cannot be read."""
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read().rstrip()
    except (OSError, UnicodeDecodeError):
        return ""
