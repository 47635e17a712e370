# SPDX-License-Identifier: Apache-2.0
"""Volume definitions. Sizes are KiB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab.controller import codes, props, sizes
from lab.controller.codes import Reply
from lab.controller.locking import locked
from lab.controller.model import ResourceDefinition, Volume, VolumeDefinition
from lab.devices_protocol import DeviceBusy

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster

_MAX_NUMBER = 65535


class VolumeDefinitions:
    """Calls below ``/v1/resource-definitions/{r}/volume-definitions``."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def find(self, rd_name: str, number: int) -> tuple[ResourceDefinition, VolumeDefinition]:
        """Raises 301, 303."""
        rd = self.cluster.rd(rd_name)
        if number not in rd.volumes:
            raise codes.failure(
                codes.NOT_FOUND_VLM_DFN, f"Volume definition {number} of '{rd.name}' not found."
            )
        return rd, rd.volumes[number]

    def check_size(self, reply: Reply, size_kib: int) -> None:
        """Raises 206."""
        if not sizes.SMALLEST <= size_kib <= sizes.LARGEST:
            raise reply.fail(
                codes.INVLD_VLM_SIZE,
                f"The volume size of {size_kib} KiB is out of range.",
                cause=f"Sizes are {sizes.SMALLEST} to {sizes.LARGEST} KiB.",
            )

    @locked
    def create(self, rd_name: str, body: dict[str, Any]) -> Reply:
        """Fails with 503, 206, 205, 301. On a deployed definition the satellites make the volume at once."""
        rd = self.cluster.rd(rd_name)
        given = body["volume_definition"]
        reply = Reply(codes.CREATE, codes.VLM_DFN, RscDfn=rd.name)
        number = given.get("volume_number")
        if number is None:
            number = next(one for one in range(len(rd.volumes) + 1) if one not in rd.volumes)
        if not 0 <= number <= _MAX_NUMBER:
            raise reply.fail(codes.INVLD_VLM_NR, f"The volume number {number} is out of range.")
        if number in rd.volumes:
            raise reply.fail(
                codes.EXISTS_VLM_DFN, f"Volume definition {number} of '{rd.name}' already exists."
            )
        self.check_size(reply, given["size_kib"])
        settings = dict(given.get("props") or {})
        props.check(reply, "volume-definition", settings)
        minor = body.get("drbd_minor_number")
        if minor is not None and not self.cluster.numbers.minors.reserve(minor):
            raise reply.fail(codes.INVLD_REQUEST, f"The minor number {minor} is in use.")
        self.add(rd, number, given["size_kib"], settings, set(given.get("flags") or ()), minor)
        reply.success(
            codes.CREATED,
            f"Volume definition {number} of '{rd.name}' created.",
            refs={"VlmNr": str(number)},
        )
        self.cluster.deployment.apply(rd, reply)
        return reply

    def add(
        self,
        rd: ResourceDefinition,
        number: int,
        size_kib: int,
        settings: dict[str, str],
        flags: set[str],
        minor: int | None = None,
    ) -> VolumeDefinition:
        """Record a checked volume definition, and a volume on each resource that exists."""
        made = VolumeDefinition(
            number,
            size_kib,
            self.cluster.numbers.minors.take() if minor is None else minor,
            props=settings,
            flags=flags,
        )
        rd.volumes[number] = made
        for resource in rd.resources.values():
            pool = self.cluster.pool_of(resource.node, resource.pool)
            if pool is not None:
                resource.volumes[number] = Volume(pool)
        return made

    @locked
    def list_all(self, rd_name: str) -> list[dict[str, Any]]:
        rd = self.cluster.rd(rd_name)
        return [self.cluster.views.volume_definition(rd, one) for _, one in sorted(rd.volumes.items())]

    @locked
    def get(self, rd_name: str, number: int) -> dict[str, Any]:
        rd, definition = self.find(rd_name, number)
        return self.cluster.views.volume_definition(rd, definition)

    @locked
    def modify(self, rd_name: str, number: int, body: dict[str, Any]) -> Reply:
        """Properties and size. A resize answers when all satellites have resized, or one failed."""
        rd, definition = self.find(rd_name, number)
        reply = Reply(codes.MODIFY, codes.VLM_DFN, RscDfn=rd.name, VlmNr=str(number))
        size = body.get("size_kib")
        if size is not None and size != definition.size_kib:
            self.cluster.resize.check(rd, definition, size, reply)
        props.change(reply, "volume-definition", definition.props, body)
        for flag in body.get("flags") or ():
            if flag.startswith("-"):
                definition.flags.discard(flag[1:])
            else:
                definition.flags.add(flag)
        if size is not None and size == definition.size_kib:
            # also after a resize that failed: only the controller itself tries that again
            reply.warning(
                codes.W_SAME_SIZE, f"Volume {number} of '{rd.name}' has the size {size} KiB already."
            )
        reply.success(codes.MODIFIED, f"Volume definition {number} of '{rd.name}' modified.")
        if size is not None and size != definition.size_kib:
            self.cluster.resize.start(rd, definition, size, reply)
        return reply

    @locked
    def delete(self, rd_name: str, number: int) -> Reply:
        """Fails with 997 or 516; a missing one is a warning."""
        rd = self.cluster.rd(rd_name)
        reply = Reply(codes.DELETE, codes.VLM_DFN, RscDfn=rd.name, VlmNr=str(number))
        if number not in rd.volumes:
            reply.warning(codes.W_NOT_FOUND, f"Volume definition {number} of '{rd.name}' not found.")
            return reply
        users = self.cluster.attachment.users(rd)
        if users:
            raise reply.fail(codes.IN_USE, f"Resource '{rd.name}' is in use on node '{users[0].node}'.")
        self.cluster.deletion.check_strategy(rd, reply)
        self._hide(rd, number, reply)
        self.drop(rd, number)
        reply.success(codes.DELETED, f"Volume definition {number} of '{rd.name}' deleted.")
        return reply

    def _hide(self, rd: ResourceDefinition, number: int, reply: Reply) -> None:
        for resource in rd.resources.values():
            if number in resource.exposed:
                try:
                    self.cluster.devices.hide(rd.content_key(number), resource.node)
                except DeviceBusy:
                    raise reply.fail(
                        codes.UNKNOWN_ERROR, f"({resource.node}) Volume {number} of '{rd.name}' is held open."
                    ) from None
                resource.exposed.discard(number)

    def drop(self, rd: ResourceDefinition, number: int) -> None:
        """Forget a volume whose devices are gone, and its data."""
        content = rd.content_key(number)
        for resource in rd.resources.values():
            volume = resource.volumes.pop(number, None)
            if volume is not None and not resource.diskless:
                volume.pool.space.drop(content)
        if number in rd.contents:
            self.cluster.devices.delete(content)
            rd.contents.discard(number)
        self.cluster.numbers.minors.give_back(rd.volumes.pop(number).minor)
