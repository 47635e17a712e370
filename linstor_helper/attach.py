# SPDX-License-Identifier: Apache-2.0
"""A volume's device on a host: making it available, finding its path, linking a VM to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from linstor_helper import host_commands
from linstor_helper.errors import Error, NotFoundError, NotReadyError
from linstor_helper.host_commands import by_res
from linstor_helper.location import Location
from linstor_helper.names import same
from linstor_helper.ports import Clock, Controller, Hosts, Node, Resource
from linstor_helper.undo import Undo
from linstor_helper.volumes import CLOSES, retry_while_in_use
from linstor_helper.waiting import attempts


class Attachment(NamedTuple):
    """A device that can be opened on a node."""

    node: str
    device: str


def ensure_attached(
    controller: Controller,
    clock: Clock,
    name: str,
    host: str,
    undo: Undo,
    resources: Sequence[Resource] | None = None,
) -> Attachment:
    """Makes sure that ``host`` can open the volume; ``undo`` takes back what had to be done for that.

    ``resources`` are those of the volume, when they were read a moment ago.
    Raises NotReadyError when the host's satellite is offline, NotFoundError when the host is not a LINSTOR node.
    """
    deployed = controller.resources(name) if resources is None else resources
    here = on_host(deployed, host)
    if here is None or here.deleting or here.tie_breaker or "INACTIVE" in here.flags:
        node = _make_available(controller, clock, name, here.node if here else host, undo)
        # With DRBD the path is the same everywhere, and LINSTOR serves only nodes that are online.
        replicated = [r for r in deployed if "DRBD" in r.layers]
        if replicated:
            return Attachment(node, device_of(replicated[0]))
        here = on_host(controller.resources(name), node)
        if here is None:
            raise NotReadyError(f"LINSTOR did not make {name} available on {node}")
    if here.silent:
        node_of(controller, here.node, NotReadyError(f"{name} cannot be attached to {here.node}"))
    return Attachment(here.node, device_of(here))


def device_of(resource: Resource) -> str:
    """The stable path of a deployed resource's device on its node.  Raises NotReadyError while it has none."""
    if "DRBD" in resource.layers:
        return by_res(resource.name)
    if resource.device_path is None:
        raise NotReadyError(f"{resource.name} has no device on {resource.node} yet")
    return resource.device_path


@contextmanager
def opened(
    controller: Controller, clock: Clock, name: str, host: str, resources: Sequence[Resource], undo: Undo
) -> Iterator[Attachment]:
    """Attaches a volume to a host for the time of a copy."""
    before = on_host(resources, host)
    attachment = ensure_attached(controller, clock, name, host, undo, resources)
    yield attachment
    if before is None or before.tie_breaker:
        _close(controller, clock, name, attachment.node)


def _close(controller: Controller, clock: Clock, name: str, node: str) -> None:
    """Releases a volume that was open a moment ago: LINSTOR may not have noticed the end of that yet."""
    retry_while_in_use(clock, CLOSES, lambda: controller.release(name, node))


def link(hosts: Hosts, attachment: Attachment, location: Location, timeout: int, undo: Undo) -> None:
    """Waits for the device and makes ``location`` a link to it; ``timeout`` is in seconds."""
    script = host_commands.wait_for_device(attachment.device, timeout)
    # Before the command: when the connection breaks, nobody knows whether the link was made.
    undo.push(f"link {location}", lambda: hosts.run(location.host, host_commands.unlink(location.path)))
    script += host_commands.link(attachment.device, location.path)
    hosts.run(location.host, script, f"linking to {attachment.device}", timeout=timeout + 60)


def wait_until_settled(controller: Controller, clock: Clock, name: str, timeout: float) -> list[Resource]:
    """The resources of a volume once one with a disk of its own is up to date.  Raises NotReadyError after that."""
    for _ in attempts(clock, timeout):
        resources = controller.placement(name)
        if any(usable(resource) for resource in resources):
            return resources
    raise NotReadyError(f"no replica of {name} is up to date", hint=f"see `linstor resource list -r {name}`")


def usable(resource: Resource) -> bool:
    """Whether data can be written through this replica's node."""
    has_disk = not (resource.diskless or resource.deleting or resource.silent)
    return has_disk and resource.disk_state in ("UpToDate", None)


def on_host(resources: Sequence[Resource], host: str) -> Resource | None:
    """The resource on the node of that name; names with and without a domain are the same host."""
    for resource in resources:
        if same(resource.node, host):
            return resource
    short = [r for r in resources if same(r.node.split(".")[0], host.split(".")[0])]
    return short[0] if len(short) == 1 and ("." in host) != ("." in short[0].node) else None


def _make_available(controller: Controller, clock: Clock, name: str, host: str, undo: Undo) -> str:
    """Returns the name of the node that the host is."""

    def attempt(node: str) -> str:
        # Before the call: its answer may get lost, and there is no harm in releasing what was never attached.
        undo.push(f"{name} attached to {node}", lambda: _close(controller, clock, name, node))
        controller.make_available(name, node)
        return node

    try:
        return attempt(host)
    except (NotFoundError, NotReadyError) as error:
        node = node_of(controller, host, error)
        if same(node.name, host):
            raise
    return attempt(node.name)


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
    bad = sorted(node.flags & {"EVICTED", "EVACUATE", "DELETE"})
    if node.status != "ONLINE" or bad:
        raise NotReadyError(
            f"LINSTOR node {node.name} is {' and '.join(bad) or node.status}",
            details=cause.what,
            hint=f"see `linstor node list` and the linstor-satellite service on {node.name}",
        ) from cause
    return node
