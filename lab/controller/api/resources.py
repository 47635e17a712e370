# SPDX-License-Identifier: Apache-2.0
"""Resources, their volumes and connections, and the view over all of them."""

from __future__ import annotations

from typing import Any

from lab.controller import bodies, codes, props
from lab.controller.api.route import Call, Route
from lab.controller.model import Resource, ResourceDefinition
from lab.controller.names import key

_ALL = "/v1/resource-definitions/<rd>/resources"
_ONE = f"{_ALL}/<node>"
_CONNECTIONS = "/v1/resource-definitions/<rd>/resource-connections"


def _list(call: Call) -> Any:
    with call.cluster.lock:
        rd = call.cluster.rd(call.args["rd"])
        call.cluster.settle(rd)
        with call.cluster.attachment.one_look():
            return [call.cluster.views.resource(rd, one) for _, one in sorted(rd.resources.items())]


def _get(call: Call) -> Any:
    with call.cluster.lock:
        call.cluster.settle(call.cluster.rd(call.args["rd"]))
    with call.cluster.lock, call.cluster.attachment.one_look():
        resource = call.cluster.resource(call.args["rd"], call.args["node"])
        return call.cluster.views.resource(call.cluster.rd(call.args["rd"]), resource)


def _volumes(call: Call) -> Any:
    with call.cluster.lock:
        resource = call.cluster.resource(call.args["rd"], call.args["node"])
        rd = call.cluster.rd(call.args["rd"])
        call.cluster.satellites.ask([resource.node])
        with call.cluster.attachment.one_look():
            shown = call.cluster.views.resource_with_volumes(rd, resource)["volumes"]
        if "number" not in call.args:
            return shown
        for volume in shown:
            if volume["volume_number"] == call.args["number"]:
                return volume
        raise codes.failure(
            codes.NOT_FOUND_VLM,
            f"Volume {call.args['number']} of '{rd.name}' on node '{resource.node}' not found.",
        )


def _create(call: Call) -> Any:
    return call.cluster.resources.create(call.args["rd"], call.body)


def _create_on(call: Call) -> Any:
    item = {**call.body, "resource": {**call.body["resource"], "node_name": call.args["node"]}}
    return call.cluster.resources.create(call.args["rd"], [item])


def _view(call: Call) -> Any:
    cluster = call.cluster
    with cluster.lock:
        names = call.values("resources")
        for name in {key(one) for one in names} & set(cluster.rds) if names else list(cluster.rds):
            cluster.settle(cluster.rds[name])
        wanted = sorted({key(one) for one in names} & set(cluster.rds)) if names else sorted(cluster.rds)
        found = [
            (rd, one)
            for rd in map(cluster.rds.__getitem__, wanted)
            for _, one in sorted(rd.resources.items())
            if rd.volumes and _selected(call, one)
        ]
        limit, offset = call.page
        found = found[offset : offset + limit] if limit else found
        cluster.satellites.ask(_thin_nodes(found))
        with cluster.attachment.one_look():
            return [cluster.views.resource_with_volumes(rd, one) for rd, one in found]


def _selected(call: Call, resource: Resource) -> bool:
    nodes = {key(one) for one in call.values("nodes")}
    pools = {key(one) for one in call.values("storage_pools")}
    if nodes and key(resource.node) not in nodes:
        return False
    if pools and not pools & {key(volume.pool.name) for volume in resource.volumes.values()}:
        return False
    return props.matches(resource.props, call.values("props"))


def _thin_nodes(found: list[tuple[ResourceDefinition, Resource]]) -> set[str]:
    return {one.node for _, one in found if any(volume.pool.provider.thin for volume in one.volumes.values())}


def _toggle_diskful(call: Call) -> Any:
    return call.cluster.toggle.diskful(
        call.args["rd"], call.args["node"], call.args.get("pool", ""), call.args.get("source", "")
    )


def _toggle_diskless(call: Call) -> Any:
    return call.cluster.toggle.diskless(call.args["rd"], call.args["node"])


ROUTES = [
    Route("GET", "/v1/view/resources", _view),
    Route("GET", _ALL, _list),
    Route("POST", _ALL, _create, body=[bodies.RESOURCE], created=True),
    Route("GET", _ONE, _get),
    Route("POST", _ONE, _create_on, body=bodies.RESOURCE, created=True),
    Route(
        "PUT",
        _ONE,
        lambda c: c.cluster.resources.modify(c.args["rd"], c.args["node"], c.body),
        body=bodies.RESOURCE_CHANGE,
    ),
    Route(
        "DELETE",
        _ONE,
        lambda c: c.cluster.deletion.delete_resource(c.args["rd"], c.args["node"], c.flag("keep_tiebreaker")),
    ),
    Route("GET", f"{_ONE}/volumes", _volumes),
    Route("GET", f"{_ONE}/volumes/<int:number>", _volumes),
    Route(
        "POST",
        f"{_ONE}/make-available",
        lambda c: c.cluster.availability.make(c.args["rd"], c.args["node"], c.body),
        body=bodies.MAKE_AVAILABLE,
        since="1.7",
    ),
    Route(
        "POST",
        f"{_ONE}/unmake-available",
        lambda c: c.cluster.availability.unmake(c.args["rd"], c.args["node"]),
        since="1.29",
    ),
    Route(
        "PUT",
        f"{_ONE}/toggle-disk",
        lambda c: c.cluster.toggle.unified(c.args["rd"], c.args["node"], c.body),
        body=bodies.TOGGLE,
        since="1.28",
    ),
    Route("PUT", f"{_ONE}/toggle-disk/diskful", _toggle_diskful),
    Route("PUT", f"{_ONE}/toggle-disk/diskful/<pool>", _toggle_diskful),
    Route("PUT", f"{_ONE}/toggle-disk/diskless", _toggle_diskless),
    Route("PUT", f"{_ONE}/toggle-disk/diskless/<pool>", _toggle_diskless),
    Route("PUT", f"{_ONE}/migrate-disk/<source>", _toggle_diskful),
    Route("PUT", f"{_ONE}/migrate-disk/<source>/<pool>", _toggle_diskful),
    Route(
        "POST",
        "/v1/resource-definitions/<rd>/autoplace",
        lambda c: c.cluster.resources.autoplace(c.args["rd"], c.body),
        body=bodies.AUTOPLACE,
        created=True,
    ),
    Route("GET", _CONNECTIONS, lambda c: c.cluster.connections.list_all(c.args["rd"])),
    Route(
        "GET",
        f"{_CONNECTIONS}/<left>/<right>",
        lambda c: c.cluster.connections.get(c.args["rd"], c.args["left"], c.args["right"]),
    ),
    Route(
        "PUT",
        f"{_CONNECTIONS}/<left>/<right>",
        lambda c: c.cluster.connections.modify(c.args["rd"], c.args["left"], c.args["right"], c.body),
        body=bodies.CHANGES,
    ),
]
