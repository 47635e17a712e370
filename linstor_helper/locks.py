# SPDX-License-Identifier: Apache-2.0
"""Locks between the driver's processes on the front-end.

oned runs fifteen transfers side by side, and when it cancels a CLONE it does not stop the script: its DELETE of the
same disk can start while the CLONE still runs.  A lock per resource puts them in a row.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from linstor_helper.errors import ConfigError, DeadlineExceeded
from linstor_helper.ports import Clock
from linstor_helper.waiting import attempts


class FileLocks:
    """``ports.Locks`` by flock(2) on files in ``directory``; ``timeout`` is in seconds."""

    def __init__(self, directory: str, clock: Clock, timeout: float) -> None:
        self._directory = directory
        self._clock = clock
        self._timeout = timeout

    @contextmanager
    def hold(self, *names: str) -> Iterator[None]:
        with ExitStack() as held:
            for name in sorted({name.upper() for name in names}):
                held.enter_context(self._lock(name))
            yield

    @contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        path = os.path.join(self._directory, "linstor-" + re.sub(r"[^A-Z0-9_-]", "_", name))
        descriptor = self._acquire(path, name)
        try:
            yield
        finally:
            # Removed while it is held: whoever waits for this file sees that it is no longer the one of that name.
            os.unlink(path)
            os.close(descriptor)

    def _acquire(self, path: str, name: str) -> int:
        for _ in attempts(self._clock, self._timeout, first=0.05, longest=0.5):
            descriptor = self._open(path)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_still(path, descriptor):
                    return descriptor
            except BlockingIOError:
                pass
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
        raise DeadlineExceeded(
            f"another action still works on {name} after {self._timeout:g} s", hint=f"see who holds {path}"
        )

    def _open(self, path: str) -> int:
        try:
            os.makedirs(self._directory, mode=0o770, exist_ok=True)
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o660)
        except OSError as error:
            raise ConfigError(
                f"cannot make the lock file {path}: {error.strerror}",
                hint="the directory must belong to oneadmin",
            ) from error


def _is_still(path: str, descriptor: int) -> bool:
    try:
        named = os.stat(path)
    except FileNotFoundError:
        return False
    mine = os.fstat(descriptor)
    return (named.st_dev, named.st_ino) == (mine.st_dev, mine.st_ino)
