# SPDX-License-Identifier: Apache-2.0
"""What is on a volume's device: raw data, or a qcow2 image with its header, as addon-linstor registered some.

A guest, or a user with an empty image of that format, may have written the header: qemu-img must not follow it to other
files of the host.
"""

from __future__ import annotations

from linstor_helper import formats, host_commands
from linstor_helper.errors import RefusedError
from linstor_helper.ports import Hosts

QCOW2 = "qcow2"


def require_safe(hosts: Hosts, host: str, device: str, image_format: str, name: str) -> None:
    """Raises RefusedError when qemu-img must not open the device as an image of this format."""
    if image_format == formats.RAW:
        return
    if image_format != QCOW2:
        raise RefusedError(f"{name} is of format {image_format}, which is not one of raw and qcow2")
    with hosts.read(host, host_commands.read_all(device, formats.HEAD), f"reading {device}") as stream:
        head = stream.read(formats.HEAD)
        stream.read(1)
    if formats.identify(head) != QCOW2:
        raise RefusedError(f"{name} is said to be qcow2, and is not")
    formats.require_self_contained(QCOW2, head, name)
