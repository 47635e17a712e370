# SPDX-License-Identifier: Apache-2.0
"""Keeping a guest from writing for the moment of a snapshot, through its guest agent.

The host thaws the guest: when it is told to, when the driver is gone, and in any case after a while.  So nothing that
happens to the driver or to the network leaves a guest frozen.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Callable

from linstor_helper.errors import DeadlineExceeded, Error
from linstor_helper.host_commands import EXPIRED, FREEZE_ANSWERS, FROZEN, RELEASED, freeze
from linstor_helper.ports import Conversation, Hosts, Warn

LONGEST = 30
"""Seconds after which a guest is thawed although the snapshot is not finished."""


@contextmanager
def quiesced(hosts: Hosts, host: str, domain: str, tell: Callable[[str], None], warn: Warn) -> Iterator[None]:
    """Freezes the guest ``domain`` on ``host`` if its agent answers, and thaws it.

    ``tell`` is told whether what was done meanwhile is file-system- or crash-consistent.  Raises nothing by itself: a
    guest without an agent is the usual case.
    """
    with hosts.converse(host, freeze(domain, LONGEST)) as talk:
        refusal = _freeze(talk, host)
        frozen = refusal is None
        try:
            yield
        finally:
            end = _thaw(talk) if frozen else ""
            if frozen and end not in (RELEASED, EXPIRED):
                warn(
                    f"guest {domain} on {host} may still be frozen ({end or 'host not reached'}); "
                    f"run `virsh -c qemu:///system domfsthaw {domain}` there"
                )
    if end == RELEASED:
        tell(f"file-system-consistent: guest {domain} was frozen")
    else:
        tell(f"crash-consistent: {refusal or f'guest {domain} was not frozen for long enough'}")


def _freeze(talk: Conversation, host: str) -> str | None:
    """None when the guest is frozen, else the reason why not."""
    try:
        said = talk.hear(FREEZE_ANSWERS)
    except DeadlineExceeded:
        return f"host {host} did not answer"
    return None if said == FROZEN else said.strip() or f"host {host} cannot be reached"


def _thaw(talk: Conversation) -> str:
    talk.say("done")
    try:
        return talk.hear(FREEZE_ANSWERS)
    except Error:
        return ""
