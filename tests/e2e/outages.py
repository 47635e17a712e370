# SPDX-License-Identifier: Apache-2.0
"""Hosts that are lost and come back, and what may be left on them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lab.cloud import Cloud
from lab.one import Call, HostState, LcmState, VirtualMachine
from tests.actions.support import by_res
from tests.actions.tm.support import on_nodes

Ssh = dict[str, object]
"""A call of ssh, as `lab.hosts.Hosts.calls` tells of it."""


def impatient(cloud: Cloud, attach: str = "1", **attributes: str) -> None:
    """Refusals come after ``attach`` seconds, and a host that does not answer is given up after one."""
    for store in cloud.one.inventory.datastores.values():
        store.template.update(LINSTOR_ATTACH_TIMEOUT=attach, LINSTOR_SSH_TIMEOUT="1", **attributes)


def lose(cloud: Cloud, host: str) -> None:
    """The power fails, and OpenNebula sees that the host is gone."""
    cloud.cluster.set_online(host, False)
    cloud.hosts.set_power(host, False)
    cloud.one.host_error(host)


def bring_back(cloud: Cloud, host: str) -> None:
    cloud.hosts.set_power(host, True)
    cloud.cluster.set_online(host, True)
    cloud.one.host_state(host, HostState.MONITORED)


def running(vm: VirtualMachine, host: str | None = None) -> VirtualMachine:
    """The VM, which has to run, on that host if one is named."""
    assert vm.lcm_state is LcmState.RUNNING, (vm.state_name, vm.error)
    assert host in (None, vm.host)
    return vm


def write(cloud: Cloud, vm: VirtualMachine, text: str) -> None:
    """The guest writes to its first disk."""
    cloud.one.hypervisor.guest(vm.id, 0).write(4096, text.encode())


def assert_reads(cloud: Cloud, vm: VirtualMachine, text: str) -> None:
    """The guest finds what ``write`` wrote."""
    assert cloud.one.hypervisor.guest(vm.id, 0).read(4096, len(text)) == text.encode()


@contextmanager
def ssh_to(cloud: Cloud, host: str) -> Iterator[list[Ssh]]:
    """The ssh calls to a host while the context lasts, answered or not."""
    seen: list[Ssh] = []
    before = len(cloud.hosts.calls)
    yield seen
    seen += [call for call in cloud.hosts.calls[before:] if call["host"] == host]


def clients(cloud: Cloud) -> dict[str, list[str]]:
    """The volumes that a node has open over the network, or could have, by node."""
    found: dict[str, list[str]] = {}
    for rd in cloud.cluster.rds.values():
        for node, role in on_nodes(cloud, rd.name).items():
            if role == "diskless":
                found.setdefault(node, []).append(rd.name)
    return {node: sorted(names) for node, names in found.items()}


def has_device(cloud: Cloud, host: str, volume: str) -> bool:
    return cloud.hosts.path(host, by_res(volume)).exists()


def votes(cloud: Cloud, volume: str) -> list[str]:
    """What of the volume is on nodes, clients aside."""
    return sorted(role for role in on_nodes(cloud, volume).values() if role != "diskless")


def two_primaries(cloud: Cloud) -> list[str]:
    """The volumes that two nodes may have open for writing, however that was allowed."""
    found = []
    for rd in cloud.cluster.rds.values():
        properties = [rd.props, *rd.connections.values()]
        if any("allow-two-primaries" in name for one in properties for name in one):
            found.append(rd.name)
    return found


def failed(cloud: Cloud, since: int = 0) -> list[Call]:
    """The driver calls that failed, from the one with that number on."""
    return [call for call in cloud.one.calls[since:] if not call.ok]
