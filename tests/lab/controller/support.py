# SPDX-License-Identifier: Apache-2.0
"""A raw REST client for tests, a clock that tests move, short names for reply entries."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any

from lab.controller import codes
from lab.controller.codes import Reply

GIB = 1 << 20
_LETTERS = {codes.ERROR: "E", codes.WARNING: "W", codes.INFO: "I", codes.SUCCESS: "S"}


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def told(entries: Any) -> list[str]:
    """Entries of a reply as ``E997``, ``W1002``, ``I10003``, ``S1``."""
    if isinstance(entries, Reply):
        entries = entries.to_json()
    return [f"{_LETTERS[codes.kind_of(one['ret_code'])]}{codes.code_of(one['ret_code'])}" for one in entries]


@dataclass
class Answer:
    status: int
    json: Any
    headers: dict[str, str]

    @property
    def told(self) -> list[str]:
        return told(self.json)

    @property
    def problem(self) -> tuple[int, str]:
        """HTTP status and the first error, e.g. (500, "E997")."""
        return self.status, next((one for one in self.told if one.startswith("E")), "")


class Rest:
    """One kept connection to a controller. Paths are below /v1 unless they start with a slash."""

    def __init__(self, host: str, port: int, *, timeout: float = 10.0) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=timeout)

    def close(self) -> None:
        self._connection.close()

    def call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        target = path if path.startswith("/") else f"/v1/{path}"
        text = body if isinstance(body, (str, bytes)) else None if body is None else json.dumps(body)
        self._connection.request(method, target, body=text, headers=headers or {})
        response = self._connection.getresponse()
        data = response.read()
        is_json = response.headers.get("Content-Type") == "application/json"
        return Answer(response.status, json.loads(data) if is_json and data else data, dict(response.headers))

    def get(self, path: str) -> Any:
        """The JSON of a list or an object that is there."""
        answer = self.call("GET", path)
        assert answer.status == 200, answer
        return answer.json

    def post(self, path: str, body: Any = None) -> Answer:
        return self.call("POST", path, {} if body is None else body)

    def put(self, path: str, body: Any = None) -> Answer:
        return self.call("PUT", path, {} if body is None else body)

    def delete(self, path: str) -> Answer:
        return self.call("DELETE", path)

    # what most tests start with

    def spawn(self, name: str, *sizes: int, group: str = "one", **more: Any) -> Answer:
        body = {"resource_definition_name": name, "volume_sizes": list(sizes) or [GIB], **more}
        return self.post(f"resource-groups/{group}/spawn", body)

    def make_available(self, name: str, node: str, **body: Any) -> Answer:
        return self.post(f"resource-definitions/{name}/resources/{node}/make-available", body)

    def resource(self, name: str, node: str) -> Any:
        return self.get(f"resource-definitions/{name}/resources/{node}")

    def flags(self, name: str) -> dict[str, list[str]]:
        """Node -> flags of its resource."""
        found = self.get(f"resource-definitions/{name}/resources")
        return {one["node_name"]: one.get("flags", []) for one in found}

    def volume(self, name: str, node: str, number: int = 0) -> Any:
        return self.get(f"resource-definitions/{name}/resources/{node}/volumes/{number}")

    def snapshot(self, name: str, snapshot: str, **more: Any) -> Answer:
        return self.post(f"resource-definitions/{name}/snapshots", {"name": snapshot, **more})

    def clone(self, source: str, name: str, **more: Any) -> Answer:
        return self.post(f"resource-definitions/{source}/clone", {"name": name, **more})

    def clone_status(self, source: str, name: str) -> str:
        return str(self.get(f"resource-definitions/{source}/clone/{name}")["status"])

    def create_resource(self, node: str, *flags: str, name: str = "vm-1", pool: str = "thin") -> Answer:
        """Without flags in the pool, with flags as they say."""
        resource: dict[str, Any] = {"node_name": node, "flags": list(flags)}
        if not flags:
            resource = {"node_name": node, "props": {"StorPoolName": pool}}
        return self.post(f"resource-definitions/{name}/resources", [{"resource": resource}])

    def delete_resource(self, node: str, *, keep: bool = False, name: str = "vm-1") -> Answer:
        """``keep``: with keep_tiebreaker."""
        query = "?keep_tiebreaker=True" if keep else ""
        return self.delete(f"resource-definitions/{name}/resources/{node}{query}")

    def finished_clone(self, source: str, name: str, **more: Any) -> None:
        assert self.clone(source, name, **more).status == 201
        while self.clone_status(source, name) == "CLONING":
            pass
        assert self.clone_status(source, name) == "COMPLETE"


TIE_BREAKER = ["DISKLESS", "DRBD_DISKLESS", "TIE_BREAKER"]
DISKLESS = ["DISKLESS", "DRBD_DISKLESS"]
