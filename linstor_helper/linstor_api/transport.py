# SPDX-License-Identifier: Apache-2.0
"""python-linstor's client over one kept connection to the controller of the list that serves.

python-linstor's own transport opens two connections, probes without verifying certificates, stops at the
first controller that hangs and repeats requests that change things.  Its methods run unchanged on this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import linstor

from linstor_helper.errors import ConfigError, ControllerUnavailable, UnknownOutcome
from linstor_helper.linstor_api import replies
from linstor_helper.linstor_api.addresses import Address
from linstor_helper.linstor_api.answers import Answer, NotServed
from linstor_helper.linstor_api.connection import Connection, Patience
from linstor_helper.linstor_api.credentials import Credentials

REST_FLOOR = (1, 25)
_VERSION = "/v1/controller/version"


class Transport(linstor.Linstor):  # type: ignore[misc]
    """Connects at the first request.  ``warnings`` takes what the administrator should know."""

    def __init__(
        self, addresses: Sequence[Address], credentials: Credentials, patience: Patience, warnings: list[str]
    ) -> None:
        # A token as argument keeps python-linstor from reading its own file, which fails for oneadmin.
        self._satellite_token = getattr(linstor.Linstor, "AUTH_JSON_PATH", "")
        options = {"auth_token": "-"} if self._satellite_token else {}
        super().__init__(str(addresses[0]), timeout=patience.answer, **options)
        self._addresses = list(addresses)
        self._credentials = credentials
        self._patience = patience
        self._warnings = warnings
        self._rest_conn: Connection | None = None
        self._rest_version: tuple[int, ...] = ()
        self._linstor_version: tuple[int, ...] = ()

    @property
    def rest_version(self) -> tuple[int, ...]:
        """Of the controller that serves; connects when that is not yet known."""
        self.ready()
        return self._rest_version

    @property
    def linstor_version(self) -> tuple[int, ...]:
        """As ``rest_version``; without what follows the numbers (1.34.0-rc.1)."""
        self.ready()
        return self._linstor_version

    # --- finding the controller

    def connect(self) -> bool:
        """Finds the controller that serves, beginning with the one that served last.

        Raises ControllerUnavailable with the reason of each; ConfigError when the one that serves is too old
        or does not let us in.
        """
        reasons = []
        for address in list(self._addresses):
            try:
                found = self._look(address)
            except NotServed as error:
                reasons.append(f"{address}: {error}")
                continue
            # the end of a redirect takes the place of its start
            self._addresses[self._addresses.index(address)] = found
            self._addresses.sort(key=lambda one: one != found)
            self._connected = True
            return True
        raise ControllerUnavailable(
            f"No LINSTOR controller serves: {', '.join(reasons)}",
            hint="check LINSTOR_CONTROLLERS and the service linstor-controller",
        )

    def _look(self, address: Address) -> Address:
        """Connects to a controller and asks for its version.  Answers where it serves.  Raises NotServed."""
        connection = self._open(address)
        answer = self._exchange(connection, "GET", _VERSION, None, self._patience.look)
        if answer.location:
            target = address.redirected(answer.location)
            if target is None:
                self._drop()
                raise NotServed(f"redirects to {answer.location}")
            connection = self._open(target)
            answer = self._exchange(connection, "GET", _VERSION, None, self._patience.look)
        try:
            answer.check()
            self._accept(answer)
        except (NotServed, ConfigError):
            self._drop()
            raise
        if self._credentials.token_file and not connection.address.secure:
            self._warnings.append(
                f"LINSTOR_TOKEN_FILE: the token is not sent to {address}, which has no TLS; use linstor+ssl://"
            )
        if connection.is_stale:
            # some servers end every connection after one answer
            self._open(connection.address)
        return connection.address

    def _accept(self, answer: Answer) -> None:
        """Raises NotServed, ConfigError."""
        data = answer.json()
        error = replies.failure(replies.entries(data)) if answer.status >= 400 else None
        if isinstance(error, ConfigError):
            raise error
        try:
            text = data["rest_api_version"]
            version = tuple(int(part) for part in text.split("."))
            release = tuple(int(part) for part in data["version"].split("-")[0].split("."))
        except (AttributeError, KeyError, TypeError, ValueError):
            raise NotServed(str(error or "this is not a LINSTOR controller")) from None
        if version < REST_FLOOR:
            raise ConfigError(
                f"LINSTOR {data.get('version')} with REST API {text} is too old, REST API 1.25 is needed",
                hint="upgrade the LINSTOR controller to 1.31 or later",
            )
        self._rest_version = version
        self._linstor_version = release

    # --- the connection

    def _open(self, address: Address) -> Connection:
        """Raises NotServed, ConfigError."""
        self._drop()
        opened = Connection(address, self._credentials, self._patience, self._satellite_token)
        self._rest_conn = opened
        self._ctrl_host = str(address)
        return opened

    def _drop(self) -> None:
        self.disconnect()
        self._rest_conn = None

    def ready(self) -> None:
        """Makes sure of a connection that can take a request.  Raises as ``connect`` does."""
        if not self._connected or self._rest_conn is None:
            self.connect()
        elif self._rest_conn.is_stale:
            try:
                self._open(self._rest_conn.address)
            except NotServed:
                self.connect()
            self._connected = True

    # --- requests

    def _rest_request_base(
        self, apicall: str, method: str, path: str, body: Any = None, reconnect: bool = True
    ) -> Answer:
        """Where all methods of python-linstor send their requests.  Raises as ``_request`` does."""
        return self._request(method, path, body, reads=method == "GET")

    def _request(self, method: str, path: str, body: Any, reads: bool) -> Answer:
        """A request that only reads is repeated once when it breaks, at whichever controller serves then.

        Any other is not: it may have taken effect.  Raises UnknownOutcome, ControllerUnavailable.
        """
        self.ready()
        try:
            return self._send(method, path, body)
        except NotServed as error:
            if not reads:
                raise UnknownOutcome(
                    f"The LINSTOR controller {self._ctrl_host} did not answer: {error}",
                    details=f"{method} {path} may have taken effect",
                    hint="see whether the controller runs, then repeat the operation",
                ) from error
        self.connect()
        try:
            return self._send(method, path, body)
        except NotServed as error:
            raise ControllerUnavailable(
                f"The LINSTOR controller {self._ctrl_host} did not answer: {error}",
                details=f"{method} {path} failed twice",
            ) from error

    def _send(self, method: str, path: str, body: Any) -> Answer:
        """Raises NotServed."""
        assert self._rest_conn is not None
        answer = self._exchange(self._rest_conn, method, path, body, self._patience.answer)
        try:
            answer.check()
        except NotServed:
            self._drop()
            raise
        return answer

    def _exchange(self, connection: Connection, method: str, path: str, body: Any, seconds: float) -> Answer:
        try:
            return connection.exchange(method, path, body, self._http_headers, seconds)
        except NotServed:
            self._drop()
            raise

    def raw(self, method: str, path: str, *names: str, body: Any = None, reads: bool = False) -> Any:
        """A request that python-linstor has no method for; ``names`` fill the braces of ``path``.

        Answers the JSON as it came, whatever the HTTP status.  ``reads``: a POST that changes nothing.
        """
        target = "/v1" + path.format(*(quote(name, safe="") for name in names))
        return self._request(method, target, body, reads or method == "GET").json()
