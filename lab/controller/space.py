# SPDX-License-Identifier: Apache-2.0
"""Blocks that a pool holds, each shared block counted once. Everything is KiB."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class _Held:
    family: str
    allocated: int
    shared: int
    reserved: int
    measured: bool


class Space:
    """Use of one pool.

    Copies that share blocks with their origin form a family: what they had in common when they were made
    counts once, what each wrote later counts for itself. With ``dependent`` providers (ZFS) a deleted origin
    stays until the last copy of it is gone.
    """

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}
        self._families: dict[str, set[str]] = {}
        self._origins: dict[str, str] = {}
        self._ghosts: set[str] = set()
        self.used = 0
        self.reserved = 0

    def put(self, key: str, allocated: int, reserved: int, *, measured: bool) -> None:
        """Take a new object into account. ``measured``: its blocks change by writes (thin)."""
        self._insert(key, _Held(key, allocated, 0, reserved, measured))

    def put_copy(self, key: str, origin: str, reserved: int, *, dependent: bool, measured: bool) -> None:
        """Take a copy into account that shares all blocks with its origin."""
        source = self._held[origin]
        self._change(origin, source.allocated, max(source.shared, source.allocated))
        self._insert(key, _Held(source.family, source.allocated, source.allocated, reserved, measured))
        if dependent:
            self._origins[key] = origin

    def measure(self, key: str, allocated: int) -> None:
        """Blocks that the object has now."""
        held = self._held.get(key)
        if held and held.measured and held.allocated != allocated:
            self._change(key, allocated, held.shared)

    def grow(self, key: str, allocated: int, reserved: int) -> None:
        held = self._held[key]
        self.reserved += reserved - held.reserved
        held.reserved = reserved
        if not held.measured:
            self._change(key, allocated, held.shared)

    def drop(self, key: str) -> None:
        """The object was deleted; its blocks come back now or, with dependents, later."""
        if key not in self._held:
            return
        self.reserved -= self._held[key].reserved
        self._held[key].reserved = 0
        self._ghosts.add(key)
        while key in self._ghosts and key not in self._origins.values():
            origin = self._origins.pop(key, "")
            self._ghosts.discard(key)
            self._remove(key)
            key = origin

    def abandon(self, key: str) -> None:
        """The object's data stays behind on an unreachable node: its blocks are never given back."""
        if key in self._held:
            self._held[key].measured = False

    def measurable(self) -> list[str]:
        """Objects whose blocks are to be measured."""
        return [key for key, held in self._held.items() if held.measured and key not in self._ghosts]

    def holds(self, key: str) -> bool:
        return key in self._held and key not in self._ghosts

    def has_dependents(self, key: str) -> bool:
        return key in self._origins.values()

    def _family_used(self, family: str) -> int:
        members = [self._held[key] for key in self._families.get(family, ())]
        common = max((min(one.allocated, one.shared) for one in members), default=0)
        return common + sum(max(0, one.allocated - one.shared) for one in members)

    def _insert(self, key: str, held: _Held) -> None:
        if self._held.get(key):
            # a name can come back while ZFS still keeps the deleted object under another name
            self._rename_ghost(key)
        self.used -= self._family_used(held.family)
        self._held[key] = held
        self._families.setdefault(held.family, set()).add(key)
        self.used += self._family_used(held.family)
        self.reserved += held.reserved

    def _change(self, key: str, allocated: int, shared: int) -> None:
        held = self._held[key]
        self.used -= self._family_used(held.family)
        held.allocated, held.shared = allocated, shared
        self.used += self._family_used(held.family)

    def _remove(self, key: str) -> None:
        held = self._held[key]
        self.used -= self._family_used(held.family)
        self._families[held.family].discard(key)
        del self._held[key]
        self.used += self._family_used(held.family)
        if not self._families[held.family]:
            del self._families[held.family]

    def _rename_ghost(self, key: str) -> None:
        number = 1
        while f"{key}#{number}" in self._held:
            number += 1
        kept = f"{key}#{number}"
        held = self._held.pop(key)
        family = self._families.pop(key, None)
        if family is not None:
            for member in family:
                if member != key:
                    self._held[member].family = kept
            family.discard(key)
            family.add(kept)
            held.family = kept
            self._families[kept] = family
        else:
            self._families[held.family].discard(key)
            self._families[held.family].add(kept)
        self._held[kept] = held
        self._ghosts.discard(key)
        self._ghosts.add(kept)
        self._origins = {copy: kept if origin == key else origin for copy, origin in self._origins.items()}
        if key in self._origins:
            self._origins[kept] = self._origins.pop(key)
