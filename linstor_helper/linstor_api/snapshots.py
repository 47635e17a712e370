# SPDX-License-Identifier: Apache-2.0
"""Snapshots: taken, listed, deleted, rolled back to, restored into new definitions."""

from __future__ import annotations

from collections.abc import Mapping

from linstor_helper.errors import NotFoundError
from linstor_helper.linstor_api import replies, views
from linstor_helper.linstor_api.resources import Resources
from linstor_helper.ports import Snapshot

_LIST = "/resource-definitions/{}/snapshots"


class Snapshots(Resources):
    """The part of ``ports.Controller`` that is about snapshots."""

    def snapshots(self, name: str) -> list[Snapshot]:
        data = self._json(self._client.raw, "GET", _LIST, name)
        if replies.is_reply(data):
            found = replies.entries(data)
            if replies.first_error_code(found) != replies.NOT_FOUND_DEFINITION:
                self._settle(found, {"resource": name})
            return []
        return [views.snapshot(one) for one in data]

    def take_snapshot(self, name: str, snapshot: str) -> None:
        """Raises NotFoundError; a replica that is offline gets none, which is told in ``warnings``."""
        about = {"snapshot": snapshot, "resource": name}
        self._change(self._client.snapshot_create, [], name, snapshot, about=about)

    def delete_snapshot(self, name: str, snapshot: str) -> None:
        about = {"snapshot": snapshot, "resource": name}
        self._change(self._client.snapshot_delete, name, snapshot, about=about)

    def roll_back(self, name: str, snapshot: str) -> None:
        """Raises NotFoundError."""
        about = {"snapshot": snapshot, "resource": name}
        self._change(self._client.snapshot_rollback, name, snapshot, about=about)

    def restore(
        self, name: str, snapshot: str, target: str, *, group: str, properties: Mapping[str, str]
    ) -> None:
        """Raises NotFoundError, NoSpaceError.

        The layers of the snapshot's resources are those of the source; those of replicas that come later are what
        the new definition says.
        """
        source = self._definition(name)
        if source is None:
            raise NotFoundError(f"LINSTOR has no resource {name}")
        definition = {
            "name": target,
            "resource_group_name": group,
            "props": dict(properties),
            "layer_data": [{"type": one["type"]} for one in source.get("layer_data") or []],
        }
        about = {"resource": target, "resource group": group}
        body = {"resource_definition": definition}
        self._change(self._client.raw, "POST", "/resource-definitions", body=body, about=about)
        about = {"snapshot": snapshot, "resource": name, "copy": target}
        self._change(self._client.snapshot_volume_definition_restore, name, snapshot, target, about=about)
        self._change(self._client.snapshot_resource_restore, [], name, snapshot, target, about=about)
