# SPDX-License-Identifier: Apache-2.0
"""Starting driver executables the way the processes of OpenNebula do, and keeping a record of each start."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.one.messages import log_lines, user_error
from lab.one.version import OneVersion

DEADLINE = 120.0
"""Seconds after which a call is killed: OpenNebula sets no limit, a test run has to end."""


@dataclass(frozen=True)
class Call:
    """One finished driver call. `rc` is negative when a signal ended it, as in subprocess."""

    path: str
    argv: tuple[str, ...]
    stdin: str
    rc: int
    stdout: str
    stderr: str
    seconds: float
    user_error: str
    log: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """Kind, driver and action, such as ``tm/linstor/clone``."""
        return "/".join(self.path.split("/")[-3:])

    @property
    def ok(self) -> bool:
        return self.rc == 0


class Executor:
    """Runs executables with the environment and working directory of the driver processes.

    `watchers` are told of each call right after it ended.
    """

    def __init__(self, version: OneVersion, environment: Mapping[str, str], cwd: Path) -> None:
        self._version = version
        self.environment = dict(environment)
        self._cwd = cwd
        self._lock = threading.Lock()
        self._running: dict[int, subprocess.Popen[str]] = {}
        self.calls: list[Call] = []
        self.watchers: list[Callable[[Call], object]] = []

    def run(
        self,
        path: Path | str,
        argv: Sequence[str] = (),
        stdin: str = "",
        extra: Mapping[str, str] | None = None,
        deadline: float = DEADLINE,
    ) -> Call:
        """Start one executable, wait for it, record and return the call.

        A program that can not be started, or one that runs past `deadline` seconds, fails with 255 and
        the reason on stderr.
        """
        env = {**self.environment, **(extra or {})}
        started = time.monotonic()
        try:
            process = subprocess.Popen(
                [str(path), *argv],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=self._cwd,
                env=env,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
        except OSError as exc:
            rc, out, err = 255, "", f"Internal error {exc}\n"
        else:
            rc, out, err = self._wait(process, stdin, deadline)
        message = "" if rc == 0 else user_error(self._version, err)
        call = Call(
            str(path),
            tuple(argv),
            stdin,
            rc,
            out,
            err,
            time.monotonic() - started,
            message,
            tuple(log_lines(self._version, err)),
            env,
        )
        with self._lock:
            self.calls.append(call)
        for watcher in self.watchers:
            watcher(call)
        return call

    def _wait(self, process: subprocess.Popen[str], stdin: str, deadline: float) -> tuple[int, str, str]:
        with self._lock:
            self._running[process.pid] = process
        try:
            out, err = process.communicate(stdin, timeout=deadline)
            return process.returncode, out, err
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            return 255, out, f"{err}Timeout executing {process.args!r}\n"
        except BaseException:
            # A driver has a session of its own, so Ctrl-C at the terminal does not reach it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
        finally:
            with self._lock:
                del self._running[process.pid]

    def running(self) -> list[int]:
        """Process ids of the calls that have not ended."""
        with self._lock:
            return list(self._running)

    def kill_running(self) -> None:
        """End every running driver process like ``kill -9``; what it started goes on."""
        for pid in self.running():
            with self._lock:
                process = self._running.get(pid)
            if process is not None:
                process.kill()
