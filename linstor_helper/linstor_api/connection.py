# SPDX-License-Identifier: Apache-2.0
"""A kept HTTP connection to one controller, with or without TLS."""

from __future__ import annotations

import json
import select
import time
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, NamedTuple

from linstor_helper.linstor_api import answers
from linstor_helper.linstor_api.addresses import Address
from linstor_helper.linstor_api.answers import Answer, NotServed
from linstor_helper.linstor_api.credentials import Credentials


class Patience(NamedTuple):
    """Seconds: to get a connection, to wait for an answer, to trust a connection that was not used.

    The REST server ends idle connections after 30 s; a request that changes things must not meet that end.
    """

    connect: float
    answer: float
    idle: float = 20.0
    shortest_look: float = 5.0

    @property
    def look(self) -> float:
        """For the answer of a controller that is only asked whether it serves."""
        return max(self.connect, self.shortest_look)


class Connection:
    """Connected from the start.  Raises NotServed; ConfigError for credentials that cannot be used."""

    def __init__(
        self, address: Address, credentials: Credentials, patience: Patience, satellite_token: str
    ) -> None:
        self.address = address
        self._patience = patience
        self._authorization: dict[str, str] = {}
        self._http: HTTPConnection
        if address.secure:
            # a token goes over TLS and never over plain HTTP
            token = credentials.token(satellite_token)
            if token:
                self._authorization["Authorization"] = f"Bearer {token}"
            context = credentials.context()
            self._http = HTTPSConnection(
                address.host, address.port, timeout=patience.connect, context=context
            )
        else:
            self._http = HTTPConnection(address.host, address.port, timeout=patience.connect)
        try:
            self._http.connect()
        except OSError as error:
            self._http.close()
            raise NotServed(answers.reason(error, patience.connect)) from error
        self._used = time.monotonic()

    def close(self) -> None:
        self._http.close()

    @property
    def is_stale(self) -> bool:
        """Whether the other end closed the connection, or may be about to."""
        sock = self._http.sock
        if sock is None or time.monotonic() - self._used > self._patience.idle:
            return True
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        # a server does not speak unasked: whatever can be read is the end of the connection
        return bool(poll.poll(0))

    def exchange(
        self, method: str, target: str, body: Any, headers: Mapping[str, str], seconds: float
    ) -> Answer:
        """One request and its complete answer.  Raises NotServed, and then the connection is closed."""
        sent = {**headers, **self._authorization}
        text = None
        if body is not None:
            text = json.dumps(body)
            sent["Content-Type"] = "application/json"
        try:
            self._http.sock.settimeout(seconds)
            self._http.request(method, target, body=text, headers=sent)
            response = self._http.getresponse()
            answer = Answer(response.status, response.headers, response.read())
        except (OSError, HTTPException) as error:
            self.close()
            raise NotServed(answers.reason(error, seconds)) from error
        except BaseException:
            # a signal ended the action: half an answer must not be taken for the next one
            self.close()
            raise
        self._used = time.monotonic()
        return answer
