# SPDX-License-Identifier: Apache-2.0
"""``ports.Controller`` by LINSTOR's REST API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from linstor_helper.errors import (
    CannotClone,
    ConfigError,
    Error,
    NoSpaceError,
    NotFoundError,
)
from linstor_helper.linstor_api import replies, views
from linstor_helper.linstor_api.addresses import Address
from linstor_helper.linstor_api.connection import Patience
from linstor_helper.linstor_api.credentials import Credentials
from linstor_helper.linstor_api.resources import Resources
from linstor_helper.linstor_api.transport import Transport
from linstor_helper.ports import CloneResult, Node, Space
from linstor_helper.units import Size

# REST guide 1.6: what some codes mean in these calls
_CLONE_CLASSES: dict[int, type[Error]] = {
    **replies.BY_CODE,
    replies.INVALID_SIZE: NoSpaceError,
    replies.CANNOT_CLONE: CannotClone,
}


class LinstorController(Resources):
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

    def version(self) -> tuple[int, ...]:
        return self._client.linstor_version

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
        dependent: bool,
    ) -> CloneResult:
        client = self._client
        # REST guide 1.2: a request with a field that the server does not know is never answered
        with_properties = client.rest_version >= (1, 26)
        with_sizes = client.rest_version >= (1, 29, 1)
        body: dict[str, Any] = {"name": name, "use_zfs_clone": dependent}
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
