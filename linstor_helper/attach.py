# SPDX-License-Identifier: Apache-2.0
"""A volume's device on a host: making it available, finding its path, linking a VM to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Callable, NamedTuple

from linstor_helper import contents, host_commands, obstacles
from linstor_helper.errors import ControllerUnavailable, NotFoundError, NotReadyError, UnknownOutcome
from linstor_helper.host_commands import by_res
from linstor_helper.location import Location
from linstor_helper.names import same
from linstor_helper.nodes import node_of, on_host
from linstor_helper.ports import Clock, Controller, Resource, Warn
from linstor_helper.shell import Script
from linstor_helper.storage import Storage
from linstor_helper.undo import Undo
from linstor_helper.volumes import CLOSES, retry_while_in_use
from linstor_helper.waiting import attempts


class Attachment(NamedTuple):
    """A device that can be opened on a node."""

    node: str
    device: str
    elsewhere: bool = False
    """Whether other nodes have the device, too, without a replica that would be there anyway."""


def connect(
    storage: Storage,
    name: str,
    location: Location,
    undo: Undo,
    warn: Warn,
    *,
    linked: bool = True,
    shared: bool = False,
    unasked: bool = True,
) -> Attachment:
    """Attaches a volume to the host of ``location``, waits for its device, and makes ``location`` a link to it.

    ``linked``: False leaves the link to somebody else; ``shared``: other nodes may have the volume open for writing.
    ``unasked``: while no controller answers, a device that is on the host already is used as it is.
    Raises as ``ensure_attached``.
    """
    try:
        attachment = ensure_attached(storage, name, location.host, undo, shared=shared)
    except UnknownOutcome:
        raise
    except ControllerUnavailable as error:
        if not unasked:
            raise
        attachment = _there_already(storage, name, location.host, error, warn)
    wait_and_link(storage, attachment, location, undo, linked=linked)
    return attachment


def ensure_attached(
    storage: Storage,
    name: str,
    host: str,
    undo: Undo,
    *,
    resources: Sequence[Resource] | None = None,
    shared: bool = False,
) -> Attachment:
    """Makes sure that ``host`` can open the volume; ``undo`` takes back what had to be done for that.

    ``resources`` are those of the volume, when they were read a moment ago.
    Raises InUseError while another node has it open for writing (unless it is ``shared``), NotReadyError when the
    host's satellite is offline or DRBD would not let it be opened there, NotFoundError when the host is no node.
    """
    controller, clock = storage.controller, storage.clock
    known = controller.resources(name) if resources is None else resources
    contents.require(name, known)
    contents.require_replica(controller, name, known)
    deployed = obstacles.wait_until_free(
        controller, clock, name, host, known, storage.settings.attach_timeout, shared=shared
    )
    here = on_host(deployed, host)
    if here is not None and (here.silent or "EVICTED" in here.flags):
        # LINSTOR would make a tie-breaker a client there, too, and nobody knows whether DRBD runs.
        node_of(controller, here.node, NotReadyError(f"{name} cannot be attached to {here.node}"))
    elsewhere = any(r.diskless and not (r is here or r.tie_breaker or r.deleting) for r in deployed)
    if needs_attaching(here):
        node = _make_available(controller, clock, name, here.node if here else host, undo, shared=shared)
        # With DRBD the path is the same everywhere, and LINSTOR puts nothing new on nodes that are not online.
        replicated = [r for r in deployed if "DRBD" in r.layers]
        if replicated:
            return Attachment(node, device_of(replicated[0]), elsewhere)
        here = on_host(controller.resources(name), node)
        if here is None:
            raise NotReadyError(f"LINSTOR did not make {name} available on {node}")
    assert here is not None
    return Attachment(here.node, device_of(here), elsewhere)


def needs_attaching(here: Resource | None) -> bool:
    """Whether a node with this resource of the volume (or none) needs LINSTOR's help before it can open it."""
    return here is None or here.deleting or here.tie_breaker or "INACTIVE" in here.flags


def device_of(resource: Resource) -> str:
    """The stable path of a deployed resource's device on its node.  Raises NotReadyError while it has none."""
    if "DRBD" in resource.layers:
        return by_res(resource.name)
    if resource.device_path is None:
        raise NotReadyError(f"{resource.name} has no device on {resource.node} yet")
    return resource.device_path


@contextmanager
def opened(
    storage: Storage, name: str, host: str, resources: Sequence[Resource], undo: Undo
) -> Iterator[Attachment]:
    """Attaches a volume to a host for the time of a copy."""
    before = on_host(resources, host)
    attachment = ensure_attached(storage, name, host, undo, resources=resources)
    yield attachment
    if needs_attaching(before):
        close(storage.controller, storage.clock, name, attachment.node)


def close(controller: Controller, clock: Clock, name: str, node: str, *, shared: bool = False) -> None:
    """Releases a volume that was open a moment ago: LINSTOR may not have noticed the end of that yet."""
    retry_while_in_use(clock, CLOSES, lambda: controller.release(name, node, shared=shared))


def wait_and_link(
    storage: Storage, attachment: Attachment, location: Location, undo: Undo, *, linked: bool = True
) -> None:
    """Waits for the device on the host and, if ``linked``, makes ``location`` a link to it."""
    timeout = storage.settings.attach_timeout
    script = host_commands.wait_for_device(attachment.device, timeout)
    if linked:
        # Before the command: when the connection breaks, nobody knows whether the link was made.
        undo.push(
            f"link {location}", lambda: storage.hosts.run(location.host, host_commands.unlink(location.path))
        )
        script += host_commands.link(attachment.device, location.path)
    storage.hosts.run(location.host, script, f"linking to {attachment.device}", timeout=timeout + 60)


def is_linked(storage: Storage, name: str, location: Location) -> bool:
    """Whether ``location`` is a link to the volume's device, and that is there."""
    return _holds(storage, location.host, host_commands.is_link_to(location.path, by_res(name)))


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


def _there_already(
    storage: Storage, name: str, host: str, error: ControllerUnavailable, warn: Warn
) -> Attachment:
    """DRBD itself lets only one node write, unless a migration that was never ended still allows two."""
    device = by_res(name)
    if not _holds(storage, host, host_commands.is_device(device)):
        raise error
    warn(f"{device} is on {host} already and is used without asking LINSTOR: {error}")
    return Attachment(host, device)


def _holds(storage: Storage, host: str, condition: Script) -> bool:
    return storage.hosts.run(host, host_commands.tell(condition), "looking for a device").strip() == "yes"


def _make_available(
    controller: Controller, clock: Clock, name: str, host: str, undo: Undo, *, shared: bool
) -> str:
    """Returns the name of the node that the host is."""

    def attempt(node: str) -> str:
        # Before the call: its answer may get lost, and there is no harm in releasing what was never attached.
        undo.push(f"{name} attached to {node}", lambda: close(controller, clock, name, node, shared=shared))
        controller.make_available(name, node)
        return node

    return as_node(controller, host, attempt)


def as_node(controller: Controller, host: str, attempt: Callable[[str], str]) -> str:
    """What ``attempt`` returns for the LINSTOR node of a host, which mostly has the host's name."""
    try:
        return attempt(host)
    except (NotFoundError, NotReadyError) as error:
        node = node_of(controller, host, error)
        if same(node.name, host):
            raise
    return attempt(node.name)
