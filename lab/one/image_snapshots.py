# SPDX-License-Identifier: Apache-2.0
"""`oneimage snapshot-delete`, `snapshot-revert` and `snapshot-flatten`: snapshots of images that no VM uses.

Source of the facts: ``src/image/ImageManagerActions.cc`` and ``ImageManagerProtocol.cc``.
"""

from __future__ import annotations

from collections.abc import Callable

from lab.one.calls import Call
from lab.one.datastore_drivers import DatastoreDrivers, complain, info, set_state
from lab.one.errors import OneError
from lab.one.inventory import Inventory
from lab.one.model import Image, ImageState, ImageType
from lab.one.snapshots import Snapshots
from lab.one.version import OneVersion


class ImageSnapshots:
    """The image is READY again when the driver has failed, with an ERROR. All raise OneError for a refusal."""

    def __init__(self, inventory: Inventory, drivers: DatastoreDrivers, version: OneVersion) -> None:
        self._inventory = inventory
        self._drivers = drivers
        self._version = version

    def delete(self, image_id: int, snapshot: int) -> Call:
        def done(image: Image, record: Snapshots) -> None:
            record.remove(snapshot)

        failure = f"Error removing snapshot {snapshot} from image {image_id}"
        return self._run(image_id, snapshot, "delete", "delete", failure, done)

    def revert(self, image_id: int, snapshot: int) -> Call:
        def done(image: Image, record: Snapshots) -> None:
            record.activate(snapshot)
            if self._version.revert_restores_size:
                image.size_mb = record.records[snapshot].size

        failure = f"Error reverting image {image_id} to snapshot {snapshot}"
        return self._run(image_id, snapshot, "revert to", "revert", failure, done)

    def flatten(self, image_id: int, snapshot: int) -> Call:
        """The image becomes the snapshot and has none any more; oned leaves its SIZE as it is."""

        def done(image: Image, record: Snapshots) -> None:
            image.snapshots = None

        return self._run(image_id, snapshot, "flatten", "flatten", "Error flattening image snapshot", done)

    def _run(
        self,
        image_id: int,
        snapshot: int,
        doing: str,
        action: str,
        failure: str,
        done: Callable[[Image, Snapshots], None],
    ) -> Call:
        image = self._inventory.images[image_id]
        if image.type is ImageType.CDROM:
            raise _refused(
                action,
                "IMAGES of type KERNEL, RAMDISK, BACKUP, FILESYSTEM and CONTEXT does not have snapshots.",
            )
        if image.state is not ImageState.READY:
            raise _refused(action, f"Cannot {doing} snapshot in state {image.state.name}")
        record = image.snapshots
        if record is None or snapshot not in record.records:
            raise _refused(action, "Snapshot does not exist")
        image.target_snapshot = snapshot
        call = self._drivers.on_image(image, f"snap_{action}")
        if call.ok:
            done(image, record)
        else:
            complain(image, failure, info(call))
        image.target_snapshot = -1
        set_state(image, ImageState.READY)
        return call


def _refused(action: str, reason: str) -> OneError:
    return OneError(f"[one.image.snapshot{action}] {reason}")
