# SPDX-License-Identifier: Apache-2.0
"""Running transfer lines: a script that its first failure ends (one_tm), or single steps (one_vmm_exec)."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path

from lab.one import messages
from lab.one.calls import Call, Executor
from lab.one.model import VirtualMachine
from lab.one.version import OneVersion
from linstor_helper import oned_conf

_LIVE_DISK_SNAPSHOTS = ("kvm-qcow2", "kvm-shared", "kvm-ceph", "kvm-ssh")


def _vmm_environment() -> dict[str, str]:
    ours = next(one.words for one in oned_conf.APPENDED if one.setting == "LIVE_DISK_SNAPSHOTS")
    return {
        "LIVE_DISK_SNAPSHOTS": " ".join((*_LIVE_DISK_SNAPSHOTS, *ours)),
        "VNMAD_LOCAL_ACTIONS": "elastic-post elastic-clean",
    }


VMM_ENVIRONMENT = _vmm_environment()
"""What one_vmm_exec exports from its rc file to the transfer scripts that it runs itself."""

FAILED_SCRIPT = "Error executing image transfer script"


class Outcome(Enum):
    """How a transfer script ended."""

    OK = "ok"
    FAILED = "failed"
    OVERTAKEN = "overtaken"


class ScriptRunner:
    """Runs transfer lines and writes their failures into the VM."""

    def __init__(self, executor: Executor, remotes: Path, version: OneVersion, vms_location: Path) -> None:
        self._executor = executor
        self._remotes = remotes
        self._version = version
        self._vms_location = vms_location
        self.vmm_environment = dict(VMM_ENVIRONMENT)

    def directory(self, vm: VirtualMachine) -> Path:
        """Where oned keeps its own files of the VM."""
        path = self._vms_location / str(vm.id)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def script(self, vm: VirtualMachine, name: str, lines: Sequence[str], report: bool = True) -> Outcome:
        """Write and run a transfer script; the first failure ends it, and so does another script of the VM."""
        vm.transfers += 1
        turn = vm.transfers
        script = self.directory(vm) / f"transfer.{vm.record.seq}.{name}"
        script.write_text("".join(f"{line}\n" for line in lines))
        for line in script.read_text().splitlines():
            call = self._line(line)
            if vm.transfers != turn:
                return Outcome.OVERTAKEN
            if not call.ok:
                text = messages.with_reason(FAILED_SCRIPT, call.user_error)
                if report and text != FAILED_SCRIPT:
                    self.error(vm, text)
                return Outcome.FAILED
        return Outcome.OK

    def step(self, line: str, document: str = "") -> Call:
        """Run one line as a step of the hypervisor driver; `document` goes to standard input in base64."""
        return self._line(line, self.vmm_environment, base64.b64encode(document.encode()).decode())

    def error(self, vm: VirtualMachine, message: str) -> None:
        """Set the ERROR attribute that the user sees."""
        vm.user_template["ERROR"] = messages.vm_error_attribute(self._version, message)

    def _line(self, line: str, extra: Mapping[str, str] | None = None, stdin: str = "") -> Call:
        words = line.split()
        action, driver, arguments = words[0].lower(), words[1], words[2:]
        return self._executor.run(tm_action(self._remotes, driver, action), arguments, stdin, extra)


def tm_action(remotes: Path, driver: str, action: str) -> Path:
    """The executable of an action; one with the suffix of a system driver falls back to the plain one."""
    path = remotes / "tm" / driver / action
    if not path.exists() and "." in action:
        return path.with_name(action.rpartition(".")[0])
    return path
