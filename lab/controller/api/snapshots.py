# SPDX-License-Identifier: Apache-2.0
"""Snapshots, restore and rollback."""

from __future__ import annotations

from typing import Any

from lab.controller import bodies
from lab.controller.api.route import Call, Route

_RD = "/v1/resource-definitions/<rd>"
_ALL = f"{_RD}/snapshots"
_ONE = f"{_ALL}/<snapshot>"


def _delete(call: Call) -> Any:
    return call.cluster.snapshots.delete(
        call.args["rd"],
        call.args["snapshot"],
        call.values("nodes"),
        call.flag("delete_empty_resource_definition"),
    )


ROUTES = [
    Route(
        "GET",
        "/v1/view/snapshots",
        lambda c: c.cluster.snapshots.list_all(c.values("nodes"), c.values("resources"), c.page),
    ),
    Route("GET", _ALL, lambda c: c.cluster.snapshots.list_of(c.args["rd"])),
    Route("GET", _ONE, lambda c: c.cluster.snapshots.get(c.args["rd"], c.args["snapshot"])),
    Route(
        "POST",
        _ALL,
        lambda c: c.cluster.snapshots.create(c.args["rd"], c.body),
        body=bodies.SNAPSHOT,
        created=True,
    ),
    Route(
        "POST",
        "/v1/actions/snapshot/multi",
        lambda c: c.cluster.snapshots.create_multi(c.body["snapshots"]),
        body=bodies.SNAPSHOT_MULTI,
        created=True,
        since="1.18",
    ),
    Route(
        "PUT",
        _ONE,
        lambda c: c.cluster.snapshots.modify(c.args["rd"], c.args["snapshot"], c.body),
        body=bodies.CHANGES,
        since="1.26",
    ),
    Route("DELETE", _ONE, _delete),
    Route(
        "POST",
        f"{_RD}/snapshot-restore-volume-definition/<snapshot>",
        lambda c: c.cluster.restore.volume_definitions(c.args["rd"], c.args["snapshot"], c.body),
        body=bodies.RESTORE,
    ),
    Route(
        "POST",
        f"{_RD}/snapshot-restore-resource/<snapshot>",
        lambda c: c.cluster.restore.resource(c.args["rd"], c.args["snapshot"], c.body),
        body=bodies.RESTORE,
    ),
    Route(
        "POST",
        f"{_RD}/snapshot-rollback/<snapshot>",
        lambda c: c.cluster.rollback.roll_back(c.args["rd"], c.args["snapshot"], c.body),
        body=bodies.ROLLBACK,
    ),
]
