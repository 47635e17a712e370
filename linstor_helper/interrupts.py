# SPDX-License-Identifier: Apache-2.0
"""Signals that end an action, and the moments at which they have to wait."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from linstor_helper.errors import Interrupted

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def raise_interrupted() -> None:
    """From now on the first of these signals raises Interrupted, so that the action undoes what it has begun."""
    for number in SIGNALS:
        signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """A second signal changes nothing: the undoing is under way."""
    for again in SIGNALS:
        signal.signal(again, signal.SIG_IGN)
    raise Interrupted(f"the action was ended by {signal.Signals(number).name}")


@contextmanager
def held() -> Iterator[None]:
    """Signals wait until the end of the block: for a step and the registration of its undo."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
