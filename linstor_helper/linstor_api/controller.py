# SPDX-License-Identifier: Apache-2.0
"""``ports.Controller`` by LINSTOR's REST API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from linstor_helper import names
from linstor_helper.errors import (
    CannotClone,
    ConfigError,
    Error,
    NoSpaceError,
    NotFoundError,
    NotReadyError,
)
from linstor_helper.linstor_api import replies, views
from linstor_helper.linstor_api.addresses import Address
from linstor_helper.linstor_api.connection import Patience
from linstor_helper.linstor_api.credentials import Credentials
from linstor_helper.linstor_api.session import Session
from linstor_helper.linstor_api.transport import Transport
from linstor_helper.ports import CloneResult, Node, Resource, ResourceDefinition, Space
from linstor_helper.units import Size

# REST guide 1.6: what some codes mean in these calls
_CLONE_CLASSES: dict[int, type[Error]] = {
    **replies.BY_CODE,
    replies.INVALID_SIZE: NoSpaceError,
    replies.CANNOT_CLONE: CannotClone,
}
_ATTACH_CLASSES: dict[int, type[Error]] = {**replies.BY_CODE, replies.NOT_FOUND_POOL: NotReadyError}
_GONE = (replies.NOT_FOUND_NODE, replies.NOT_FOUND_DEFINITION, replies.NOT_FOUND_RESOURCE)


class LinstorController(Session):
    """A cluster behind a list of controllers, of which one serves.  Nothing is sent before the first call.

    Times are seconds.  ``warnings`` collects what the controller warned of in calls that succeeded.
    Every method may raise ControllerUnavailable and ConfigError; those that change something, UnknownOutcome.
    """

    def __init__(
        self,
        controllers: Sequence[str],
        *,
        connect_timeout: float,
        timeout: float,
        cafile: str | None = None,
        certfile: str | None = None,
        keyfile: str | None = None,
        token_file: str | None = None,
        verify: bool = True,
        cache_seconds: int = 60,
    ) -> None:
        if not controllers:
            raise ConfigError("LINSTOR_CONTROLLERS names no controller")
        self._addresses = [Address.parse(one) for one in controllers]
        self._cache_seconds = cache_seconds
        warnings: list[str] = []
        credentials = Credentials(cafile, certfile, keyfile, token_file, verify)
        patience = Patience(connect_timeout, timeout)
        super().__init__(Transport(self._addresses, credentials, patience, warnings), warnings)

    def close(self) -> None:
        """Ends the connection; a later call makes a new one."""
        self._client.disconnect()

    def identity(self) -> frozenset[str]:
        return frozenset(address.identity for address in self._addresses)

    # --- resource definitions

    def spawn(self, group: str, name: str, size: Size, properties: Mapping[str, str]) -> None:
        """Raises NoSpaceError and leaves nothing; any later failure leaves a definition to the caller."""
        body = {
            "resource_definition_name": name,
            "volume_sizes": [size.kib_up],
            # the group may have no volume group, or several
            "partial": True,
            "resource_definition_props": dict(properties),
        }
        about = {"resource": name, "resource group": group}
        self._change(self._client.raw, "POST", "/resource-groups/{}/spawn", group, body=body, about=about)

    def resource_definition(self, name: str) -> ResourceDefinition | None:
        found = self._query(self._client.resource_dfn_list, True, [name])
        return next((views.resource_definition(one) for one in found if names.same(one["name"], name)), None)

    def modify(self, name: str, properties: Mapping[str, str], drop: Sequence[str] = ()) -> None:
        """Raises NotFoundError."""
        call = self._client.resource_dfn_modify
        self._change(call, name, dict(properties), list(drop), about={"resource": name})

    def delete(self, name: str) -> bool:
        """Raises InUseError with the node.  What offline satellites delete later is told in ``warnings``."""
        found = self._entries(self._client.resource_dfn_delete, name)
        if replies.first_error_code(found) == replies.HAS_SNAPSHOTS:
            self._delete_snapshots(name)
            found = self._entries(self._client.resource_dfn_delete, name)
        self._settle(found, {"resource": name})
        return all(one.code != replies.W_NOT_FOUND for one in found)

    def _delete_snapshots(self, name: str) -> None:
        for one in self._query(self._client.snapshot_dfn_list, None, [name]):
            if names.same(one["resource_name"], name):
                snapshot = one["name"]
                about = {"snapshot": snapshot, "resource": name}
                self._change(self._client.snapshot_delete, name, snapshot, about=about)

    def resize(self, name: str, size: Size) -> None:
        """Raises NotFoundError, NoSpaceError, NotReadyError while a replica is not up to date.

        The present size is read first: a smaller one is obeyed and destroys data, without DRBD always, with
        DRBD before LINSTOR 1.33.3.
        """
        if self._size(name) >= size:
            return
        found = self._entries(self._client.volume_dfn_modify, name, 0, size=size.kib_up)
        if replies.first_error_code(found) == replies.INVALID_SIZE and self._size(name) >= size:
            # somebody else was faster
            return
        self._settle(found, {"resource": name})

    def _size(self, name: str) -> Size:
        definition = self.resource_definition(name)
        if definition is None or not definition.sizes:
            raise NotFoundError(f"LINSTOR has no resource {name} with a volume")
        return definition.sizes[0]

    # --- clones

    def clone(
        self,
        source: str,
        name: str,
        *,
        group: str | None,
        properties: Mapping[str, str],
        drop: Sequence[str],
        size: Size | None,
    ) -> CloneResult:
        client = self._client
        # REST guide 1.2: a request with a field that the server does not know is never answered
        with_properties = client.rest_version >= (1, 26)
        with_sizes = client.rest_version >= (1, 29, 1)
        body: dict[str, Any] = {"name": name}
        if group:
            body["resource_group"] = group
        if with_properties:
            body.update(override_props=dict(properties), delete_props=list(drop))
        if with_sizes and size is not None:
            body["volume_sizes"] = [size.kib_up]
        path = "/resource-definitions/{}/clone"
        about = {"resource": source, "clone": name}
        self._change(client.raw, "POST", path, source, body=body, about=about, classes=_CLONE_CLASSES)
        return CloneResult(
            properties_set=with_properties or not (properties or drop),
            size_set=with_sizes or size is None,
        )

    def clone_state(self, source: str, name: str) -> str:
        """Raises NotFoundError when there is no such clone."""
        status = self._query(self._client.resource_dfn_clone_status, source, name, about={"clone": name})
        return str(status["status"])

    # --- resources

    def resources(self, name: str) -> list[Resource]:
        """Asks no satellite.  ``disk_state`` is told of resources with DRBD only."""
        data = self._json(self._client.raw, "GET", "/resource-definitions/{}/resources", name)
        if replies.is_reply(data):
            found = replies.entries(data)
            if replies.first_error_code(found) != replies.NOT_FOUND_DEFINITION:
                self._settle(found, {"resource": name})
            return []
        return [views.resource(one) for one in data]

    def placement(self, name: str) -> list[Resource]:
        found = self._query(self._client.resource_list, None, [name])
        return [views.resource(one) for one in found if names.same(one["name"], name)]

    def place(self, name: str) -> None:
        """Raises NoSpaceError when no node is left that suits, NotFoundError."""
        path = "/resource-definitions/{}/autoplace"
        self._change(
            self._client.raw, "POST", path, name, body={"select_filter": {}}, about={"resource": name}
        )

    def make_available(self, name: str, node: str) -> None:
        """Raises NotFoundError when there is no such node or resource.

        NotReadyError when the node is offline, evicted or no target of the autoplacer (REST guide 2.7).
        """
        call = self._client.resource_make_available
        about = {"resource": name, "node": node}
        self._change(call, node, name, about=about, classes=_ATTACH_CLASSES)

    def release(self, name: str, node: str) -> bool:
        """Raises InUseError.  Does nothing where there is nothing to release.

        REST guide 3.6: unmake-available answers the same for no resource as for a tie-breaker, an info.
        """
        path = "/resource-definitions/{}/resources/{}"
        seen = False
        if self._client.rest_version >= (1, 29):
            data = self._json(self._client.raw, "POST", path + "/unmake-available", name, node)
        else:
            data = self._json(self._client.raw, "GET", path, name, node)
            if isinstance(data, dict):
                resource = views.resource(data)
                if not resource.diskless or resource.tie_breaker:
                    return True
                seen = True
                data = self._json(self._client.resource_delete, node, name, keep_tiebreaker=True)
        found = replies.entries(data)
        if replies.first_error_code(found) in _GONE:
            return False
        self._settle(found, {"resource": name, "node": node})
        return seen or any(one.kind != replies.INFO and one.code != replies.W_NOT_FOUND for one in found)

    # --- the cluster

    def space(self, group: str) -> Space:
        """Raises NotFoundError: of a group that does not exist LINSTOR tells with HTTP status 200."""
        body = {"ignore_cache_older_than_sec": self._cache_seconds}
        path = "/resource-groups/{}/query-size-info"
        data = self._json(self._client.raw, "POST", path, group, body=body, reads=True)
        about = {"resource group": group}
        if "space_info" not in data:
            self._settle(replies.entries(data if replies.is_reply(data) else data.get("reports", [])), about)
            raise NotFoundError(f"LINSTOR tells no space of resource group {group}")
        return views.space(data["space_info"])

    def nodes(self) -> list[Node]:
        return [views.node(one) for one in self._query(self._client.node_list)]
