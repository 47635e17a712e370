# SPDX-License-Identifier: Apache-2.0
"""Resources: where a definition is, who can open it, and which two nodes may write at the same time."""

from __future__ import annotations

from collections.abc import Sequence

from linstor_helper import names
from linstor_helper.errors import (
    ConflictError,
    ControllerError,
    Error,
    InUseError,
    NotFoundError,
    NotReadyError,
    RefusedError,
)
from linstor_helper.linstor_api import replies, views
from linstor_helper.linstor_api.definitions import Definitions
from linstor_helper.ports import Resource

_ATTACH_CLASSES: dict[int, type[Error]] = {**replies.BY_CODE, replies.NOT_FOUND_POOL: NotReadyError}
_GONE = (replies.NOT_FOUND_NODE, replies.NOT_FOUND_DEFINITION, replies.NOT_FOUND_RESOURCE)
_WINDOW = {names.TWO_PRIMARIES: "yes", names.PROTOCOL: "C"}

Pair = tuple[str, str]


class Resources(Definitions):
    """The part of ``ports.Controller`` that is about single nodes."""

    def resources(self, name: str) -> list[Resource]:
        """Asks no satellite.  ``disk_state`` is told of resources with DRBD only."""
        path = "/resource-definitions/{}/resources"
        found = self._listed(self._client.raw, "GET", path, name, about={"resource": name})
        return [views.resource(one) for one in found]

    def placement(self, name: str) -> list[Resource]:
        found = self._query(self._client.resource_list, None, [name])
        return [views.resource(one) for one in found if names.same(one["name"], name)]

    def place(self, name: str) -> None:
        """Raises NoSpaceError when no node is left that suits, NotFoundError.

        The layers are told: LINSTOR takes those of the group, which need not be those of a copy, and forgets what
        the definition had when it restores it or rolls it back.
        """
        stacks = [list(one.layers) for one in self.resources(name) if not one.diskless]
        path = "/resource-definitions/{}/autoplace"
        body = {"select_filter": {"layer_stack": stacks[0]} if stacks else {}}
        self._change(self._client.raw, "POST", path, name, body=body, about={"resource": name})

    def make_available(self, name: str, node: str) -> None:
        """Raises NotFoundError when there is no such node or resource.

        NotReadyError when the node is offline, evicted or no target of the autoplacer (REST guide 2.7).
        """
        call = self._client.resource_make_available
        about = {"resource": name, "node": node}
        self._change(call, node, name, about=about, classes=_ATTACH_CLASSES)

    def rebuild(self, name: str, snapshot: str) -> None:
        """Raises NotFoundError; ConflictError when there are resources, and nothing has changed then."""
        about = {"resource": name, "snapshot": snapshot}
        if not any(names.same(one.name, snapshot) for one in self.snapshots(name)):
            raise NotFoundError(f"LINSTOR has no snapshot {snapshot} of {name}")
        # the volume definition of a resource takes the data along
        if self.resources(name):
            raise ConflictError(f"{name} has resources, it is not made anew from {snapshot}")
        # REST guide 2.10: the sizes must be those of the snapshot
        self._settle(self._remove(name, self._client.volume_dfn_delete, name, 0), about)
        self._deploy(name, snapshot, name)

    def mark_unreverted(self, name: str, node: str, snapshot: str) -> None:
        """Raises NotFoundError."""
        call = self._client.resource_modify
        about = {"resource": name, "node": node}
        self._change(call, node, name, {names.UNREVERTED: snapshot}, about=about)

    # --- two primaries

    def let_migrate(self, name: str, source: str, target: str, *, clients: bool) -> None:
        """REST guide 3.6: from REST 1.29 on the controller opens and closes the window itself.

        Raises as ``make_available``; NotReadyError also while another migration has not ended (codes 900, 901), and
        RefusedError when an administrator wants a protocol that two primaries cannot have.
        """
        if self._client.rest_version >= (1, 29):
            path = "/resource-definitions/{}/resources/{}/make-available"
            body = {"diskful": False, "auto_manage_dual_primary": True}
            about = {"resource": name, "node": target}
            self._change(
                self._client.raw, "POST", path, name, target, body=body, about=about, classes=_ATTACH_CLASSES
            )
            return
        if clients:
            self._require_protocol_c(name)
            self.make_available(name, target)
            self.modify(name, {**_WINDOW, names.MIGRATION: f"{source} {target}"})
            return
        self.make_available(name, target)
        call = self._client.resource_conn_modify
        about = {"resource": name, "node": source, "peer": target}
        self._change(call, name, source, target, _WINDOW, [], about=about)

    def _require_protocol_c(self, name: str) -> None:
        definition = self.resource_definition(name)
        if definition is None:
            raise NotFoundError(f"LINSTOR has no resource {name}")
        protocol = definition.properties.get(names.PROTOCOL, "C")
        if protocol != "C":
            raise RefusedError(
                f"{name} has DRBD protocol {protocol}, a live migration between two diskless nodes needs C",
                hint=f"linstor resource-definition drbd-options --protocol C {name}",
            )

    def two_primaries(self, name: str) -> list[Pair]:
        return views.two_primaries(
            self._listed(self._client.resource_conn_list, name, about={"resource": name})
        )

    def forbid_two_primaries(self, name: str, pair: Pair) -> None:
        """Raises ControllerError while both are Primary: DRBD does not obey then."""
        about = {"resource": name, "node": pair[0], "peer": pair[1]}
        try:
            self._change(self._client.resource_conn_modify, name, *pair, {}, list(_WINDOW), about=about)
        except NotFoundError:
            return
        except ControllerError:
            # Before REST 1.29 a pair of which a resource is missing is an unknown error, too.
            if self._has_both(name, pair):
                raise

    def _has_both(self, name: str, pair: Pair) -> bool:
        nodes = {one.node.upper() for one in self.resources(name)}
        return {one.upper() for one in pair} <= nodes

    # --- detaching

    def release(
        self, name: str, node: str, *, shared: bool = False, resources: Sequence[Resource] | None = None
    ) -> bool:
        """Raises InUseError; ControllerError when DRBD does not forbid two primaries, and then nothing goes.

        REST guide 3.6: unmake-available does it all, and answers the same for no resource as for a tie-breaker,
        an info.  It also ends what a ``shared`` volume needs.
        """
        if self._client.rest_version >= (1, 29) and not shared:
            return self._unmake_available(name, node)
        resources = self.resources(name) if resources is None else resources
        here = next((one for one in resources if names.same(one.node, node)), None)
        if here is not None and here.in_use:
            raise InUseError(
                f"Resource '{here.name}' on node '{here.node}' is still in use",
                hint="is the VM still running there?",
            )
        if resources and not shared:
            self._forbid_all(name)
        if here is None:
            return False
        if here.diskless and not here.tie_breaker:
            about = {"resource": name, "node": here.node}
            call = self._client.resource_delete
            self._settle(self._remove(name, call, here.node, name, keep_tiebreaker=True), about)
        return True

    def _unmake_available(self, name: str, node: str) -> bool:
        path = "/resource-definitions/{}/resources/{}/unmake-available"
        found = self._remove(name, self._client.raw, "POST", path, name, node)
        if replies.first_error_code(found) in _GONE:
            return False
        # That a disk stays is wanted, and told as a warning without a code.
        news = [one for one in found if one.code or one.kind != replies.WARNING]
        self._settle(news, {"resource": name, "node": node})
        return any(one.kind != replies.INFO and one.code != replies.W_NOT_FOUND for one in found)

    def _forbid_all(self, name: str) -> None:
        """Ends every migration of a volume: the caller holds its lock, so none can be under way.

        Two diskless nodes have no connection that could allow it: then the definition does.  Addon-linstor allows it
        there for all nodes, and forbids it again only on its own system datastores.
        """
        for pair in self.two_primaries(name):
            self.forbid_two_primaries(name, pair)
        self.forbid_on_definition(name)

    def forbid_on_definition(self, name: str) -> None:
        definition = self.resource_definition(name)
        properties = {} if definition is None else definition.properties
        if names.MIGRATION in properties:
            self.modify(name, {}, [*_WINDOW, names.MIGRATION])
        elif properties.get(names.TWO_PRIMARIES) == "yes":
            self.modify(name, {}, [names.TWO_PRIMARIES])
            if names.SHARED not in properties:
                self.warnings.append(f"{name} had {names.TWO_PRIMARIES}, set by somebody else: removed")
