# SPDX-License-Identifier: Apache-2.0
"""Runs one program and notes its time and memory: ``launcher.py RECORDS PROGRAM [argument...]``.

A small process of its own, because Linux counts the memory of whoever starts a program as the program's.
"""

from __future__ import annotations

import os
import sys
import time


def main() -> int:
    records, *command = sys.argv[1:]
    started = time.monotonic()
    child = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(child, 0)
    seconds = time.monotonic() - started
    descriptor = os.open(records, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    # ru_maxrss is the largest of the program and the programs that it waited for, in KiB.
    os.write(descriptor, f"{seconds:.6f} {usage.ru_maxrss}\n".encode())
    os.close(descriptor)
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


if __name__ == "__main__":
    sys.exit(main())
