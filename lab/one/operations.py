# SPDX-License-Identifier: Apache-2.0
"""Operations on one disk of a VM that go back to the state in which they began, whether they succeed or not."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from lab.one.allocation import Allocator
from lab.one.errors import OneError
from lab.one.model import HistoryAction, LcmState, VirtualMachine, VmState


class Stage:
    """The states in which an operation can begin, and those in which the VM is meanwhile.

    `request` is the user's, such as ``disksaveas``, `refusal` oned's sentence for other states, with ``{vm}`` and
    ``{state}``. With an `action` the operation gets a history record, except for a VM that is undeployed.
    """

    def __init__(
        self,
        request: str,
        states: Mapping[VmState, LcmState],
        refusal: str,
        action: HistoryAction | None = None,
    ) -> None:
        self._request = request
        self._states = dict(states)
        self._refusal = refusal
        self._action = action

    @property
    def states(self) -> Collection[LcmState]:
        return self._states.values()

    def refuse(self, reason: str) -> OneError:
        """What the user reads."""
        return OneError(f"[one.vm.{self._request}] {reason}")

    def disk(self, vm: VirtualMachine, disk_id: int) -> dict[str, str]:
        """Raises OneError for an unknown disk."""
        try:
            return vm.disk(disk_id)
        except KeyError as exc:
            raise self.refuse("VM disk does not exist") from exc

    def check(self, vm: VirtualMachine) -> None:
        """Raises OneError when the operation can not begin now."""
        busy = vm.state is VmState.ACTIVE and vm.lcm_state is not LcmState.RUNNING
        if busy or vm.state not in self._states:
            raise self.refuse(self._refusal.format(vm=vm.id, state=vm.state_name))

    def enter(self, vm: VirtualMachine, allocator: Allocator) -> bool:
        """Begin; whether the VM runs."""
        before = vm.state
        if self._action is not None and before is not VmState.UNDEPLOYED:
            allocator.next_record(vm, self._action)
        vm.set_state(VmState.ACTIVE, self._states[before])
        return before is VmState.ACTIVE

    def leave(self, vm: VirtualMachine) -> None:
        """Back to the state before."""
        before = next(one for one, meanwhile in self._states.items() if meanwhile is vm.lcm_state)
        vm.set_state(before, LcmState.RUNNING if before is VmState.ACTIVE else LcmState.LCM_INIT)


class DiskOperation(Protocol):
    """What ends an operation: its driver, or an administrator who knows better."""

    @property
    def states(self) -> Collection[LcmState]:
        """LCM states of a VM in which the operation is going on."""
        ...

    def succeeded(self, vm: VirtualMachine) -> None: ...

    def failed(self, vm: VirtualMachine) -> None: ...

    def abandoned(self, vm: VirtualMachine) -> None:
        """The VM is deleted or made anew: only the marks of the operation go."""
        ...
