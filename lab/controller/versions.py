# SPDX-License-Identifier: Apache-2.0
"""REST versions as comparable tuples, and the LINSTOR release that speaks each."""

from __future__ import annotations

Version = tuple[int, ...]

_RELEASES: dict[Version, str] = {
    (1, 25): "1.31.0",
    (1, 26): "1.32.0",
    (1, 27): "1.33.0",
    (1, 28): "1.34.0",
    (1, 29): "1.35.0",
}


def parse(text: str) -> Version:
    """``"1.28.0"`` -> ``(1, 28, 0)``. Raises ValueError for anything but dotted numbers."""
    parts = tuple(int(part) for part in text.split("."))
    return parts + (0,) * (3 - len(parts))


def release(rest: Version) -> str:
    """First LINSTOR release with a REST version; the mapping before 1.25 is approximate (minor + 6)."""
    return _RELEASES.get(rest[:2], f"1.{rest[1] + 6}.0")
