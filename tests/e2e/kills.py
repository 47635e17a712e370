# SPDX-License-Identifier: Apache-2.0
"""Drivers that are killed wherever something has changed, and what there is of a volume's content then.

A request that only reads changes nothing: dead before one, after one, or before the next request that writes, is all
the same for whoever comes afterwards.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import signal
from collections.abc import Iterator
from typing import Callable
from urllib.parse import quote

from lab.cloud import Cloud
from lab.controller.faults import CALL_AFTER
from lab.controller.model import ResourceDefinition
from lab.controller.names import key
from lab.hosts.domains import AgentCall
from lab.hosts.faults import SshFault
from tests.actions.tm.support import SIZE
from tests.e2e.scenes import Scene, Scenes


def after_request(cloud: Cloud, nth: int) -> None:
    """Dead when the nth request that writes has had its effect."""
    seen = itertools.count(1)

    def strike(method: str, _path: str) -> None:
        if method != "GET" and next(seen) == nth:
            _kill(cloud)

    cloud.controller.faults.add(CALL_AFTER, times=10**6, callback=strike)


def after_ssh(cloud: Cloud, nth: int) -> None:
    """Dead when the nth session has done all that it was asked for."""
    cloud.hosts.faults.add(SshFault("kill_driver", "after", nth))


def after_agent(cloud: Cloud, nth: int) -> None:
    """Dead when a guest's agent has done what it was asked for, the nth time: it freezes, and it thaws."""
    seen = itertools.count(1)

    def strike(_call: AgentCall) -> None:
        if next(seen) == nth:
            _kill(cloud)

    cloud.hosts.domains.watchers.append(strike)


def _kill(cloud: Cloud) -> None:
    for pid in cloud.one.executor.running():
        os.kill(pid, signal.SIGKILL)


Plan = Callable[[Cloud, int], None]
PLANS: tuple[Plan, ...] = (after_request, after_ssh)
LIVE: tuple[Plan, ...] = (after_request, after_agent)
"""For what holds a session with the guest's host meanwhile."""


def killed(cloud: Cloud, prepared: Scenes, plans: tuple[Plan, ...] = PLANS) -> Iterator[tuple[Scene, str]]:
    """New scenes whose calls were killed, each at another place, with a name of that; the last ones never are."""
    for plan in plans:
        for nth in itertools.count(1):
            scene = next(prepared)
            plan(cloud, nth)
            call = scene.run()
            cloud.controller.faults.clear()
            cloud.hosts.faults.clear()
            cloud.hosts.domains.watchers.clear()
            if call.rc != -signal.SIGKILL:
                assert call.ok, call.stderr
                break
            yield scene, f"{plan.__name__} {nth}"


def digest(data: bytes) -> str:
    return hashlib.sha256(data[:SIZE]).hexdigest()


def contents(cloud: Cloud, token: str) -> set[str]:
    """Digests of all that can be read or restored of the volumes with the token in their names."""
    found = set()
    for rd in cloud.cluster.rds.values():
        if token not in rd.name:
            continue
        if _is_readable(rd):
            found.add(_digest_of(cloud, rd.content_key(0)))
        for one in rd.snapshots.values():
            if one.successful and one.has_content and not one.deleting:
                found.add(_digest_of(cloud, rd.snapshot_key(0, one.name)))
    return found


def readable(cloud: Cloud, name: str) -> str | None:
    """The digest of a volume; None when there is none that can be read."""
    rd = cloud.cluster.rds.get(key(name))
    return _digest_of(cloud, rd.content_key(0)) if rd is not None and _is_readable(rd) else None


def digest_of_snapshot(cloud: Cloud, name: str, number: int) -> str:
    return _digest_of(cloud, cloud.cluster.rd(name).snapshot_key(0, f"OpenNebula-Snap-{number}"))


def _is_readable(rd: ResourceDefinition) -> bool:
    whole = 0 in rd.contents and not rd.flags
    return whole and any(one.deployed and one.volumes[0].up_to_date for one in rd.diskful)


def _digest_of(cloud: Cloud, content: str) -> str:
    return digest((cloud.hosts.layout.contents / quote(content, safe="@")).read_bytes())
