# SPDX-License-Identifier: Apache-2.0
"""Resource definitions, volume definitions, clones."""

from __future__ import annotations

from typing import Any

from lab.controller import bodies
from lab.controller.api.route import Answer, Call, Route

_CLONE_TELLS_ERRORS = (1, 32, 2)
_ROOT = "/v1/resource-definitions"
_ONE = f"{_ROOT}/<rd>"
_VOLUMES = f"{_ONE}/volume-definitions"


def _list(call: Call) -> Any:
    return call.cluster.definitions.list_all(
        call.values("resource_definitions"),
        call.values("props"),
        call.flag("with_volume_definitions"),
        call.page,
    )


def _clone(call: Call) -> Any:
    body, started = call.cluster.clones.start(call.args["rd"], call.body)
    # before 1.32.2 only the messages tell of errors
    told = call.cluster.linstor_version >= _CLONE_TELLS_ERRORS
    return Answer(201 if started or not told else 500, body)


def _truncate(call: Call) -> Any:
    return call.cluster.deletion.truncate(call.args["rd"], call.flag("delete_empty_resource_definition"))


ROUTES = [
    Route("GET", _ROOT, _list),
    Route(
        "POST",
        _ROOT,
        lambda c: c.cluster.definitions.create(c.body),
        body=bodies.DEFINITION,
        created=True,
        sync=True,
    ),
    Route("GET", _ONE, lambda c: c.cluster.definitions.get(c.args["rd"])),
    Route(
        "PUT",
        _ONE,
        lambda c: c.cluster.definitions.modify(c.args["rd"], c.body),
        body=bodies.DEFINITION_CHANGE,
    ),
    Route("DELETE", _ONE, lambda c: c.cluster.deletion.delete_definition(c.args["rd"])),
    Route("DELETE", f"{_ONE}/resources", _truncate, since="1.29"),
    Route(
        "GET",
        f"{_ONE}/sync-status",
        lambda c: c.cluster.definitions.sync_status(c.args["rd"]),
        since="1.13",
    ),
    Route(
        "POST",
        f"{_ONE}/clone",
        _clone,
        body=bodies.CLONE,
        created=True,
        since="1.10",
        answers_bad_body=False,
    ),
    Route(
        "GET",
        f"{_ONE}/clone/<clone>",
        lambda c: c.cluster.clones.status(c.args["clone"]),
        since="1.10",
    ),
    Route("GET", _VOLUMES, lambda c: c.cluster.volume_definitions.list_all(c.args["rd"])),
    Route(
        "POST",
        _VOLUMES,
        lambda c: c.cluster.volume_definitions.create(c.args["rd"], c.body),
        body=bodies.VOLUME_DEFINITION_CREATE,
        created=True,
        sync=True,
    ),
    Route(
        "GET",
        f"{_VOLUMES}/<int:number>",
        lambda c: c.cluster.volume_definitions.get(c.args["rd"], c.args["number"]),
    ),
    Route(
        "PUT",
        f"{_VOLUMES}/<int:number>",
        lambda c: c.cluster.volume_definitions.modify(c.args["rd"], c.args["number"], c.body),
        body=bodies.VOLUME_DEFINITION_CHANGE,
    ),
    Route(
        "DELETE",
        f"{_VOLUMES}/<int:number>",
        lambda c: c.cluster.volume_definitions.delete(c.args["rd"], c.args["number"]),
    ),
]
