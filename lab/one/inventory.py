# SPDX-License-Identifier: Apache-2.0
"""Where the objects of OpenNebula are kept."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

from lab.one.model import Datastore, Host, Image, LcmState, VirtualMachine, VmState


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

    def vms_on(self, host: Host) -> list[int]:
        """VMs that take up the host's capacity: deployed ones, powered off and suspended ones too.

        During a migration that is not yet in its prolog a VM takes it up on both hosts.
        """
        return [vm.id for vm in self.vms.values() if host.id in _occupied(vm)]

    def host_named(self, name: str) -> Host:
        """Raises KeyError for an unknown name."""
        for host in self.hosts.values():
            if host.name == name:
                return host
        raise KeyError(f"no host {name!r}")


def _occupied(vm: VirtualMachine) -> set[int]:
    if vm.state not in (VmState.ACTIVE, VmState.POWEROFF, VmState.SUSPENDED):
        return set()
    if vm.lcm_state is LcmState.CLEANUP_RESUBMIT:
        return set()
    both = vm.lcm_state in (LcmState.MIGRATE, LcmState.SAVE_MIGRATE)
    return {record.host_id for record in vm.history[-2 if both else -1 :]}
