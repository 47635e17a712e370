# SPDX-License-Identifier: Apache-2.0
"""``tm/linstor/resize``: a disk of a VM grows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from linstor_helper import host_commands, lifecycle, resizing
from linstor_helper.actions.tm.disk import Subject, read_subject
from linstor_helper.call import expect, number, read_disk_call
from linstor_helper.errors import CommandFailed
from linstor_helper.units import Size

if TYPE_CHECKING:
    from linstor_helper.context import Context


def run(context: Context, args: Sequence[str], stdin: BinaryIO) -> str:
    """The hypervisor tells the guest of a running VM afterwards."""
    place, size, *rest = expect(args, "HOST:PATH SIZE VM DATASTORE")
    subject = read_subject(context, read_disk_call([place, *rest]))
    running = lifecycle.resizes_running(subject.vm.lcm_state)
    with context.locks.hold(subject.resource), context.undo() as undo:
        resizing.grow(
            subject.storage,
            subject.resource,
            Size.of_mib(number(size, "the size in MB")),
            subject.found.disk.format,
            undo,
            context.log.warning,
            running=running,
            host=subject.call.location.host,
            stay=partial(_stay, subject, running),
        )
    return ""


def _stay(subject: Subject, running: bool) -> str:
    """What is another one as soon as the VM may have seen the new size: its process, or its next deployment.

    When the hypervisor does not tell, nobody knows: then it is never the same."""
    if not running:
        return f"{subject.vm.id}.{subject.vm.stays - subject.vm.resizes}"
    script = host_commands.tell_instance(subject.vm.deploy_id)
    try:
        words = subject.storage.hosts.run(subject.call.location.host, script, "asking the hypervisor").split()
    except CommandFailed:
        words = []
    return ".".join(words) if len(words) == 2 else os.urandom(8).hex()
