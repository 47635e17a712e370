# SPDX-License-Identifier: Apache-2.0
"""Numbers that the controller hands out."""

from __future__ import annotations

import heapq
import itertools


class _Pool:
    """The lowest free number, as LINSTOR's dynamic number pools do: numbers are reused."""

    def __init__(self, first: int) -> None:
        self._next = first
        self._returned: list[int] = []
        self._taken: set[int] = set()

    def take(self) -> int:
        while self._returned:
            number = heapq.heappop(self._returned)
            if number not in self._taken:
                self._taken.add(number)
                return number
        while self._next in self._taken:
            self._next += 1
        self._taken.add(self._next)
        return self._next

    def reserve(self, number: int) -> bool:
        """Take a certain number; answers False when it is in use."""
        if number in self._taken:
            return False
        self._taken.add(number)
        return True

    def give_back(self, number: int) -> None:
        if number in self._taken:
            self._taken.discard(number)
            heapq.heappush(self._returned, number)


class Numbers:
    """DRBD minors from 1000, TCP ports from 7000, an ever-growing sequence for ordering snapshots."""

    def __init__(self) -> None:
        self.minors = _Pool(1000)
        self.ports = _Pool(7000)
        self._sequence = itertools.count(1)

    def sequence(self) -> int:
        return next(self._sequence)
