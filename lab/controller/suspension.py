# SPDX-License-Identifier: Apache-2.0
"""Suspended I/O: what makes snapshots and clones of several replicas and resources show one instant."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Callable

from lab.controller.model import ResourceDefinition
from lab.controller.names import key

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster

Watcher = Callable[[frozenset[str]], None]


class Suspension:
    """Counts, and tells ``watchers`` (with the names of all that are suspended) while I/O is held back.

    A watcher is called after everything is suspended and before anything is taken: what guests write from
    then on until it ends is in none of the copies, so a watcher that writes stands for a guest that is late.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.watchers: list[Watcher] = []
        self._now: set[str] = set()
        self._times: dict[str, int] = {}

    @contextlib.contextmanager
    def hold(self, rds: Iterable[ResourceDefinition]) -> Iterator[None]:
        """I/O of these resources is resumed whatever happens within."""
        held = {rd.name for rd in rds}
        self._now |= held
        for name in held:
            self._times[key(name)] = self._times.get(key(name), 0) + 1
        try:
            for watcher in self.watchers:
                watcher(frozenset(self._now))
            yield
        finally:
            self._now -= held

    @property
    def now(self) -> frozenset[str]:
        """Names of the resource definitions whose I/O is suspended at the moment."""
        return frozenset(self._now)

    def times(self, rd_name: str) -> int:
        """How often I/O of the resource was suspended so far."""
        return self._times.get(key(rd_name), 0)
