# SPDX-License-Identifier: Apache-2.0
"""A controller that dies in the middle of a long operation, and starts again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster

STAGES = ("safety-taken", "deleted", "restored", "safety-deleted")
"""Of a rollback by restore, in their order."""


class ControllerDied(Exception):
    """The process is gone: what it was doing stops, and its client gets no reply."""


class Dying:
    """Plan of one death. What the database holds at that moment is what the next process finds."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._planned = ""

    def at(self, stage: str) -> None:
        """Let the controller die when an operation has come so far."""
        if stage not in STAGES:
            raise ValueError(f"no such stage: {stage}")
        self._planned = stage

    def reach(self, stage: str) -> None:
        """Raises ControllerDied when the plan says so."""
        if self._planned == stage:
            self._planned = ""
            raise ControllerDied(stage)

    def start_again(self) -> None:
        """A new process, to which the satellites that work connect."""
        with self.cluster.lock:
            for rd in list(self.cluster.rds.values()):
                self.cluster.safety.recover(rd)
