# SPDX-License-Identifier: Apache-2.0
"""How oned turns the standard error of a driver into what the user sees."""

from __future__ import annotations

import re
import time

from lab.one.version import ERROR_CLOSE, ERROR_OPEN, OneVersion

MAX_VM_ERROR = 100
"""Characters of a VM's error message that oned keeps, its own prefix included."""

_LOG_LINE = re.compile(r"^(ERROR|INFO|WARN|DEBUG):\s+")
_MARKED = re.compile(rf"^{re.escape(ERROR_OPEN)}\n(.*?){re.escape(ERROR_CLOSE)}$", re.M | re.S)


def user_error(version: OneVersion, stderr: str) -> str:
    """The error text that a failed action hands to oned.

    5.12 takes what stands between the marker lines, 6.x everything with blanks for newlines (both give
    ``-`` when there is nothing), 7.x the lines without a log prefix, stripped and joined by nothing.
    """
    if version < (6, 0, 0):
        found = _MARKED.search(stderr)
        return found.group(1).strip() if found else "-"
    if version < (6, 99, 80):
        return stderr.replace("\n", " ").strip() if stderr else "-"
    lines = [line.strip() for line in stderr.splitlines()]
    return "".join(line for line in lines if not _LOG_LINE.match(line))


def log_lines(version: OneVersion, stderr: str) -> list[str]:
    """Lines that only the log gets: the prefixed ones from 7.0 on, all of them before."""
    if version < (6, 99, 80):
        return stderr.splitlines()
    return [line for line in stderr.splitlines() if _LOG_LINE.match(line.strip())]


def with_reason(prefix: str, info: str) -> str:
    """Append the driver's text to oned's own sentence; oned leaves texts out that begin with a dash."""
    return prefix if not info or info.startswith("-") else f"{prefix}: {info}"


def image_error_attribute(message: str) -> str:
    """Value of ``IMAGE/TEMPLATE/ERROR``."""
    return f"{time.ctime()} : {message}"


def vm_error_attribute(version: OneVersion, message: str) -> str:
    """Value of ``VM/USER_TEMPLATE/ERROR``; cut after 100 characters of `message` from 6.0 on."""
    if not version.cuts_vm_errors:
        return f"{time.ctime()} : {message}"
    text = f"{time.ctime()}: {message[:MAX_VM_ERROR]}"
    return text if len(message) < MAX_VM_ERROR else text + "... see more details in VM log"
