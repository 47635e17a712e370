# SPDX-License-Identifier: Apache-2.0
"""Snapshots: taken, listed, deleted, rolled back to, restored into new definitions."""

from __future__ import annotations

from collections.abc import Mapping

from linstor_helper import names
from linstor_helper.errors import Error, NotReadyError
from linstor_helper.linstor_api import replies, views
from linstor_helper.linstor_api.session import Session
from linstor_helper.ports import Snapshot

_LIST = "/resource-definitions/{}/snapshots"

# no replica is left: all nodes that have one are being evacuated
_TAKE_CLASSES: dict[int, type[Error]] = {**replies.BY_CODE, replies.NOT_FOUND_RESOURCE: NotReadyError}


class Snapshots(Session):
    """The part of ``ports.Controller`` that is about snapshots."""

    def snapshots(self, name: str) -> list[Snapshot]:
        found = self._listed(self._client.raw, "GET", _LIST, name, about={"resource": name})
        return [views.snapshot(one) for one in found]

    def take_snapshot(self, name: str, snapshot: str, note: str = "") -> None:
        """Raises NotFoundError; a replica that is offline gets none, which is told in ``warnings``."""
        about = {"snapshot": snapshot, "resource": name}
        body: dict[str, object] = {"name": snapshot}
        if note:
            body["snapshot_definition_props"] = {names.ASKED: note}
        self._change(self._client.raw, "POST", _LIST, name, body=body, about=about, classes=_TAKE_CLASSES)

    def delete_snapshot(self, name: str, snapshot: str) -> None:
        about = {"snapshot": snapshot, "resource": name}
        self._change(self._client.snapshot_delete, name, snapshot, about=about)

    def roll_back(self, name: str, snapshot: str) -> None:
        """Raises NotFoundError.

        On ZFS always by a clone (REST 1.26: strategies): ``zfs rollback`` is done on one node after the other, and
        destroys what the node has.
        """
        path = "/resource-definitions/{}/snapshot-rollback/{}"
        body = {"zfs_rollback_strategy": "clone"} if self._client.rest_version >= (1, 26) else {}
        about = {"snapshot": snapshot, "resource": name}
        self._change(self._client.raw, "POST", path, name, snapshot, body=body, about=about)

    def restore(
        self, name: str, snapshot: str, target: str, *, group: str, properties: Mapping[str, str]
    ) -> None:
        """Raises NotFoundError, NoSpaceError.

        Replicas get layers, DRBD peer slots and encryption keys of the snapshot, whatever the group says.
        """
        about = {"resource": target, "resource group": group}
        definition = {"name": target, "resource_group_name": group, "props": dict(properties)}
        body = {"resource_definition": definition}
        self._change(self._client.raw, "POST", "/resource-definitions", body=body, about=about)
        self._deploy(name, snapshot, target)

    def _deploy(self, name: str, snapshot: str, target: str) -> None:
        about = {"snapshot": snapshot, "resource": name, "copy": target}
        self._change(self._client.snapshot_volume_definition_restore, name, snapshot, target, about=about)
        self._change(self._client.snapshot_resource_restore, [], name, snapshot, target, about=about)
