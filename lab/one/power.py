# SPDX-License-Identifier: Apache-2.0
"""VMs at rest and back: poweroff, suspend, stop, undeploy, resume."""

from __future__ import annotations

from lab.one.allocation import Allocator
from lab.one.errors import OneError
from lab.one.inventory import Inventory
from lab.one.lifecycle import Lifecycle
from lab.one.machines import Machines
from lab.one.model import HistoryAction, HostState, LcmState, VirtualMachine, VmState

_RUNNING = (LcmState.RUNNING,)
_OR_UNKNOWN = (LcmState.RUNNING, LcmState.UNKNOWN)
_USABLE_HOSTS = (HostState.INIT, HostState.MONITORED)


class Power:
    """All raise OneError in a state in which oned refuses."""

    def __init__(
        self, inventory: Inventory, allocator: Allocator, life: Lifecycle, machines: Machines
    ) -> None:
        self._inventory = inventory
        self._allocator = allocator
        self._life = life
        self._machines = machines

    def poweroff(self, vm: VirtualMachine, hard: bool = False) -> VirtualMachine:
        """`onevm poweroff`: only the hypervisor is called."""
        _require(vm, _OR_UNKNOWN)
        vm.record.action = HistoryAction.POWEROFF_HARD if hard else HistoryAction.POWEROFF
        vm.lcm_state = LcmState.SHUTDOWN_POWEROFF
        self._life.leave(vm)
        return vm

    def suspend(self, vm: VirtualMachine) -> VirtualMachine:
        """`onevm suspend`: only the hypervisor is called."""
        _require(vm, _RUNNING)
        vm.record.action = HistoryAction.SUSPEND
        vm.lcm_state = LcmState.SAVE_SUSPEND
        self._life.leave(vm)
        return vm

    def stop(self, vm: VirtualMachine) -> VirtualMachine:
        """`onevm stop`: save, then MV of everything to the front-end; a suspended VM is saved already."""
        _require(vm, _RUNNING, VmState.SUSPENDED)
        vm.record.action = HistoryAction.STOP
        if vm.state is VmState.SUSPENDED:
            self._life.begin_epilog(vm, LcmState.EPILOG_STOP)
        else:
            vm.lcm_state = LcmState.SAVE_STOP
            self._life.leave(vm)
        return vm

    def undeploy(self, vm: VirtualMachine, hard: bool = False) -> VirtualMachine:
        """`onevm undeploy`: shut down, then MV of everything to the front-end."""
        _require(vm, _OR_UNKNOWN, VmState.POWEROFF)
        if vm.state is VmState.POWEROFF:
            vm.record.action = HistoryAction.UNDEPLOY
            self._life.begin_epilog(vm, LcmState.EPILOG_UNDEPLOY)
        else:
            vm.record.action = HistoryAction.UNDEPLOY_HARD if hard else HistoryAction.UNDEPLOY
            vm.lcm_state = LcmState.SHUTDOWN_UNDEPLOY
            self._life.leave(vm)
        return vm

    def resume(
        self, vm: VirtualMachine, host: str | None = None, datastore: int | None = None
    ) -> VirtualMachine:
        """`onevm resume`.

        A powered-off, suspended or lost VM starts where it is. A stopped or undeployed one is scheduled anew, on
        `host` or the first usable one, in `datastore` or its old one; the scheduler only takes system datastores
        of the same transfer driver.
        """
        if vm.state in (VmState.STOPPED, VmState.UNDEPLOYED):
            where = datastore if datastore is not None else vm.record.ds_id
            if self._inventory.datastores[where].tm_mad != vm.tm_mad_system:
                raise OneError("no system datastore meets AUTOMATIC_DS_REQUIREMENTS")
            vm.set_state(VmState.PENDING)
            return self._machines.deploy(vm, host or self._usable_host(), where)
        if host is not None or datastore is not None:
            raise OneError("only stopped and undeployed VMs are scheduled")
        if vm.lcm_state is LcmState.UNKNOWN:
            vm.lcm_state = LcmState.BOOT_UNKNOWN
        elif vm.state in (VmState.POWEROFF, VmState.SUSPENDED):
            self._allocator.next_record(vm, None)
            vm.record.action, vm.record.retime = HistoryAction.RESUME, 0
            suspended = vm.state is VmState.SUSPENDED
            vm.set_state(VmState.ACTIVE, LcmState.BOOT_SUSPENDED if suspended else LcmState.BOOT_POWEROFF)
        else:
            raise _refusal(vm)
        self._life.boot(vm)
        return vm

    def _usable_host(self) -> str:
        for host in self._inventory.hosts.values():
            if host.state in _USABLE_HOSTS:
                return host.name
        raise OneError("no host meets SCHED_REQUIREMENTS")


def _require(vm: VirtualMachine, lcm_states: tuple[LcmState, ...], *states: VmState) -> None:
    if not (vm.state in states or (vm.state is VmState.ACTIVE and vm.lcm_state in lcm_states)):
        raise _refusal(vm)


def _refusal(vm: VirtualMachine) -> OneError:
    return OneError(f"[one.vm.action] This action is not available for state {vm.state_name}")
