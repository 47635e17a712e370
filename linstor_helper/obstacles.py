# SPDX-License-Identifier: Apache-2.0
"""What stands against opening a volume on a host: somebody else writes to it, or DRBD would refuse.

Looked at before anything is attached, in what LINSTOR knows anyway.
"""

from __future__ import annotations

from collections.abc import Sequence

from linstor_helper.errors import Error, InUseError, NotReadyError
from linstor_helper.nodes import on_host, unfit
from linstor_helper.ports import Clock, Controller, Resource
from linstor_helper.waiting import attempts


def wait_until_free(
    controller: Controller,
    clock: Clock,
    name: str,
    host: str,
    resources: Sequence[Resource],
    timeout: float,
    *,
    shared: bool = False,
) -> Sequence[Resource]:
    """The resources of a volume once nothing stands against opening it on ``host``; ``resources`` as read just now.

    LINSTOR learns up to a second late that a device was closed, and DRBD needs some to give up a dead peer: that
    is waited for, ``timeout`` seconds at most.  Raises InUseError with the node, NotReadyError with the reason.
    """
    for left in attempts(clock, timeout, first=0.2):
        obstacle = obstacle_to(name, host, resources, shared=shared)
        if obstacle is None:
            break
        if left == 0.0:
            raise obstacle
        resources = controller.resources(name)
    if on_host(resources, host) is None:
        _require_replica_online(controller, name, resources)
    return resources


def obstacle_to(name: str, host: str, resources: Sequence[Resource], *, shared: bool = False) -> Error | None:
    """The error that opening the volume on ``host`` would be now, or None."""
    here = on_host(resources, host)
    users = sorted(r.node for r in resources if r.in_use and r is not here)
    if users and not shared:
        return InUseError(
            f"{name} is in use on {' and '.join(users)}",
            hint=f"it is not attached to {host} as well; is the VM still running there?",
        )
    if users or (here is not None and (here.in_use or here.silent)):
        return None
    asked = [here] if here is not None else [r for r in resources if not r.diskless and not r.silent]
    told = [r for r in asked if r.may_promote is not None and not r.deleting]
    if not told or any(r.may_promote for r in told):
        return None
    unheard = sorted(r.node for r in resources if r.silent and r is not here)
    # With all peers connected quorum and data are there: what is left is somebody who has it open.
    complete = not any(r.lost or r.disk_state not in ("UpToDate", "Diskless") for r in told)
    if unheard and complete:
        return InUseError(
            f"{name} may be in use on {' or '.join(unheard)}, which LINSTOR does not reach",
            hint=f"DRBD does not open it on {host} as well; is the VM still running there?",
        )
    return NotReadyError(
        f"{name} cannot be opened on {host}: DRBD has no quorum or no up-to-date data",
        details="; ".join(_state(r) for r in told),
        hint=f"see `linstor resource list -r {name}` and `drbdadm status {name}`",
    )


def _state(resource: Resource) -> str:
    lost = f" without connection to {', '.join(resource.lost)}" if resource.lost else ""
    return f"{resource.node} is {resource.disk_state or 'in an unknown state'}{lost}"


def _require_replica_online(controller: Controller, name: str, resources: Sequence[Resource]) -> None:
    """A node without a replica of its own can be given a device, and nothing to read through it."""
    replicas = [r for r in resources if not r.diskless]
    if not replicas or not all(r.silent for r in replicas):
        return
    holding = {r.node for r in replicas}
    nodes = [node for node in controller.nodes() if node.name in holding]
    # All silent, but some node well: DRBD has just been started there.
    if nodes and all(unfit(node) for node in nodes):
        raise NotReadyError(
            f"no replica of {name} is online",
            details="; ".join(f"{node.name} is {unfit(node)}" for node in nodes),
            hint="see `linstor node list`",
        )
