# SPDX-License-Identifier: Apache-2.0
"""Which LINSTOR node a host of OpenNebula is."""

from __future__ import annotations

from collections.abc import Sequence

from linstor_helper.errors import Error, NotFoundError, NotReadyError
from linstor_helper.names import same
from linstor_helper.ports import Controller, Node, Resource


def is_host(node: str, host: str) -> bool:
    """Whether both are names of one machine: equal, or one with and one without a domain."""
    if "." in node and "." in host:
        return same(node, host)
    return same(node.split(".")[0], host.split(".")[0])


def on_host(resources: Sequence[Resource], host: str) -> Resource | None:
    """The resource on the node of that name; names with and without a domain are the same host."""
    for resource in resources:
        if same(resource.node, host):
            return resource
    short = [r for r in resources if same(r.node.split(".")[0], host.split(".")[0])]
    return short[0] if len(short) == 1 and ("." in host) != ("." in short[0].node) else None


def resource_of_host(controller: Controller, resources: Sequence[Resource], host: str) -> Resource | None:
    """As ``on_host``; asks LINSTOR for its nodes when no resource is on one of that name."""
    found = on_host(resources, host)
    if found is not None or not resources:
        return found
    called = {node.name for node in nodes_called(host, controller.nodes())}
    return next((r for r in resources if r.node in called), None)


def nodes_called(host: str, nodes: Sequence[Node]) -> list[Node]:
    """The nodes that a host of OpenNebula can be: by name, else by kernel's name or address, else by short name."""
    return (
        [n for n in nodes if same(n.name, host)]
        or [n for n in nodes if same(n.uname, host) or host in n.addresses]
        or [n for n in nodes if same(n.name.split(".")[0], host.split(".")[0])]
    )


def node_of(controller: Controller, host: str, cause: Error) -> Node:
    """The LINSTOR node that an OpenNebula host is: by its name, its kernel's host name, or an address.

    Called when LINSTOR refused the host's name, with the refusal as ``cause``.  Raises the reason if that is the
    host itself: not a node at all, ambiguous, or a node that cannot work now.
    """
    nodes = controller.nodes()
    found = nodes_called(host, nodes)
    if len(found) != 1:
        raise NotFoundError(
            f"host {host} is {'not a LINSTOR node' if not found else 'more than one LINSTOR node'}",
            details=f"nodes are {', '.join(sorted(n.name for n in nodes))}",
            hint="name the OpenNebula host as its LINSTOR node, or keep VMs off it",
        ) from cause
    node = found[0]
    bad = unfit(node)
    if bad:
        raise NotReadyError(
            f"LINSTOR node {node.name} is {bad}",
            details=cause.what,
            hint=f"see `linstor node list` and the linstor-satellite service on {node.name}",
        ) from cause
    return node


def unfit(node: Node) -> str:
    """Why a node cannot be given volumes now, in LINSTOR's words; empty when it can."""
    # LINSTOR's EVICTED contains DELETE.
    flags = node.flags - {"DELETE"} if "EVICTED" in node.flags else node.flags
    bad = sorted(flags & {"EVICTED", "EVACUATE", "DELETE"})
    return " and ".join(bad) or ("" if node.status == "ONLINE" else node.status)
