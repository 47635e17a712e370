# SPDX-License-Identifier: Apache-2.0
"""The driver's log: one file for administrators, and the tagged lines that OpenNebula files in the VM's log.

Each line carries the same short id for the whole action; the error that the user sees ends with that id's trace here.
"""

from __future__ import annotations

import os
import time
import traceback

from linstor_helper.errors import one_line


class Log:
    """Appends to ``path``; when that is not possible, to syslog.  Never fails an action."""

    def __init__(self, path: str, action: str) -> None:
        self.path = path
        self._action = action
        self.id = os.urandom(4).hex()

    def event(self, text: str) -> None:
        self._write("INFO", [one_line(text)])

    def warning(self, text: str) -> None:
        self._write("WARNING", [one_line(text)])

    def failure(self, error: BaseException) -> None:
        """The error with its whole trace."""
        trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        self._write("ERROR", [one_line(str(error)), *("  " + line for line in trace.splitlines())])

    def _write(self, level: str, lines: list[str]) -> None:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        text = "".join(f"{stamp} {level} {self._action} {self.id} {line}\n" for line in lines)
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                os.write(descriptor, text.encode(errors="replace"))
            finally:
                os.close(descriptor)
        except OSError:
            self._to_syslog(lines)

    def _to_syslog(self, lines: list[str]) -> None:
        import syslog

        syslog.openlog("opennebula-linstor")
        for line in lines:
            syslog.syslog(f"{self._action} {self.id} {line}")
