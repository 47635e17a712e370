# SPDX-License-Identifier: Apache-2.0
"""`onevm migrate`: to another host, another system datastore, or both; and hosts that are lost."""

from __future__ import annotations

from lab.one.allocation import Allocator, now
from lab.one.errors import OneError
from lab.one.inventory import Inventory
from lab.one.lifecycle import Lifecycle
from lab.one.model import (
    Datastore,
    HistoryAction,
    Host,
    HostState,
    LcmState,
    VirtualMachine,
    VmState,
)
from lab.one.version import OneVersion
from lab.one.vmm import Vmm

_PROLOGS_AT_REST = {
    VmState.POWEROFF: LcmState.PROLOG_MIGRATE_POWEROFF,
    VmState.SUSPENDED: LcmState.PROLOG_MIGRATE_SUSPEND,
}


class Migration:
    """Moves VMs between hosts and system datastores."""

    def __init__(
        self, inventory: Inventory, version: OneVersion, allocator: Allocator, life: Lifecycle, vmm: Vmm
    ) -> None:
        self._inventory = inventory
        self._version = version
        self._allocator = allocator
        self._life = life
        self._vmm = vmm

    def migrate(
        self,
        vm: VirtualMachine,
        host: str,
        datastore: int | None = None,
        *,
        live: bool = False,
        poff: bool = False,
        hard: bool = False,
    ) -> VirtualMachine:
        """Cold by save and restore (or with `poff` by shutdown, `hard` by cancel, and deploy), or `live`.

        Raises OneError when oned refuses.
        """
        target = self._inventory.host_named(host)
        system = self._inventory.datastores[vm.record.ds_id if datastore is None else datastore]
        self._check(vm, target, system, live, datastore is not None)
        action = HistoryAction.MIGRATE
        if poff or hard:
            action = HistoryAction.POFF_HARD_MIGRATE if hard else HistoryAction.POFF_MIGRATE
        self._allocator.move_volatile(vm, system)
        record = self._allocator.add_record(vm, host, system)
        if live:
            vm.previous.action = HistoryAction.LIVE_MIGRATE
            vm.lcm_state = LcmState.MIGRATE
            self._life.migrate(vm)
        elif vm.lcm_state is LcmState.RUNNING:
            record.action = vm.previous.action = action
            vm.lcm_state = LcmState.SAVE_MIGRATE
            self._life.leave(vm)
        else:
            record.action = HistoryAction.MIGRATE
            if vm.lcm_state is LcmState.UNKNOWN:
                vm.previous.action = HistoryAction.MIGRATE
            vm.previous.etime = vm.previous.retime = record.pstime = now()
            prolog = _PROLOGS_AT_REST.get(vm.state, LcmState.PROLOG_MIGRATE_UNKNOWN)
            vm.set_state(VmState.ACTIVE, prolog)
            self._life.prolog(vm)
        return vm

    def host_state(self, name: str, state: HostState) -> Host:
        """What the monitoring finds: a lost host's VMs are UNKNOWN, and a host that is back tells of its own.

        VMs that still run there are RUNNING again, the others POWEROFF.
        """
        host = self._inventory.host_named(name)
        host.state = state
        for vm in self._inventory.vms.values():
            if vm.state is not VmState.ACTIVE or vm.record.host_id != host.id:
                continue
            if state is HostState.ERROR and vm.lcm_state is LcmState.RUNNING:
                vm.lcm_state = LcmState.UNKNOWN
            elif state is HostState.MONITORED and vm.lcm_state is LcmState.UNKNOWN:
                if self._vmm.is_running(vm):
                    vm.lcm_state = LcmState.RUNNING
                else:
                    vm.record.action, vm.record.retime = HistoryAction.MONITOR, now()
                    vm.set_state(VmState.POWEROFF)
        return host

    def _check(
        self, vm: VirtualMachine, target: Host, system: Datastore, live: bool, names_datastore: bool
    ) -> None:
        def refuse(reason: str) -> OneError:
            return OneError(f"[one.vm.migrate] {reason}")

        at_rest = vm.state in _PROLOGS_AT_REST
        running = vm.state is VmState.ACTIVE and vm.lcm_state is LcmState.RUNNING
        unknown = vm.state is VmState.ACTIVE and vm.lcm_state is LcmState.UNKNOWN
        if not (at_rest or running or unknown) or (len(vm.history) > 1 and not vm.previous.etime):
            raise refuse(f"Migrate action is not available for state {vm.state_name}")
        here = vm.record
        other_host, other_datastore = target.id != here.host_id, system.id != here.ds_id
        if not other_host and not other_datastore:
            where = f"host [{here.host_id}] and datastore [{here.ds_id}]"
            raise refuse(f"VM is already running on {where}")
        supports = system.template.get
        relaxed = self._version.migrates_datastore_live
        if live and other_datastore and not relaxed:
            raise refuse("A migration to a different system datastore cannot be performed live.")
        if live and other_host and other_datastore:
            raise refuse("Cannot live migrate host and datastore at the same time.")
        if other_datastore or (names_datastore and not relaxed):
            if supports("DS_MIGRATE", "YES").upper() == "NO":
                raise refuse("System datastore migration not supported by driver")
            if live and supports("DS_LIVE_MIGRATE", "NO").upper() != "YES":
                raise refuse("Live system datastore migration not supported by driver")
            if self._version.asks_for_migration_of_snapshots and not _keeps_snapshots(vm, system):
                raise refuse("System datastore migration with disk snapshots not supported by driver")
            if system.tm_mad != here.tm_mad:
                raise refuse("Cannot migrate to a system datastore with a different driver")
        if live and not running:
            raise refuse(f"Could not live-migrate VM {vm.id}, wrong state {vm.state_name}.")


def _keeps_snapshots(vm: VirtualMachine, system: Datastore) -> bool:
    taken = any(record.records for record in vm.snapshots.values())
    return not taken or system.template.get("DS_MIGRATE_SNAP", "NO").upper() == "YES"
