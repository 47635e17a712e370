# SPDX-License-Identifier: Apache-2.0
"""Resource definitions: made, read, changed, grown, deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable

from linstor_helper import names
from linstor_helper.errors import Error, NotFoundError, RefusedError
from linstor_helper.linstor_api import replies, views
from linstor_helper.linstor_api.replies import Entry
from linstor_helper.linstor_api.snapshots import Snapshots
from linstor_helper.ports import ResourceDefinition
from linstor_helper.units import Size

# REST 1.26: Delete, Rename or Dynamic, the default; inherited from the resource group and the controller
_RENAME = {"StorDriver/Zfs/DeleteStrategy": "Rename"}


# plain LVM does not grow while it has snapshots, which REST 1.29 brought
_RESIZE_CLASSES: dict[int, type[Error]] = {
    **replies.BY_CODE,
    replies.HAS_SNAPSHOTS: RefusedError,
    replies.KEPT_BY_SNAPSHOTS: RefusedError,
}


class Definitions(Snapshots):
    """The part of ``ports.Controller`` that is about definitions as a whole."""

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

    def regroup(self, name: str, group: str) -> None:
        """Raises NotFoundError for either; LINSTOR adds replicas that the new group wants, if it can."""
        call = self._client.resource_dfn_modify
        about = {"resource": name, "resource group": group}
        self._change(call, name, {}, resource_group=group, about=about)

    def delete(self, name: str) -> bool:
        """Raises InUseError with the node.  What offline satellites delete later is told in ``warnings``."""
        found = self._remove(name, self._client.resource_dfn_delete, name)
        if replies.first_error_code(found) == replies.HAS_SNAPSHOTS:
            for one in self.snapshots(name):
                self.delete_snapshot(name, one.name)
            found = self._remove(name, self._client.resource_dfn_delete, name)
        self._settle(found, {"resource": name})
        return all(one.code != replies.W_NOT_FOUND for one in found)

    def _remove(self, name: str, call: Callable[..., Any], *args: Any, **options: Any) -> list[Entry]:
        """A call that takes a resource away.

        A cluster may be set not to keep renamed what ZFS cannot delete yet.  LINSTOR refuses then (code 516), also
        for diskless resources and on other storage, as long as there is a snapshot.  The definition decides more.
        """
        found = self._entries(call, *args, **options)
        if replies.first_error_code(found) != replies.KEPT_BY_SNAPSHOTS:
            return found
        self.modify(name, _RENAME)
        return self._entries(call, *args, **options)

    def resize(self, name: str, size: Size) -> None:
        """Raises NotFoundError, NoSpaceError, NotReadyError while a replica is not up to date, RefusedError while
        snapshots prevent it.

        The present size is read first: a smaller one is obeyed and destroys data, without DRBD always, with
        DRBD before LINSTOR 1.33.3.
        """
        if self._size(name) >= size:
            return
        found = self._entries(self._client.volume_dfn_modify, name, 0, size=size.kib_up)
        if replies.first_error_code(found) == replies.INVALID_SIZE and self._size(name) >= size:
            # somebody else was faster
            return
        self._settle(found, {"resource": name}, _RESIZE_CLASSES)

    def _size(self, name: str) -> Size:
        definition = self.resource_definition(name)
        if definition is None or not definition.sizes:
            raise NotFoundError(f"LINSTOR has no resource {name} with a volume")
        return definition.sizes[0]
