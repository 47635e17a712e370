# SPDX-License-Identifier: Apache-2.0
"""The system's clock."""

from __future__ import annotations

import time


class SystemClock:
    """``ports.Clock`` by the system's clocks."""

    def now(self) -> float:
        return time.monotonic()

    def today(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
