# SPDX-License-Identifier: Apache-2.0
"""Volatile disks with a content, other system datastores for them, and a second LINSTOR cluster on the same hosts."""

from __future__ import annotations

import os
import signal
from typing import Callable
from urllib.parse import quote

from lab.cloud import Cloud
from lab.controller import Cluster
from lab.controller.standard import GIB, NODES
from lab.one import Call, LcmState, VirtualMachine
from tests.actions.tm.journeys import VOLATILE, arrived, depart
from tests.actions.tm.support import run, write_disk

FAST, ELSEWHERE = 201, 202
MIB = 1 << 20


def add_fast(cloud: Cloud, kind: str, *, move: bool = True) -> None:
    """Pools of another kind of disks, and a system datastore on them."""
    cluster = cloud.cluster
    for name in NODES:
        cluster.pools.add(cluster.node(name), "fast", kind, 100 * GIB)
    cluster.groups.create(
        {"name": "one-fast", "select_filter": {"place_count": 2, "storage_pool_list": ["fast"]}}
    )
    cluster.groups.create_volume_group("one-fast", {})
    cloud.one.add_datastore(
        FAST,
        "fast",
        TYPE="SYSTEM_DS",
        LINSTOR_CONTROLLERS=cloud.controllers,
        LINSTOR_RESOURCE_GROUP="one-fast",
        LINSTOR_MOVE_DATA="YES" if move else "NO",
        DISK_TYPE="BLOCK",
    )


def written(cloud: Cloud, text: bytes = b"of the guest", host: str = "dave") -> VirtualMachine:
    """A VM with a volatile disk that holds the text at its beginning and at its end."""
    vm = arrived(cloud, VOLATILE, host=host)
    write_disk(cloud, vm, 0, text)
    write_disk(cloud, vm, 8 * MIB - len(text), text)
    return vm


def name_of(vm: VirtualMachine) -> str:
    return f"OpenNebula-Volatile-vm{vm.id}-disk0"


def go(cloud: Cloud, vm: VirtualMachine, datastore: int, host: str = "dave") -> None:
    depart(cloud, vm, host, LcmState.PROLOG_MIGRATE_POWEROFF, datastore)


def mv(cloud: Cloud, vm: VirtualMachine) -> Call:
    """Of the disk."""
    return run(cloud, cloud.one.lines.migration(vm)[0])


def pools(cluster: Cluster, name: str) -> set[str]:
    return {one.pool for one in cluster.rd(name).diskful}


def holders(cloud: Cloud, cluster: Cluster, name: str, text: bytes, prefix: str = "") -> list[str]:
    """Volumes of that name, or of its copy on the way, that can be used and hold the text."""
    found = []
    for rd in list(cluster.rds.values()):
        if rd.name not in (name, f"{name}-moving") or rd.flags or rd.props.get("Aux/one/complete") != rd.name:
            continue
        path = cloud.hosts.layout.contents / quote(prefix + rd.content_key(0), safe="@")
        content = path.read_bytes()[: 8 * MIB]
        if content.startswith(text) and content.endswith(text):
            found.append(rd.name)
    return found


class Elsewhere:
    """The hosts' devices under other keys: two clusters may have volumes of one name."""

    PREFIX = "ELSEWHERE-"

    def __init__(self, cloud: Cloud) -> None:
        self._devices = cloud.hosts.devices

    def __getattr__(self, name: str) -> Callable[..., object]:
        def act(*arguments: object, **options: object) -> object:
            keys = 2 if name == "copy" else 1
            mine = [f"{self.PREFIX}{one}" for one in arguments[:keys]]
            result: object = getattr(self._devices, name)(*mine, *arguments[keys:], **options)
            return result

        return act


def strike(cloud: Cloud, number: signal.Signals = signal.SIGKILL) -> Callable[[str, str], None]:
    """What sends a signal to the drivers that run, as the callback of a fault."""

    def send(_method: str, _path: str) -> None:
        for pid in cloud.one.executor.running():
            os.kill(pid, number)

    return send
