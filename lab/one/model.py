# SPDX-License-Identifier: Apache-2.0
"""The objects that OpenNebula keeps: datastores, images, virtual machines, hosts."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum


class ImageType(IntEnum):
    OS = 0
    CDROM = 1
    DATABLOCK = 2


class ImageState(IntEnum):
    INIT = 0
    READY = 1
    USED = 2
    DISABLED = 3
    LOCKED = 4
    ERROR = 5
    CLONE = 6
    DELETE = 7
    USED_PERS = 8


class VmState(IntEnum):
    PENDING = 1
    ACTIVE = 3
    DONE = 6
    POWEROFF = 8


class LcmState(IntEnum):
    LCM_INIT = 0
    PROLOG = 1
    BOOT = 2
    RUNNING = 3
    EPILOG = 11
    SHUTDOWN = 12
    CLEANUP_RESUBMIT = 15
    HOTPLUG = 17
    SHUTDOWN_POWEROFF = 18
    BOOT_POWEROFF = 20
    HOTPLUG_PROLOG_POWEROFF = 33
    HOTPLUG_EPILOG_POWEROFF = 34
    BOOT_FAILURE = 36
    PROLOG_FAILURE = 39
    EPILOG_FAILURE = 40


class HostState(IntEnum):
    INIT = 0
    MONITORED = 2
    ERROR = 3
    DISABLED = 4
    OFFLINE = 8


class HistoryAction(IntEnum):
    NONE = 0
    RESUME = 11
    DELETE = 13
    DELETE_RECREATE = 14
    POWEROFF = 19
    POWEROFF_HARD = 20
    DISK_ATTACH = 21
    DISK_DETACH = 22
    TERMINATE = 27
    TERMINATE_HARD = 28


DISK_TYPE_NUMBERS = {"FILE": 0, "BLOCK": 2}
"""Number that stands in DATASTORE/DISK_TYPE and IMAGE/DISK_TYPE for the name in a template."""


@dataclass
class Host:
    id: int
    name: str
    state: HostState = HostState.MONITORED


@dataclass
class Datastore:
    """An image or system datastore; the capacity is in MiB as last monitored, 0 before."""

    id: int
    name: str
    template: dict[str, str]
    base_path: str
    total_mb: int = 0
    free_mb: int = 0
    used_mb: int = 0
    images: list[int] = field(default_factory=list)

    @property
    def is_system(self) -> bool:
        return self.template["TYPE"] == "SYSTEM_DS"

    @property
    def ds_mad(self) -> str:
        return self.template.get("DS_MAD", "-")

    @property
    def tm_mad(self) -> str:
        return self.template["TM_MAD"]

    @property
    def disk_type(self) -> str:
        return self.template.get("DISK_TYPE", "FILE")

    @property
    def shared(self) -> bool:
        return self.template.get("SHARED", "NO").upper() == "YES"


@dataclass
class Image:
    """An image; `size_mb` in MiB as oned shows it."""

    id: int
    name: str
    type: ImageType
    datastore_id: int
    size_mb: int
    persistent: bool = False
    path: str = ""
    format: str = ""
    fs: str = ""
    source: str = ""
    state: ImageState = ImageState.LOCKED
    prev_state: ImageState = ImageState.INIT
    cloning_id: int = -1
    cloning_ops: int = 0
    vms: list[int] = field(default_factory=list)
    template: dict[str, str] = field(default_factory=dict)
    regtime: int = field(default_factory=lambda: int(time.time()))

    @property
    def error(self) -> str:
        """The ERROR attribute as `oneimage show` prints it; empty when there is none."""
        return self.template.get("ERROR", "")


@dataclass
class HistoryRecord:
    """One stay of a VM on a host; times are seconds since the epoch, 0 for not yet."""

    seq: int
    host: str
    host_id: int
    ds_id: int
    tm_mad: str
    stime: int = 0
    etime: int = 0
    pstime: int = 0
    petime: int = 0
    rstime: int = 0
    retime: int = 0
    estime: int = 0
    eetime: int = 0
    action: HistoryAction = HistoryAction.NONE


@dataclass
class VirtualMachine:
    """A VM; each disk is its DISK vector, values are strings as OpenNebula prints them."""

    id: int
    name: str
    disks: list[dict[str, str]] = field(default_factory=list)
    context: dict[str, str] | None = None
    state: VmState = VmState.PENDING
    lcm_state: LcmState = LcmState.LCM_INIT
    history: list[HistoryRecord] = field(default_factory=list)
    user_template: dict[str, str] = field(default_factory=dict)
    deploy_id: str = ""
    tm_mad_system: str = ""
    stime: int = field(default_factory=lambda: int(time.time()))
    etime: int = 0
    transfers: int = 0
    """Counts transfers begun or cancelled; a running one stops at the next line when it changes."""

    @property
    def record(self) -> HistoryRecord:
        """The newest history record; IndexError before the first deployment."""
        return self.history[-1]

    @property
    def host(self) -> str:
        return self.record.host

    @property
    def error(self) -> str:
        """The ERROR attribute as `onevm show` prints it; empty when there is none."""
        return self.user_template.get("ERROR", "")

    def disk(self, disk_id: int) -> dict[str, str]:
        """The DISK vector with that DISK_ID; KeyError when there is none."""
        for disk in self.disks:
            if disk["DISK_ID"] == str(disk_id):
                return disk
        raise KeyError(f"VM {self.id} has no disk {disk_id}")

    def free_disk_id(self) -> int:
        """The id that oned gives to the next disk; the context disk counts."""
        taken = [int(disk["DISK_ID"]) for disk in self.disks]
        if self.context is not None and "DISK_ID" in self.context:
            taken.append(int(self.context["DISK_ID"]))
        return max(taken, default=-1) + 1

    def set_state(self, state: VmState, lcm_state: LcmState = LcmState.LCM_INIT) -> None:
        self.state, self.lcm_state = state, lcm_state


class Inventory:
    """Everything that the stand-in for oned knows. `lock` guards reads and changes that belong together."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.hosts: dict[int, Host] = {}
        self.datastores: dict[int, Datastore] = {}
        self.images: dict[int, Image] = {}
        self.vms: dict[int, VirtualMachine] = {}
        self._image_ids: Iterator[int] = itertools.count()
        self._vm_ids: Iterator[int] = itertools.count()
        self._request_ids: Iterator[int] = itertools.count()

    def next_image_id(self) -> int:
        return next(self._image_ids)

    def next_vm_id(self) -> int:
        return next(self._vm_ids)

    def next_request_id(self) -> int:
        """Ids of synchronous requests (``stat``) count from 0 since oned was started."""
        return next(self._request_ids)

    def add_host(self, name: str) -> Host:
        with self.lock:
            host = Host(len(self.hosts), name)
            self.hosts[host.id] = host
            return host

    def host_named(self, name: str) -> Host:
        """Raises KeyError for an unknown name."""
        for host in self.hosts.values():
            if host.name == name:
                return host
        raise KeyError(f"no host {name!r}")
