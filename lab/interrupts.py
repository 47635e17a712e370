# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and SIGTERM in the lab's programs: the first one ends them, and nothing disturbs the cleaning up."""

from __future__ import annotations

import signal
from types import FrameType

EXIT_STATUS = 130
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def raise_once() -> None:
    """From now on the first signal raises KeyboardInterrupt, further ones do nothing."""
    for number in _SIGNALS:
        signal.signal(number, _interrupt)


def ignore() -> None:
    """From now on nothing interrupts."""
    for number in _SIGNALS:
        # Not SIG_IGN: Python complains on stderr when such a signal is under way just now.
        signal.signal(number, _do_nothing)


def _interrupt(number: int, frame: FrameType | None) -> None:
    ignore()
    raise KeyboardInterrupt


def _do_nothing(number: int, frame: FrameType | None) -> None:
    """A signal came too late."""
