# SPDX-License-Identifier: Apache-2.0
"""Images: what oned calls for the `oneimage` commands, and what it makes of the answers."""

from __future__ import annotations

from pathlib import Path

from lab.one import cloning, documents
from lab.one.calls import Call
from lab.one.datastore_drivers import DatastoreDrivers, fail, info, register, set_state
from lab.one.errors import OneError
from lab.one.inventory import Inventory
from lab.one.model import Datastore, Image, ImageState, ImageType
from lab.one.version import OneVersion

REMOVAL_FAILED = (
    "Error removing image from datastore. Retry the operation or manually remove image source  "
    "and run the delete --force operation to completely delete the image"
)
"""What the user sees after a failed ``rm``: oned drops the driver's own message."""


class ImageManager:
    """What users do with images and datastores."""

    def __init__(
        self, inventory: Inventory, drivers: DatastoreDrivers, version: OneVersion, datastores: str
    ) -> None:
        self._inventory = inventory
        self._drivers = drivers
        self._version = version
        self._datastores = datastores

    def create(
        self,
        name: str,
        *,
        path: str | Path | None = None,
        size: int | None = None,
        fs: str = "",
        type: str | ImageType = ImageType.OS,
        persistent: bool = False,
        datastore: int = 100,
        format: str = "",
        source: str = "",
        **template: str,
    ) -> Image:
        """`oneimage create`: stat and cp for a `path`, mkfs for a `size` (MiB), nothing for a `source`.

        `template` holds further attributes of the image (MD5, SHA1, DEV_PREFIX, ...). The image comes back
        READY, or in ERROR with the text that the user sees. Raises OneError when the request is refused
        before there is an image, as after a failed stat.
        """
        kind = ImageType[type.upper()] if isinstance(type, str) else type
        store = self._inventory.datastores[datastore]
        if path is not None and not source:
            given = "" if size is None else str(size)
            size = self._stat(str(path), kind, given, store)
        if size is None:
            raise OneError(
                "[one.image.allocate] Cannot parse image SIZE: Wrong number or missing SIZE attribute."
            )
        if store.total_mb and size > store.free_mb:
            raise OneError("[one.image.allocate] Not enough space in datastore")
        if kind is not ImageType.CDROM:
            template.setdefault("DEV_PREFIX", "vd")
        if path is None:
            forced = store.template.get("DRIVER") if self._version.driver_is_format else None
            format = forced or format or "raw"
        image = Image(
            self._inventory.next_image_id(),
            name,
            kind,
            datastore,
            size,
            persistent,
            "" if path is None else str(path),
            format,
            fs,
            template=dict(template),
        )
        document = self._drivers.document(image)
        register(self._inventory, image)
        if source:
            image.source = source
            set_state(image, ImageState.READY)
        elif path is not None:
            self._copied(image, self._drivers.call(store, "cp", image.id, document))
        else:
            self._made(image, self._drivers.call(store, "mkfs", image.id, document))
        return image

    def clone(self, image_id: int, name: str, datastore: int | None = None) -> Image:
        """`oneimage clone`; raises OneError when the original can not be cloned."""
        original = self._inventory.images[image_id]
        store = self._inventory.datastores[original.datastore_id if datastore is None else datastore]
        source_store = self._inventory.datastores[original.datastore_id]
        if store.ds_mad != source_store.ds_mad:
            raise OneError("[one.image.clone] Clone only supported to same DS_MAD Datastores")
        if original.state not in (ImageState.READY, ImageState.CLONE, ImageState.USED):
            raise OneError(f"[one.image.clone] Cannot clone image in state: {original.state.name}")
        if original.snapshots is not None and original.snapshots.records:
            raise OneError("[one.image.clone] Cannot clone images with snapshots")
        image = Image(
            self._inventory.next_image_id(),
            name,
            original.type,
            store.id,
            original.size_mb,
            path=original.source,
            format=original.format,
            fs=original.fs,
            cloning_id=original.id,
            template={key: value for key, value in original.template.items() if key != "ERROR"},
        )
        document = self._drivers.document(image)
        register(self._inventory, image)
        cloning.begin(original)
        call = self._drivers.call(store, "clone", image.id, document)
        words = call.stdout.split()
        if call.ok and words:
            image.source = words[0]
            if len(words) > 1:
                image.format = words[1]
            set_state(image, ImageState.READY)
        else:
            fail(image, f"Error cloning from Image {original.id}", info(call))
        image.cloning_id = -1
        cloning.end(original)
        return image

    def delete(self, image_id: int, force: bool = False) -> Call | None:
        """`oneimage delete`; None when there was nothing to call (an image without SOURCE).

        A failure leaves the image in ERROR with oned's fixed text; `force` drops it in any case.
        Raises OneError for an image in use.
        """
        image = self._inventory.images[image_id]
        if image.vms or image.cloning_ops:
            raise OneError(f"[one.image.delete] Cannot delete image, it is in use by {len(image.vms)} VMs")
        store = self._inventory.datastores[image.datastore_id]
        call = None
        if image.source:
            document = self._drivers.document(image)
            set_state(image, ImageState.DELETE)
            call = self._drivers.call(store, "rm", image.id, document)
            if not call.ok and not force:
                fail(image, REMOVAL_FAILED, "")
                return call
        with self._inventory.lock:
            del self._inventory.images[image_id]
            store.images.remove(image_id)
        return call

    def monitor(self, datastore: int, vm_disks: bool | None = None) -> Call:
        """Ask for the capacity of a datastore and keep it (MiB).

        `vm_disks` is MONITOR_VM_DISKS of a system datastore; None leaves the element out. Raises OneError
        for a system datastore that is not shared: oned does not call its driver.
        """
        store = self._inventory.datastores[datastore]
        xml = documents.datastore(store, self._version)
        if not store.is_system:
            call = self._drivers.call(store, "monitor", datastore, documents.driver_action(xml))
        else:
            if not store.shared:
                raise OneError(f"datastore {datastore} is not SHARED: its hosts report the capacity")
            extra = f"<DATASTORE_LOCATION>{self._datastores}</DATASTORE_LOCATION>"
            if vm_disks is not None:
                extra += f"<MONITOR_VM_DISKS>{int(vm_disks)}</MONITOR_VM_DISKS>"
            call = self._drivers.monitor_system(store, documents.driver_action(xml, extra))
        if call.ok:
            values = dict(word.split("=", 1) for word in call.stdout.split() if "=" in word)
            store.total_mb = int(values.get("TOTAL_MB", 0))
            store.free_mb = int(values.get("FREE_MB", 0))
            store.used_mb = int(values.get("USED_MB", 0))
        return call

    def _stat(self, path: str, kind: ImageType, size: str, store: Datastore) -> int:
        document = documents.driver_action(
            documents.stat_image(path, kind, size, self._version),
            documents.datastore(store, self._version),
        )
        call = self._drivers.call(store, "stat", self._inventory.next_request_id(), document)
        answer = call.stdout.strip() if call.ok else call.user_error
        if not call.ok or not answer.isdigit():
            raise OneError(f"[one.image.allocate] Cannot parse image SIZE: {answer}")
        return int(answer)

    def _copied(self, image: Image, call: Call) -> None:
        words = call.stdout.split()
        if not call.ok or not words:
            fail(image, "Error copying image in the datastore", info(call))
            return
        image.source = words[0]
        if self._version.copy_prints_format:
            if len(words) < 2:
                fail(image, "CP operation succeeded but image FORMAT was not returned.", "")
                return
            image.format = words[1]
        set_state(image, ImageState.READY)

    def _made(self, image: Image, call: Call) -> None:
        if not call.ok:
            fail(image, "Error creating datablock", info(call))
            return
        image.source = self._drivers.made_source(call)
        set_state(image, ImageState.READY)
