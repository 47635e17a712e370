# SPDX-License-Identifier: Apache-2.0
"""Starting driver executables."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from types import FrameType

import pytest

from lab.one.calls import Call, Executor
from lab.one.version import OneVersion


@pytest.fixture
def executor(tmp_path: Path) -> Executor:
    return Executor(OneVersion.parse("7.4.0"), {"PATH": "/usr/bin:/bin", "A": "1"}, tmp_path)


def script(tmp_path: Path, body: str) -> Path:
    path = tmp_path / "tm" / "linstor" / "clone"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/bash\n{body}\n")
    path.chmod(0o755)
    return path


def test_a_call_is_recorded_with_all_that_went_in_and_out(executor: Executor, tmp_path: Path) -> None:
    path = script(tmp_path, 'echo "$1 $A $B $PWD $(cat)"; echo "INFO: 3 seen" >&2; echo why >&2; exit 3')
    call = executor.run(path, ["one two"], "text", {"B": "2"})
    assert (call.rc, call.ok, call.name) == (3, False, "tm/linstor/clone")
    assert call.stdout == f"one two 1 2 {tmp_path} text\n"
    assert (call.user_error, call.log) == ("why", ("INFO: 3 seen",))
    assert (call.argv, call.stdin, call.env["B"]) == (("one two",), "text", "2")
    assert executor.calls == [call]


def test_a_driver_that_does_not_read_its_input_is_fine(executor: Executor, tmp_path: Path) -> None:
    assert executor.run(script(tmp_path, "exec <&-"), stdin="x" * 1_000_000).ok


def test_a_missing_executable_fails(executor: Executor, tmp_path: Path) -> None:
    call = executor.run(tmp_path / "missing")
    assert call.rc == 255
    assert "missing" in call.user_error


def test_a_killed_driver_leaves_what_it_started(executor: Executor, tmp_path: Path) -> None:
    started, gate, went_on = tmp_path / "started", tmp_path / "gate", tmp_path / "went-on"
    path = script(
        tmp_path,
        f"(until [ -e {gate} ]; do sleep 0.01; done; touch {went_on}) >/dev/null 2>&1 &\n"
        f"touch {started}; wait",
    )
    thread = threading.Thread(target=executor.run, args=(path,))
    thread.start()
    _wait_for(started)
    assert len(executor.running()) == 1
    executor.kill_running()
    thread.join(10)
    assert executor.calls[0].rc == -9
    assert executor.running() == []
    gate.touch()
    _wait_for(went_on)


def test_a_call_past_its_deadline_ends_with_all_that_it_started(executor: Executor, tmp_path: Path) -> None:
    call = executor.run(script(tmp_path, "echo before; sleep 60 & wait"), deadline=0.2)
    assert (call.rc, call.stdout) == (255, "before\n")
    assert call.user_error.startswith("Timeout executing")
    assert call.seconds < 10


def test_an_interrupted_call_ends_with_all_that_it_started(executor: Executor, tmp_path: Path) -> None:
    started = tmp_path / "started"
    path = script(tmp_path, f"sleep 60 & echo $! > {started}.part; mv {started}.part {started}; wait")

    def interrupt(number: int, frame: FrameType | None) -> None:
        if started.exists():
            raise KeyboardInterrupt
        signal.setitimer(signal.ITIMER_REAL, 0.02)

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(KeyboardInterrupt):
            executor.run(path)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert executor.running() == []
    _wait_for_end(int(started.read_text()))


def test_watchers_are_told_of_calls_in_order(executor: Executor, tmp_path: Path) -> None:
    seen: list[Call] = []
    executor.watchers.append(seen.append)
    path = script(tmp_path, 'exit "$1"')
    for status in ("0", "7"):
        executor.run(path, [status])
    assert [call.rc for call in seen] == [0, 7]
    assert seen == executor.calls


def _wait_for_end(pid: int) -> None:
    """Until the process is gone, or dead and not yet taken note of by its new parent."""
    deadline = time.monotonic() + 10
    while True:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            return
        if state == "Z":
            return
        assert time.monotonic() < deadline, f"process {pid} goes on"
        time.sleep(0.01)


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 10
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.01)
