# SPDX-License-Identifier: Apache-2.0
"""What driver calls cost: what the controller, the hosts and OpenNebula's API recorded while they ran."""

from __future__ import annotations

from dataclasses import dataclass, fields

from lab.cloud import Cloud
from lab.one import Call


@dataclass(frozen=True)
class Cost:
    """``seconds`` is wall time of the process; ``received`` bytes of bodies of the controller's replies.

    ``controller_seconds`` and ``ssh_seconds``: how long those were busy with it, by their own records. The
    latter lack what the ssh client needs to start. ``copied`` is bytes through ssh, either way.
    """

    seconds: float = 0.0
    requests: int = 0
    received: int = 0
    controller_seconds: float = 0.0
    ssh: int = 0
    ssh_seconds: float = 0.0
    copied: int = 0
    one: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))


class Meter:
    """Notes every driver call of a cloud with its cost, in ``taken``. Calls must not overlap."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._seen = self._position()
        self.taken: list[tuple[Call, Cost]] = []
        cloud.one.executor.watchers.append(self._ended)

    def since(self, mark: int) -> list[tuple[Call, Cost]]:
        """Calls after the first ``mark`` ones."""
        return self.taken[mark:]

    def _position(self) -> tuple[int, int, int]:
        cloud = self._cloud
        return len(cloud.controller.requests), len(cloud.hosts.calls), len(cloud.one.xmlrpc.requests)

    def _ended(self, call: Call) -> None:
        requests, ssh, one = self._seen
        self._seen = self._position()
        answered = self._cloud.controller.requests[requests : self._seen[0]]
        sessions = self._cloud.hosts.calls[ssh : self._seen[1]]
        cost = Cost(
            call.seconds,
            len(answered),
            sum(len(request.reply) for request in answered),
            sum(request.seconds for request in answered),
            len(sessions),
            sum(session["seconds"] for session in sessions),
            sum(session["stdin"] + session["stdout"] for session in sessions),
            self._seen[2] - one,
        )
        self.taken.append((call, cost))
