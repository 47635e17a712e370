# SPDX-License-Identifier: Apache-2.0
"""The call of a datastore action: arguments and XML, wherever the installed OpenNebula puts them."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple

from linstor_helper.errors import UsageError
from linstor_helper.onexml.objects import datastore_of, image_of, vm_of
from linstor_helper.onexml.reading import parse
from linstor_helper.onexml.records import Datastore, Image, Vm

MAX_BYTES = 16 * 1024 * 1024
"""The longest base64 text that is read; real ones have a few kilobytes."""

_ID = re.compile(r"[0-9]{1,10}\Z")
_CHUNK = 1024 * 1024


class DriverAction(NamedTuple):
    """A <DS_DRIVER_ACTION_DATA> and the id that came with it."""

    id: int
    """Of the image; of the datastore (monitor), of the request (stat) or of the marketplace app (export)."""
    image: Image | None
    """None in monitor."""
    datastore: Datastore
    datastore_location: str | None
    """The directory of all system datastores; only when one is monitored."""
    monitor_vm_disks: bool
    """Whether the sizes of VM disks are wanted as well (system datastores, every n-th time)."""

    def require_image(self) -> Image:
        """Raises UsageError when the document has none."""
        if self.image is None:
            raise UsageError("/DS_DRIVER_ACTION_DATA/IMAGE is missing in the XML")
        return self.image


def read_action(args: Sequence[str], stdin: BinaryIO) -> DriverAction:
    """Reads the call of a datastore action; ``args`` are the arguments without the program's name.

    OpenNebula passes ``XML ID`` (up to 6.6), ``- ID`` (6.4.4 and 6.6.2 with -i) or ``ID`` (since 6.8), the
    XML in base64.  Standard input is always read to its end, because 5.12 fails when a driver does not.
    Raises UsageError.
    """
    payload = drain(stdin)
    if len(args) not in (1, 2):
        raise UsageError(f"expected [XML] ID as arguments, got {len(args)} arguments")
    origin = "the XML on standard input"
    if len(args) == 2 and args[0] != "-":
        payload, origin = args[0].encode("utf-8", "surrogateescape"), "the XML argument"
    root = parse(_decode(payload, origin), "DS_DRIVER_ACTION_DATA", origin)
    image = root.find("IMAGE")
    return DriverAction(
        id=_id(args[-1]),
        image=None if image is None else image_of(image),
        datastore=datastore_of(root.child("DATASTORE")),
        datastore_location=root.text("DATASTORE_LOCATION").strip() or None,
        monitor_vm_disks=root.flag("MONITOR_VM_DISKS"),
    )


def read_vm(payload: bytes) -> Vm:
    """The <VM> that pre-, post- and failmigrate get in base64; its history is the newest record only.

    Raises UsageError.
    """
    origin = "the XML on standard input"
    return vm_of(parse(_decode(payload, origin), "VM", origin))


def drain(stdin: BinaryIO) -> bytes:
    """All of stdin, or as much as shows that it is too long."""
    if stdin.isatty():  # Somebody tries the driver by hand.
        return b""
    payload = stdin.read(MAX_BYTES + 1)
    while len(payload) > MAX_BYTES and stdin.read(_CHUNK):
        pass
    return payload


def _decode(payload: bytes, origin: str) -> bytes:
    if len(payload) > MAX_BYTES:
        raise UsageError(f"{origin} is longer than {MAX_BYTES} bytes")
    text = b"".join(payload.split())
    if not text:
        raise UsageError(f"{origin} is missing")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise UsageError(f"{origin} is not base64", details=str(error)) from None


def _id(text: str) -> int:
    if _ID.match(text) is None:
        raise UsageError(f"the last argument is not an id: {text[:40]!r}")
    return int(text)
