# SPDX-License-Identifier: Apache-2.0
"""Faults that the lab's ssh brings about; ``lab.hosts.faults`` says which there are and orders them."""

from __future__ import annotations

import os
import time

SIGKILL = 9


class Fault:
    """What happens to one call. ``when``: before the command, after it or midway (see ``at_byte``)."""

    def __init__(self, kind: str = "", when: str = "", at_byte: int | None = None, command: str = "") -> None:
        self.kind = kind
        self.at_byte = at_byte
        self.before = when == "before"
        self.after = when == "after"
        self.mute = self.after and kind != "command"
        self._when = when
        self._command = command

    def __str__(self) -> str:
        return f"{self.kind} {self._when}"

    def strike(self, host: str) -> None:
        """Raises ConnectionError when the caller is to see a lost connection; else the call goes on."""
        if self.kind == "lose":
            raise ConnectionError(f"Connection to {host} closed by remote host.")
        if self.kind == "hang":
            while True:
                time.sleep(3600)
        if self.kind == "kill_driver":
            os.kill(os.getppid(), SIGKILL)
            raise ConnectionError("")
        if self.kind == "command":
            os.system(self._command)


NO_FAULT = Fault()


def take_fault(root: str, host: str, command: str) -> Fault:
    """The fault that is due for this call, if there is one. Counts the call."""
    path = os.path.join(root, "faults")
    if not os.path.exists(path):
        return NO_FAULT
    import fcntl
    import json
    import re

    with open(path, "r+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        due = NO_FAULT
        left = []
        for fault in json.load(file):
            if fault["host"] in (None, host) and re.search(fault["match"], command):
                fault["nth"] -= 1
            if fault["nth"] == 0 and due is NO_FAULT:
                due = Fault(fault["kind"], fault["when"], fault["at_byte"], fault["command"])
            elif fault["nth"] > 0:
                left.append(fault)
        file.seek(0)
        file.truncate()
        json.dump(left, file)
    return due
