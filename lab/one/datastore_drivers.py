# SPDX-License-Identifier: Apache-2.0
"""Calling ``datastore/<DS_MAD>/<action>``, and what oned does to images when a call has ended."""

from __future__ import annotations

import base64
from pathlib import Path

from lab.one import documents, messages
from lab.one.calls import Call, Executor
from lab.one.inventory import Inventory
from lab.one.model import Datastore, Image, ImageState
from lab.one.version import OneVersion


class DatastoreDrivers:
    """Hands the XML of an action over as the release does it."""

    def __init__(self, inventory: Inventory, executor: Executor, remotes: Path, version: OneVersion) -> None:
        self._inventory = inventory
        self._executor = executor
        self._remotes = remotes
        self._version = version

    def call(self, store: Datastore, action: str, request: int, document: str) -> Call:
        """An action of an image datastore; `request` is the id in argv."""
        return self._start(self._remotes / "datastore" / store.ds_mad / action, request, document)

    def monitor_system(self, store: Datastore, document: str) -> Call:
        return self._start(self._remotes / "tm" / store.tm_mad / "monitor", store.id, document)

    def on_image(self, image: Image, action: str) -> Call:
        """An action on an image, which is LOCKED while it lasts and was not in the XML."""
        store = self._inventory.datastores[image.datastore_id]
        document = self.document(image)
        set_state(image, ImageState.LOCKED)
        return self.call(store, action, image.id, document)

    def made_source(self, call: Call) -> str:
        """The SOURCE that a ``mkfs`` has printed; from 6.0 on the complete line, a format after it included."""
        line = call.stdout.strip()
        return line if self._version.copy_prints_format else line.split(" ")[0]

    def document(self, image: Image) -> str:
        """The XML of an action on an image, in the state in which the image is now."""
        store = self._inventory.datastores[image.datastore_id]
        return documents.driver_action(
            documents.image(image, store, self._version), documents.datastore(store, self._version)
        )

    def _start(self, path: Path, request: int, document: str) -> Call:
        encoded = base64.b64encode(document.encode()).decode()
        if self._version.datastore_xml_on_stdin:
            return self._executor.run(path, [str(request)], encoded)
        return self._executor.run(path, [encoded, str(request)])


def register(inventory: Inventory, image: Image) -> None:
    """The image is there, LOCKED until it is made."""
    with inventory.lock:
        inventory.images[image.id] = image
        inventory.datastores[image.datastore_id].images.append(image.id)


def set_state(image: Image, state: ImageState) -> None:
    # oned updates PREV_STATE whenever it stores an image, so nobody sees them differ later on.
    image.state = image.prev_state = state


def complain(image: Image, prefix: str, info: str) -> None:
    """Set the ERROR attribute that the user sees."""
    image.template["ERROR"] = messages.image_error_attribute(messages.with_reason(prefix, info))


def fail(image: Image, prefix: str, info: str) -> None:
    """The image is of no use."""
    complain(image, prefix, info)
    set_state(image, ImageState.ERROR)


def info(call: Call) -> str:
    """The info field of the driver's answer: stdout of a success, the error text of a failure."""
    return call.stdout.strip() if call.ok else call.user_error
