# SPDX-License-Identifier: Apache-2.0
"""``tm/linstor/resize``: a disk of a VM grows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from linstor_helper import lifecycle, resizing
from linstor_helper.actions.tm.disk import read_subject
from linstor_helper.call import expect, number, read_disk_call
from linstor_helper.units import Size

if TYPE_CHECKING:
    from linstor_helper.context import Context


def run(context: Context, args: Sequence[str], stdin: BinaryIO) -> str:
    """The hypervisor tells the guest of a running VM afterwards."""
    place, size, *rest = expect(args, "HOST:PATH SIZE VM DATASTORE")
    subject = read_subject(context, read_disk_call([place, *rest]))
    with context.locks.hold(subject.resource), context.undo() as undo:
        resizing.grow(
            subject.storage,
            subject.resource,
            Size.of_mib(number(size, "the size in MB")),
            subject.found.disk.format,
            undo,
            context.log.warning,
            running=lifecycle.resizes_running(subject.vm.lcm_state),
            host=subject.call.location.host,
            stay=f"{subject.vm.id}.{subject.vm.stays - subject.vm.resizes}",
        )
    return ""
