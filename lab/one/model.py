# SPDX-License-Identifier: Apache-2.0
"""The objects that OpenNebula keeps: datastores, images, virtual machines, hosts."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import IntEnum

from lab.one.snapshots import Snapshots


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


class AppState(IntEnum):
    READY = 1
    LOCKED = 2
    ERROR = 3


class VmState(IntEnum):
    PENDING = 1
    ACTIVE = 3
    STOPPED = 4
    SUSPENDED = 5
    DONE = 6
    POWEROFF = 8
    UNDEPLOYED = 9


class LcmState(IntEnum):
    LCM_INIT = 0
    PROLOG = 1
    BOOT = 2
    RUNNING = 3
    MIGRATE = 4
    SAVE_STOP = 5
    SAVE_SUSPEND = 6
    SAVE_MIGRATE = 7
    PROLOG_MIGRATE = 8
    PROLOG_RESUME = 9
    EPILOG_STOP = 10
    EPILOG = 11
    SHUTDOWN = 12
    CLEANUP_RESUBMIT = 15
    UNKNOWN = 16
    HOTPLUG = 17
    SHUTDOWN_POWEROFF = 18
    BOOT_UNKNOWN = 19
    BOOT_POWEROFF = 20
    BOOT_SUSPENDED = 21
    BOOT_STOPPED = 22
    HOTPLUG_SAVEAS = 26
    HOTPLUG_SAVEAS_POWEROFF = 27
    HOTPLUG_SAVEAS_SUSPENDED = 28
    SHUTDOWN_UNDEPLOY = 29
    EPILOG_UNDEPLOY = 30
    PROLOG_UNDEPLOY = 31
    BOOT_UNDEPLOY = 32
    HOTPLUG_PROLOG_POWEROFF = 33
    HOTPLUG_EPILOG_POWEROFF = 34
    BOOT_MIGRATE = 35
    BOOT_FAILURE = 36
    BOOT_MIGRATE_FAILURE = 37
    PROLOG_MIGRATE_FAILURE = 38
    PROLOG_FAILURE = 39
    EPILOG_FAILURE = 40
    EPILOG_STOP_FAILURE = 41
    EPILOG_UNDEPLOY_FAILURE = 42
    PROLOG_MIGRATE_POWEROFF = 43
    PROLOG_MIGRATE_POWEROFF_FAILURE = 44
    PROLOG_MIGRATE_SUSPEND = 45
    PROLOG_MIGRATE_SUSPEND_FAILURE = 46
    BOOT_UNDEPLOY_FAILURE = 47
    BOOT_STOPPED_FAILURE = 48
    PROLOG_RESUME_FAILURE = 49
    PROLOG_UNDEPLOY_FAILURE = 50
    DISK_SNAPSHOT_POWEROFF = 51
    DISK_SNAPSHOT_REVERT_POWEROFF = 52
    DISK_SNAPSHOT_DELETE_POWEROFF = 53
    DISK_SNAPSHOT_SUSPENDED = 54
    DISK_SNAPSHOT_DELETE_SUSPENDED = 56
    DISK_SNAPSHOT = 57
    DISK_SNAPSHOT_DELETE = 59
    PROLOG_MIGRATE_UNKNOWN = 60
    PROLOG_MIGRATE_UNKNOWN_FAILURE = 61
    DISK_RESIZE = 62
    DISK_RESIZE_POWEROFF = 63
    DISK_RESIZE_UNDEPLOYED = 64
    HOTPLUG_SAVEAS_UNDEPLOYED = 67
    HOTPLUG_SAVEAS_STOPPED = 68


class HostState(IntEnum):
    INIT = 0
    MONITORED = 2
    ERROR = 3
    DISABLED = 4
    OFFLINE = 8


class HistoryAction(IntEnum):
    NONE = 0
    MIGRATE = 1
    LIVE_MIGRATE = 2
    UNDEPLOY = 5
    UNDEPLOY_HARD = 6
    STOP = 9
    SUSPEND = 10
    RESUME = 11
    DELETE = 13
    DELETE_RECREATE = 14
    POWEROFF = 19
    POWEROFF_HARD = 20
    DISK_ATTACH = 21
    DISK_DETACH = 22
    DISK_SNAPSHOT_CREATE = 25
    DISK_SNAPSHOT_DELETE = 26
    TERMINATE = 27
    TERMINATE_HARD = 28
    DISK_RESIZE = 29
    DISK_SNAPSHOT_REVERT = 41
    MONITOR = 44
    POFF_MIGRATE = 48
    POFF_HARD_MIGRATE = 49


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
    target_snapshot: int = -1
    snapshots: Snapshots | None = field(default_factory=Snapshots)
    vms: list[int] = field(default_factory=list)
    template: dict[str, str] = field(default_factory=dict)
    regtime: int = field(default_factory=lambda: int(time.time()))
    """`snapshots` is None when their record was cleared, so that ids start anew."""

    @property
    def error(self) -> str:
        """The ERROR attribute as `oneimage show` prints it; empty when there is none."""
        return self.template.get("ERROR", "")


@dataclass
class MarketApp:
    """An app of a marketplace, made from an image. `error` is its ERROR attribute."""

    id: int
    name: str
    origin_id: int
    state: AppState = AppState.LOCKED
    source: str = ""
    md5: str = ""
    size_mb: int = 0
    format: str = ""
    error: str = ""


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
    """A VM; each disk is its DISK vector, values are strings as OpenNebula prints them.

    `snapshots` maps ids of disks to what has been written down about their snapshots.
    """

    id: int
    name: str
    disks: list[dict[str, str]] = field(default_factory=list)
    context: dict[str, str] | None = None
    state: VmState = VmState.PENDING
    lcm_state: LcmState = LcmState.LCM_INIT
    history: list[HistoryRecord] = field(default_factory=list)
    snapshots: dict[int, Snapshots] = field(default_factory=dict)
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
    def previous(self) -> HistoryRecord:
        """The record before the newest; IndexError when there is none."""
        return self.history[-2]

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

    @property
    def state_name(self) -> str:
        """LCM_STATE of an active VM, else STATE, as oned's messages call it."""
        return self.lcm_state.name if self.state is VmState.ACTIVE else self.state.name

    def set_state(self, state: VmState, lcm_state: LcmState = LcmState.LCM_INIT) -> None:
        self.state, self.lcm_state = state, lcm_state
