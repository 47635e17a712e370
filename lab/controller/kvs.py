# SPDX-License-Identifier: Apache-2.0
"""The key-value store: named maps without a whitelist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab.controller import codes, props
from lab.controller.codes import Reply
from lab.controller.locking import locked
from lab.controller.names import key

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster

_MAX_KEY = 256


class KeyValueStore:
    """Calls below ``/v1/key-value-store``. A store exists while it has pairs."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._stores: dict[str, tuple[str, dict[str, str]]] = {}

    @locked
    def list_all(self) -> list[dict[str, Any]]:
        return [{"name": name, "props": dict(pairs)} for name, pairs in self._stores.values()]

    @locked
    def get(self, name: str) -> list[dict[str, Any]]:
        """An array of one. Raises 316."""
        if key(name) not in self._stores:
            raise codes.failure(codes.NOT_FOUND_KVS, f"Key-value store '{name}' not found.")
        stored, pairs = self._stores[key(name)]
        return [{"name": stored, "props": dict(pairs)}]

    @locked
    def modify(self, name: str, body: dict[str, Any]) -> Reply:
        reply = Reply(codes.MODIFY, codes.KVS, KVS=name)
        override = body.get("override_props") or {}
        for one in override:
            if not one or len(one) > _MAX_KEY:
                raise reply.fail(codes.INVLD_PROP, f"The key '{one[:60]}' is not valid.")
        stored, pairs = self._stores.get(key(name), (name, {}))
        props.apply(pairs, override, body.get("delete_props") or (), body.get("delete_namespaces") or ())
        if pairs:
            self._stores[key(name)] = (stored, pairs)
        else:
            self._stores.pop(key(name), None)
        reply.success(codes.MODIFIED, f"Key-value store '{name}' modified.")
        return reply

    @locked
    def delete(self, name: str) -> Reply:
        reply = Reply(codes.DELETE, codes.KVS, KVS=name)
        if self._stores.pop(key(name), None) is None:
            reply.warning(codes.W_NOT_FOUND, f"Key-value store '{name}' not found.")
        else:
            reply.success(codes.DELETED, f"Key-value store '{name}' deleted.")
        return reply
