# SPDX-License-Identifier: Apache-2.0
"""Controller, nodes, pools, key-value store, passphrase, tokens, error reports, events."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from lab.controller import bodies
from lab.controller.api.route import Call, Route, Stream

_POLL = 0.1


def _version(call: Call) -> Any:
    return {
        "version": call.cluster.linstor_version_text,
        "git_hash": "5f1a3d7c9e2b4a6088d1c3e5f70912b4d6a8cace",
        "build_time": "2026-06-02T09:00:00+00:00",
        "rest_api_version": call.cluster.rest_version_text,
    }


def _pools(call: Call) -> Any:
    nodes = [call.args["node"]] if "node" in call.args else call.values("nodes")
    if "node" in call.args:
        call.cluster.node(call.args["node"])
    cached = call.flag("cached") and call.cluster.at_least("1.13")
    found = call.cluster.pools.list_all(nodes, call.values("storage_pools"), call.values("props"), cached)
    limit, offset = call.page
    return found[offset : offset + limit] if limit else found


def _pool_definitions(call: Call) -> Any:
    found = call.cluster.pools.list_all([], [], [], cached=True)
    return [{"storage_pool_name": name} for name in sorted({one["storage_pool_name"] for one in found})]


def _error_reports(call: Call) -> Any:
    found = call.cluster.satellites.list_reports(
        call.first("node"), call.number("since"), call.number("to"), call.flag("withContent")
    )
    limit, offset = call.page
    return found[offset : offset + limit] if limit else found


def _create_token(call: Call) -> Any:
    expires = call.body.get("expires_at")
    seconds = datetime.fromisoformat(expires.replace("Z", "+00:00")).timestamp() if expires else 0.0
    return call.cluster.settings.token_reply(
        call.body["description"], seconds, call.body.get("ip_filter") or ""
    )


def _stats(count: str) -> Any:
    counts = {
        "nodes": lambda cluster: len(cluster.nodes),
        "resource-groups": lambda cluster: len(cluster.rgs),
        "resource-definitions": lambda cluster: len(cluster.rds),
        "resources": lambda cluster: sum(len(rd.resources) for rd in cluster.rds.values()),
        "storage-pools": lambda cluster: sum(len(node.pools) for node in cluster.nodes.values()),
        "error-reports": lambda cluster: len(cluster.satellites.reports),
    }
    return lambda call: {"count": counts[count](call.cluster)}


def _event(name: str, payload: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(payload)}\n\n".encode()


def _node_events(call: Call) -> Stream:
    subscriber = call.cluster.events.subscribe()

    def events() -> Iterator[bytes]:
        try:
            while True:
                try:
                    yield _event(*subscriber.get(timeout=_POLL))
                except queue.Empty:
                    # lets the server notice a client that has gone
                    yield b""
        finally:
            call.cluster.events.unsubscribe(subscriber)

    return Stream(events())


def _promotion_events(call: Call) -> Stream:
    whole = call.headers.get("last-event-id") == "current"
    known = {} if whole else call.cluster.events.promotions()

    def events() -> Iterator[bytes]:
        while True:
            now = call.cluster.events.promotions()
            for (name, node), may_promote in now.items():
                if known.get((name, node)) != may_promote:
                    payload = {"resource_name": name, "node_name": node, "may_promote": may_promote}
                    yield _event("may-promote-change", payload)
            known.clear()
            known.update(now)
            yield b""
            time.sleep(_POLL)

    return Stream(events())


ROUTES = [
    Route("GET", "/v1/controller/version", _version),
    Route("GET", "/v1/controller/properties", lambda c: c.cluster.settings.get()),
    Route(
        "POST",
        "/v1/controller/properties",
        lambda c: c.cluster.settings.modify(c.body),
        body=bodies.CHANGES,
        created=True,
        sync=True,
    ),
    Route(
        "DELETE",
        "/v1/controller/properties/<path:key>",
        lambda c: c.cluster.settings.modify({"delete_props": [c.args["key"]]}),
    ),
    Route(
        "GET",
        "/v1/encryption/passphrase",
        lambda c: {"status": c.cluster.settings.passphrase_status()},
        since="1.25",
    ),
    Route(
        "POST",
        "/v1/encryption/passphrase",
        lambda c: c.cluster.settings.create_passphrase(c.body.get("new_passphrase") or ""),
        body=bodies.PASSPHRASE,
        created=True,
        sync=True,
    ),
    Route(
        "PATCH",
        "/v1/encryption/passphrase",
        lambda c: c.cluster.settings.enter_passphrase(c.body),
        body=bodies.TEXT,
        sync=True,
    ),
    Route(
        "PUT",
        "/v1/encryption/passphrase",
        lambda c: c.cluster.settings.change_passphrase(
            c.body.get("old_passphrase") or "", c.body.get("new_passphrase") or ""
        ),
        body=bodies.PASSPHRASE,
        sync=True,
    ),
    Route(
        "POST",
        "/v1/controller/auth/initialize-token-auth",
        lambda c: c.cluster.settings.initialize_tokens(c.body),
        body=bodies.TOKEN_INIT,
        created=True,
        since="1.28",
    ),
    Route("GET", "/v1/controller/auth/token", lambda c: c.cluster.settings.list_tokens(), since="1.28"),
    Route("POST", "/v1/controller/auth/token", _create_token, body=bodies.TOKEN, created=True, since="1.28"),
    Route(
        "PUT",
        "/v1/controller/auth/token/<int:number>",
        lambda c: c.cluster.settings.change_token(c.args["number"], c.body),
        body=bodies.TOKEN_CHANGE,
        since="1.28",
    ),
    Route(
        "DELETE",
        "/v1/controller/auth/token/<int:number>",
        lambda c: c.cluster.settings.delete_token(c.args["number"]),
        since="1.28",
    ),
    Route("GET", "/v1/error-reports", _error_reports),
    Route("GET", "/v1/error-reports/<name>", lambda c: c.cluster.satellites.find_report(c.args["name"])),
    *(
        Route("GET", f"/v1/stats/{name}", _stats(name), since="1.11")
        for name in (
            "nodes",
            "storage-pools",
            "resource-groups",
            "resource-definitions",
            "resources",
            "error-reports",
        )
    ),
    Route(
        "GET",
        "/v1/nodes",
        lambda c: c.cluster.node_calls.list_all(c.values("nodes"), c.values("props")),
    ),
    Route("GET", "/v1/nodes/<node>", lambda c: c.cluster.node_calls.get(c.args["node"])),
    Route(
        "GET",
        "/v1/nodes/<node>/net-interfaces",
        lambda c: c.cluster.node_calls.get(c.args["node"])["net_interfaces"],
    ),
    Route(
        "PUT",
        "/v1/nodes/<node>",
        lambda c: c.cluster.node_calls.modify(c.args["node"], c.body),
        body=bodies.NODE_CHANGE,
    ),
    Route("GET", "/v1/nodes/<node>/storage-pools", _pools),
    Route("GET", "/v1/view/storage-pools", _pools),
    Route("GET", "/v1/storage-pool-definitions", _pool_definitions),
    Route("GET", "/v1/key-value-store", lambda c: c.cluster.kvs.list_all()),
    Route("GET", "/v1/key-value-store/<name>", lambda c: c.cluster.kvs.get(c.args["name"])),
    Route(
        "PUT",
        "/v1/key-value-store/<name>",
        lambda c: c.cluster.kvs.modify(c.args["name"], c.body),
        body=bodies.CHANGES,
        sync=True,
    ),
    Route("DELETE", "/v1/key-value-store/<name>", lambda c: c.cluster.kvs.delete(c.args["name"])),
    Route("GET", "/v1/events/drbd/promotion", _promotion_events),
    Route("GET", "/v1/events/nodes", _node_events, since="1.13"),
]
