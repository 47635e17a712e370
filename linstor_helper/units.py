# SPDX-License-Identifier: Apache-2.0
"""One type for every size: bytes inside, explicit rounding at the edges.

OpenNebula speaks MiB (it writes "MB"), LINSTOR speaks KiB, devices and images speak bytes.
"""

from __future__ import annotations

from typing import NamedTuple

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


class Size(NamedTuple):
    """A number of bytes, never negative."""

    bytes: int

    @classmethod
    def of_bytes(cls, count: int) -> Size:
        """Raises ValueError when ``count`` is negative."""
        if count < 0:
            raise ValueError(f"a size cannot be negative: {count}")
        return cls(count)

    @classmethod
    def of_kib(cls, count: int) -> Size:
        return cls.of_bytes(count * KIB)

    @classmethod
    def of_mib(cls, count: int) -> Size:
        return cls.of_bytes(count * MIB)

    @property
    def kib_up(self) -> int:
        """KiB, rounded up: what a volume must have at least."""
        return -(-self.bytes // KIB)

    @property
    def mib_up(self) -> int:
        """MiB, rounded up: what an image must be declared with."""
        return -(-self.bytes // MIB)

    @property
    def mib_down(self) -> int:
        """MiB, rounded down: what may be promised as free."""
        return self.bytes // MIB

    def __bool__(self) -> bool:
        """Whether it is more than nothing; a tuple of one would always be true."""
        return self.bytes > 0

    def __str__(self) -> str:
        for unit, factor in (("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
            if self.bytes >= factor and self.bytes % factor == 0:
                return f"{self.bytes // factor} {unit}"
        return f"{self.bytes} bytes"
