# SPDX-License-Identifier: Apache-2.0
"""Work of satellites that goes on after the reply: resync, clone copies."""

from __future__ import annotations

from typing import Callable


class Progress:
    """Done when ``seconds`` have passed and it was looked at ``looks`` times before.

    Counting looks makes a test independent of the speed of the machine; time alone serves the demo.
    """

    def __init__(self, clock: Callable[[], float], seconds: float = 0.0, looks: int = 0) -> None:
        self._clock = clock
        self._started = clock()
        self._seconds = seconds
        self._looks = looks
        self._seen = 0
        self._stuck = False

    @property
    def done(self) -> bool:
        return (
            not self._stuck and self._seen >= self._looks and self._clock() - self._started >= self._seconds
        )

    def look(self) -> bool:
        """Observe once from outside; answers whether it is done."""
        done = self.done
        self._seen += 1
        return done

    @property
    def stuck(self) -> bool:
        return self._stuck

    def stop(self) -> None:
        """The source of the data is gone."""
        self._stuck = True

    @property
    def percent(self) -> float:
        if self.done:
            return 100.0
        shares = [1.0]
        if self._seconds:
            shares.append((self._clock() - self._started) / self._seconds)
        if self._looks:
            shares.append(self._seen / (self._looks + 1))
        return round(min(99.9, 100.0 * min(shares)), 1)
