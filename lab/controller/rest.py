# SPDX-License-Identifier: Apache-2.0
"""From an HTTP request to a call on the cluster, and from its outcome to an HTTP answer."""

from __future__ import annotations

import functools
import json
import traceback
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map, Rule

from lab.controller import bodies, codes, versions
from lab.controller.api import ROUTES, Call, Route, Stream
from lab.controller.api.route import Answer
from lab.controller.cluster import Cluster
from lab.controller.codes import ApiError, Entry, Reply
from lab.controller.dying import ControllerDied
from lab.controller.versions import Version

_OPEN_PATHS = ("/", "/ui", "/health")


class Unanswered(Exception):
    """LINSTOR would never answer this request."""


@dataclass
class Response:
    """``stream`` instead of a body for events."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    stream: Stream | None = None


def _json(status: int, body: Any) -> Response:
    return Response(status, json.dumps(body, separators=(",", ":")).encode())


def http_status(reply: Reply, created: bool) -> int:
    """Derived from the first error entry only; 401 is made elsewhere."""
    for entry in reply.entries:
        if entry.kind == codes.ERROR:
            if 300 <= entry.code <= 399:
                return 404
            return 403 if 400 <= entry.code <= 424 else 500
    return 201 if created else 200


@functools.cache
def _routes(version: Version) -> Map:
    """Routes that a server of the version has; compiling them is dear, so once per version."""
    known = [one for one in ROUTES if version >= versions.parse(one.since)]
    rules = [Rule(one.path, methods=[one.method], endpoint=one) for one in known]
    made = Map(rules, strict_slashes=False, merge_slashes=False)
    made.update()
    return made


class RestApi:
    """The routes that a server of the cluster's REST version has.

    ``clone_swallows_bad_bodies``: like LINSTOR's, the clone handler never answers an unreadable body.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.clone_swallows_bad_bodies = False
        self._map = _routes(cluster.rest_version)

    def handle(
        self, method: str, path: str, query: str, body: bytes, headers: dict[str, str], address: str
    ) -> Response:
        """Serve one request. ``path`` is decoded; header names are lower-case. Raises Unanswered, and
        ControllerDied."""
        self.cluster.satellites.begin()
        if path in _OPEN_PATHS:
            return Response(200, b"", "text/plain")
        if not self.cluster.settings.admits(headers.get("authorization", ""), address):
            return unauthorized()
        try:
            route, args = self._map.bind("controller").match(path, method=method)
        except MethodNotAllowed as error:
            return Response(405, b"", "text/plain", {"Allow": ", ".join(sorted(error.valid_methods or ()))})
        except NotFound:
            return self._unknown_path(path)
        call = Call(self.cluster, dict(args), parse_qs(query, keep_blank_values=True), headers=headers)
        try:
            call.body = self._body(route, body)
        except bodies.BodyError as error:
            if not route.answers_bad_body and self.clone_swallows_bad_bodies:
                raise Unanswered from error
            return self._bad_body(route, str(error))
        return self._run(route, call)

    def _run(self, route: Route, call: Call) -> Response:
        try:
            result = route.call(call)
        except ApiError as error:
            result = error.reply
        except ControllerDied:
            raise
        except Exception as error:  # noqa: BLE001
            # a defect of the simulator shows itself as LINSTOR's own defects do: an error report and 500
            report = self.cluster.satellites.report("controller", traceback.format_exc())
            reply = Reply()
            reply.error(codes.UNKNOWN_ERROR, f"{type(error).__name__}: {error}", error_report_ids=[report])
            result = reply
        if isinstance(result, Reply):
            return _json(http_status(result, route.created), result.to_json())
        if isinstance(result, Answer):
            return _json(result.status, result.body)
        if isinstance(result, Stream):
            return Response(200, content_type="text/event-stream", stream=result)
        return _json(200, result)

    def _body(self, route: Route, body: bytes) -> Any:
        if route.body is None:
            return None
        if not body.strip():
            if route.optional_body:
                return None
            raise bodies.BodyError("no content to read")
        try:
            value = json.loads(body)
        except ValueError as error:
            raise bodies.BodyError(str(error)) from None
        return bodies.read(bodies.Required(route.body), value, self.cluster.rest_version)

    def _bad_body(self, route: Route, message: str) -> Response:
        entry = Entry(codes.ERROR, codes.PARSE_ERROR, f"Unable to read the request: {message}")
        return _json(400 if route.sync else 500, [entry.to_json()])

    def _unknown_path(self, path: str) -> Response:
        entry = Entry(codes.ERROR, codes.UNKNOWN_ERROR, f"This server has no path '{path}'.")
        return _json(404, [entry.to_json()])


def unauthorized() -> Response:
    """Missing or bad credentials."""
    entry = Entry(codes.ERROR, codes.ACC_DENIED, "Authentication failed: a valid token is needed.")
    response = _json(401, [entry.to_json()])
    response.headers["WWW-Authenticate"] = 'Bearer realm="LINSTOR"'
    return response
