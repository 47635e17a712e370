# SPDX-License-Identifier: Apache-2.0
"""What every action needs of its call: arguments of the right number and kind, an image with its id and size."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple

from linstor_helper import onexml
from linstor_helper.errors import UsageError
from linstor_helper.location import Location
from linstor_helper.onexml import Datastore, Image
from linstor_helper.units import Size


class ImageCall(NamedTuple):
    """A call of a datastore action that works on an image."""

    datastore: Datastore
    image: Image
    payload: bytes
    """Standard input as it came."""
    document: str
    """The XML in base64, wherever it came from."""

    @property
    def image_id(self) -> int:
        if self.image.id is None:
            raise UsageError("/DS_DRIVER_ACTION_DATA/IMAGE/ID is missing in the XML")
        return self.image.id

    @property
    def size(self) -> Size:
        """Of the image as it was declared.  Raises UsageError when it was not."""
        if not self.image.size:
            raise UsageError("/DS_DRIVER_ACTION_DATA/IMAGE/SIZE is missing in the XML")
        return self.image.size


def read_image_call(args: Sequence[str], stdin: BinaryIO) -> ImageCall:
    payload = onexml.drain(stdin)
    action = onexml.read_action(args, io.BytesIO(payload))
    document = args[0] if len(args) == 2 and args[0] != "-" else payload.decode("ascii", "replace")
    return ImageCall(action.datastore, action.require_image(), payload, "".join(document.split()))


class DiskCall(NamedTuple):
    """The end that all calls of transfer actions have in common: ``HOST:PATH VM DATASTORE``."""

    location: Location
    vm_id: int
    datastore_id: int


def read_disk_call(words: Sequence[str]) -> DiskCall:
    """Raises UsageError."""
    place, vm_id, datastore_id = words
    return DiskCall(
        Location.parse(place), number(vm_id, "the VM's id"), number(datastore_id, "the datastore's id")
    )


def expect(args: Sequence[str], usage: str) -> Sequence[str]:
    """``args`` when there are as many as ``usage`` has words.  Raises UsageError otherwise."""
    if len(args) != len(usage.split()):
        raise UsageError(f"expected {usage} as arguments, got {len(args)} arguments")
    return args


def number(text: str, what: str) -> int:
    """A decimal number that OpenNebula passes (an id, a size).  Raises UsageError."""
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"{what} is not a number: {text[:40]!r}")
    return int(text)
