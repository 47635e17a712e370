# SPDX-License-Identifier: Apache-2.0
"""Waiting with an end."""

from __future__ import annotations

from collections.abc import Iterator

from linstor_helper.ports import Clock


def attempts(clock: Clock, seconds: float, *, first: float = 0.1, longest: float = 2.0) -> Iterator[float]:
    """Yields the seconds left, pausing in between with growing pauses, until ``seconds`` are over.

    Yields at least once, and a last time when the time is over (with 0.0), so that the caller sees the final state.
    """
    end = clock.now() + seconds
    pause = first
    while True:
        left = max(0.0, end - clock.now())
        yield left
        if left == 0.0:
            return
        clock.sleep(min(pause, left))
        pause = min(pause * 2, longest)
