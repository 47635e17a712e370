# SPDX-License-Identifier: Apache-2.0
"""Resource groups."""

from __future__ import annotations

from typing import Any

from lab.controller import bodies
from lab.controller.api.route import Call, Route
from lab.controller.codes import Reply

_ROOT = "/v1/resource-groups"
_ONE = f"{_ROOT}/<group>"


def _list(call: Call) -> Any:
    found = call.cluster.groups.list_all(call.values("resource_groups"), call.values("props"))
    limit, offset = call.page
    return found[offset : offset + limit] if limit else found


def _adjust(call: Call) -> Any:
    return call.cluster.groups.adjust(call.args["group"], call.body or {})


def _adjust_all(call: Call) -> Any:
    reply = Reply()
    for rg in list(call.cluster.rgs.values()):
        reply.entries += call.cluster.groups.adjust(rg.name, call.body or {}).entries
    return reply


ROUTES = [
    Route("GET", _ROOT, _list),
    Route(
        "POST",
        _ROOT,
        lambda c: c.cluster.groups.create(c.body),
        body=bodies.GROUP,
        created=True,
        sync=True,
    ),
    Route("GET", _ONE, lambda c: c.cluster.groups.get(c.args["group"])),
    Route(
        "PUT",
        _ONE,
        lambda c: c.cluster.groups.modify(c.args["group"], c.body),
        body=bodies.GROUP_CHANGE,
    ),
    Route("DELETE", _ONE, lambda c: c.cluster.groups.delete(c.args["group"])),
    Route("GET", f"{_ONE}/volume-groups", lambda c: c.cluster.groups.volume_groups(c.args["group"])),
    Route(
        "POST",
        f"{_ONE}/volume-groups",
        lambda c: c.cluster.groups.create_volume_group(c.args["group"], c.body),
        body=bodies.VOLUME_GROUP,
        created=True,
        sync=True,
    ),
    Route(
        "DELETE",
        f"{_ONE}/volume-groups/<int:number>",
        lambda c: c.cluster.groups.delete_volume_group(c.args["group"], c.args["number"]),
    ),
    Route(
        "POST",
        f"{_ONE}/spawn",
        lambda c: c.cluster.groups.spawn(c.args["group"], c.body),
        body=bodies.SPAWN,
        created=True,
    ),
    Route(
        "POST",
        f"{_ONE}/query-size-info",
        lambda c: c.cluster.capacity.query(c.args["group"], c.body or {}),
        body=bodies.SIZE_QUERY,
        since="1.17",
        optional_body=True,
    ),
    Route(
        "POST",
        "/v1/queries/resource-groups/query-all-size-info",
        lambda c: c.cluster.capacity.query_all(c.body or {}),
        body=bodies.SIZE_QUERY,
        since="1.19",
        optional_body=True,
    ),
    Route("POST", f"{_ONE}/adjust", _adjust, body=bodies.ADJUST, since="1.10", optional_body=True),
    Route("POST", f"{_ROOT}/adjustall", _adjust_all, body=bodies.ADJUST, since="1.10", optional_body=True),
]
