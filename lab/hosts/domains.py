# SPDX-License-Identifier: Apache-2.0
"""Domains as libvirt on a host knows them, and the agents in their guests that freeze file systems.

Facts: libvirt's ``qemuDomainFSFreeze`` and QEMU's guest agent. libvirt lets one agent command of a domain run at a
time and waits for the answer however long it takes, also when the virsh that asked is gone; a command that waits
for its turn is given up after 30 s. A frozen guest's agent refuses to freeze once more.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lab.hosts.guest import Guest
from lab.hosts.page_cache import PageCache

Memory = Mapping[int, PageCache]
"""What a guest's operating system had in memory, by the ids of its disks."""


@dataclass(frozen=True)
class Agent:
    """How a domain's guest agent behaves.

    ``freeze_delay``, ``thaw_delay``: seconds before it does what it was asked for, whether somebody still waits
    for it or not; ``math.inf``: it never does.
    """

    configured: bool = True
    connected: bool = True
    freeze_delay: float = 0.0
    thaw_delay: float = 0.0


ABSENT = Agent(configured=False)
RUNNING = Agent()
DISCONNECTED = Agent(connected=False)


class DomainError(Exception):
    """A call of libvirt's failed; the text is libvirt's."""


@dataclass(frozen=True)
class AgentCall:
    """A freeze or a thaw that an agent was asked for and that has ended.

    ``began``, ``ended``: `time.monotonic`; a call that fails for want of an agent begins nothing and is left out.
    """

    action: str
    host: str
    domain: str
    began: float
    ended: float
    filesystems: int


class _Domain:
    def __init__(self, guests: Mapping[int, Guest], number: int) -> None:
        self.guests = guests
        self.number = number
        self.agent_job = threading.Lock()
        self.ended = False

    @property
    def running(self) -> bool:
        return not self.ended and all(guest.alive for guest in list(self.guests.values()))

    @property
    def mounted(self) -> list[Guest]:
        """Disks with a file system that the agent can freeze."""
        return [guest for guest in list(self.guests.values()) if guest.writes]

    @property
    def frozen(self) -> bool:
        return self.running and any(guest.cache.frozen for guest in list(self.guests.values()))


class Domains:
    """All domains of the lab, by host and name. A domain has no agent until ``set_agent`` gives it one.

    ``job_wait``: seconds that an agent command waits for its turn. ``watchers`` see what an agent has done before
    virsh hears of it, in a thread of their own.
    """

    def __init__(self) -> None:
        self.job_wait = 30.0
        self.calls: list[AgentCall] = []
        self.watchers: list[Callable[[AgentCall], object]] = []
        self._domains: dict[tuple[str, str], _Domain] = {}
        self._agents: dict[str, Agent] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._closing = threading.Event()

    def set_agent(self, name: str, agent: Agent) -> None:
        """For the domain of that name wherever it runs, now and later."""
        self._agents[name] = agent

    def start(self, host: str, name: str, guests: Mapping[int, Guest], memory: Memory | None = None) -> None:
        """The domain runs on the host with these disks (the mapping may change later).

        ``memory``: what ``end`` gave when it ran before, unless it boots anew.
        """
        for disk, cache in (memory or {}).items():
            if disk in guests:
                guests[disk].cache = cache
        with self._lock:
            self._domains[host, name] = _Domain(guests, next(self._numbers))

    def shut_down(self, host: str, name: str) -> None:
        """The guest's system writes back what it has in memory. Raises OSError when it can not: BlockingIOError in
        a frozen guest, which hangs."""
        domain = self._domains.get((host, name))
        for guest in domain.guests.values() if domain else ():
            guest.cache.check()
            guest.sync()

    def end(self, host: str, name: str) -> Memory:
        """The domain runs there no longer. Returns what it had in memory; nothing for an unknown one."""
        with self._lock:
            domain = self._domains.pop((host, name), None)
        if domain is None:
            return {}
        domain.ended = True
        return {disk: guest.cache for disk, guest in domain.guests.items()}

    def end_all(self, host: str) -> None:
        """The host is dead."""
        for where, name in list(self._domains):
            if where == host:
                self.end(where, name)

    def state(self, host: str, name: str) -> str:
        """``running`` or ``shut off``. Raises KeyError for an unknown domain, as do ``freeze`` and ``thaw``."""
        return "running" if self._domains[host, name].running else "shut off"

    def number(self, host: str, name: str) -> int | None:
        """Another one for each start; None for a domain that is shut off. Raises KeyError."""
        domain = self._domains[host, name]
        return domain.number if domain.running else None

    def frozen(self) -> set[str]:
        """Names of the running domains with a frozen file system."""
        return {name for (_, name), domain in list(self._domains.items()) if domain.frozen}

    def freeze(self, host: str, name: str) -> int:
        """Let the agent freeze all file systems; returns their number. Raises DomainError."""
        return self._command("freeze", host, name)

    def thaw(self, host: str, name: str) -> int:
        """Let the agent thaw all file systems; returns the number of those that were frozen. Raises DomainError."""
        return self._command("thaw", host, name)

    def close(self) -> None:
        """Agents that have not answered never will."""
        self._closing.set()

    def _command(self, action: str, host: str, name: str) -> int:
        domain = self._domains[host, name]
        if not domain.agent_job.acquire(timeout=self.job_wait):
            raise DomainError(
                "Timed out during operation: cannot acquire state change lock (held by "
                "agent=remoteDispatchDomainFSFreeze)"
            )
        try:
            agent = self._available(domain, name)
            began = time.monotonic()
            self._wait(agent.freeze_delay if action == "freeze" else agent.thaw_delay)
            if not domain.running:
                raise DomainError(
                    "Guest agent is not responding: Guest agent disappeared while executing command"
                )
            count = _freeze(domain) if action == "freeze" else _thaw(domain)
            call = AgentCall(action, host, name, began, time.monotonic(), count)
            self.calls.append(call)
            for watcher in self.watchers:
                watcher(call)
            return count
        finally:
            domain.agent_job.release()

    def _available(self, domain: _Domain, name: str) -> Agent:
        agent = self._agents.get(name, ABSENT)
        if not domain.running:
            raise DomainError("Requested operation is not valid: domain is not running")
        if not agent.configured:
            raise DomainError("argument unsupported: QEMU guest agent is not configured")
        if not agent.connected:
            raise DomainError("Guest agent is not responding: QEMU guest agent is not connected")
        return agent

    def _wait(self, seconds: float) -> None:
        if self._closing.wait(min(seconds, threading.TIMEOUT_MAX)):
            raise DomainError("Guest agent is not responding: Guest agent not available for now")


def _freeze(domain: _Domain) -> int:
    if domain.frozen:
        raise _refusal(
            "freeze", "Command guest-fsfreeze-freeze has been disabled: the agent is in frozen state"
        )
    frozen: list[Guest] = []
    for guest in domain.mounted:
        try:
            guest.freeze()
        except OSError as error:
            for other in frozen:
                other.thaw()
            raise _refusal(
                "freeze", f"failed to freeze {guest.path}: {os.strerror(error.errno or 0)}"
            ) from error
        frozen.append(guest)
    return len(frozen)


def _thaw(domain: _Domain) -> int:
    return sum(guest.thaw() for guest in domain.mounted)


def _refusal(command: str, text: str) -> DomainError:
    """What libvirt makes of an error that the agent answers."""
    return DomainError(
        f"internal error: unable to execute QEMU agent command 'guest-fsfreeze-{command}': {text}"
    )
