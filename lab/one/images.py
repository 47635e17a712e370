# SPDX-License-Identifier: Apache-2.0
"""Images: what oned calls for the `oneimage` commands, and what it makes of the answers."""

from __future__ import annotations

import base64
from pathlib import Path

from lab.one import documents, messages
from lab.one.calls import Call, Executor
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
    """Calls ``datastore/<DS_MAD>/<action>`` with the XML of the action."""

    def __init__(
        self, inventory: Inventory, executor: Executor, remotes: Path, version: OneVersion, datastores: str
    ) -> None:
        self._inventory = inventory
        self._executor = executor
        self._remotes = remotes
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
        document = self.document(image)
        self._register(image, store)
        if source:
            image.source = source
            self._set_state(image, ImageState.READY)
        elif path is not None:
            self._copied(image, self._call(store, "cp", image.id, document))
        else:
            self._made(image, self._call(store, "mkfs", image.id, document))
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
        document = self.document(image)
        self._register(image, store)
        before = original.state
        original.cloning_ops += 1
        if before is ImageState.READY:
            self._set_state(original, ImageState.CLONE)
        call = self._call(store, "clone", image.id, document)
        words = call.stdout.split()
        if call.ok and words:
            image.source = words[0]
            if len(words) > 1:
                image.format = words[1]
            self._set_state(image, ImageState.READY)
        else:
            self._fail(image, f"Error cloning from Image {original.id}", _info(call))
        image.cloning_id = -1
        original.cloning_ops -= 1
        if original.cloning_ops == 0 and original.state is ImageState.CLONE:
            self._set_state(original, ImageState.READY)
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
            document = self.document(image)
            self._set_state(image, ImageState.DELETE)
            call = self._call(store, "rm", image.id, document)
            if not call.ok and not force:
                self._fail(image, REMOVAL_FAILED, "")
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
            call = self._call(store, "monitor", datastore, documents.driver_action(xml))
        else:
            if not store.shared:
                raise OneError(f"datastore {datastore} is not SHARED: its hosts report the capacity")
            extra = f"<DATASTORE_LOCATION>{self._datastores}</DATASTORE_LOCATION>"
            if vm_disks is not None:
                extra += f"<MONITOR_VM_DISKS>{int(vm_disks)}</MONITOR_VM_DISKS>"
            path = self._remotes / "tm" / store.tm_mad / "monitor"
            call = self._start(path, datastore, documents.driver_action(xml, extra))
        if call.ok:
            values = dict(word.split("=", 1) for word in call.stdout.split() if "=" in word)
            store.total_mb = int(values.get("TOTAL_MB", 0))
            store.free_mb = int(values.get("FREE_MB", 0))
            store.used_mb = int(values.get("USED_MB", 0))
        return call

    def _call(self, store: Datastore, action: str, request: int, document: str) -> Call:
        return self._start(self._remotes / "datastore" / store.ds_mad / action, request, document)

    def _start(self, path: Path, request: int, document: str) -> Call:
        encoded = base64.b64encode(document.encode()).decode()
        if self._version.datastore_xml_on_stdin:
            return self._executor.run(path, [str(request)], encoded)
        return self._executor.run(path, [encoded, str(request)])

    def _stat(self, path: str, kind: ImageType, size: str, store: Datastore) -> int:
        document = documents.driver_action(
            documents.stat_image(path, kind, size, self._version),
            documents.datastore(store, self._version),
        )
        call = self._call(store, "stat", self._inventory.next_request_id(), document)
        answer = call.stdout.strip() if call.ok else call.user_error
        if not call.ok or not answer.isdigit():
            raise OneError(f"[one.image.allocate] Cannot parse image SIZE: {answer}")
        return int(answer)

    def document(self, image: Image) -> str:
        """The XML of an action on an image, in the state in which the image is now."""
        store = self._inventory.datastores[image.datastore_id]
        return documents.driver_action(
            documents.image(image, store, self._version), documents.datastore(store, self._version)
        )

    def _register(self, image: Image, store: Datastore) -> None:
        with self._inventory.lock:
            self._inventory.images[image.id] = image
            store.images.append(image.id)

    def _copied(self, image: Image, call: Call) -> None:
        words = call.stdout.split()
        if not call.ok or not words:
            self._fail(image, "Error copying image in the datastore", _info(call))
            return
        image.source = words[0]
        if self._version.copy_prints_format:
            if len(words) < 2:
                self._fail(image, "CP operation succeeded but image FORMAT was not returned.", "")
                return
            image.format = words[1]
        self._set_state(image, ImageState.READY)

    def _made(self, image: Image, call: Call) -> None:
        if not call.ok:
            self._fail(image, "Error creating datablock", _info(call))
            return
        # From 6.0 on the complete line becomes SOURCE, a format after it included.
        line = call.stdout.strip()
        image.source = line if self._version.copy_prints_format else line.split(" ")[0]
        self._set_state(image, ImageState.READY)

    def _fail(self, image: Image, prefix: str, info: str) -> None:
        text = messages.image_error_attribute(messages.with_reason(prefix, info))
        image.template["ERROR"] = text
        self._set_state(image, ImageState.ERROR)

    @staticmethod
    def _set_state(image: Image, state: ImageState) -> None:
        # oned updates PREV_STATE whenever it stores an image, so nobody sees them differ later on.
        image.state = image.prev_state = state


def _info(call: Call) -> str:
    """The info field of the driver's answer: stdout of a success, the error text of a failure."""
    return call.stdout.strip() if call.ok else call.user_error
