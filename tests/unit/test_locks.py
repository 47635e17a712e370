# SPDX-License-Identifier: Apache-2.0
"""Locks hold between processes, end with them, and leave no files."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from linstor_helper.clock import SystemClock
from linstor_helper.errors import ConfigError, DeadlineExceeded
from linstor_helper.locks import FileLocks

HOLDER = """
import sys
from linstor_helper.clock import SystemClock
from linstor_helper.locks import FileLocks
with FileLocks(sys.argv[1], SystemClock(), 5).hold(*sys.argv[2:]):
    print("held", flush=True)
    sys.stdin.read()
"""
COUNTER = """
import sys
from linstor_helper.clock import SystemClock
from linstor_helper.locks import FileLocks
locks = FileLocks(sys.argv[1], SystemClock(), 20)
for _ in range(40):
    with locks.hold("shared"):
        with open(sys.argv[2]) as stream:
            number = int(stream.read())
        with open(sys.argv[2], "w") as stream:
            stream.write(str(number + 1))
"""


def locks(directory: Path, timeout: float = 0.2) -> FileLocks:
    return FileLocks(str(directory), SystemClock(), timeout)


@contextmanager
def other_process(directory: Path, *names: str) -> Iterator[subprocess.Popen[str]]:
    """Holds the locks until the context ends."""
    command = [sys.executable, "-c", HOLDER, str(directory), *names]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.communicate("")


def test_another_process_waits_in_vain_until_its_time_is_over(tmp_path: Path) -> None:
    with other_process(tmp_path, "OpenNebula-Image-7"):
        started = time.monotonic()
        with (
            pytest.raises(DeadlineExceeded, match=r"another action still works on .* after 0\.2 s"),
            locks(tmp_path).hold("opennebula-image-7"),
        ):
            pytest.fail("two have it")
        assert 0.2 <= time.monotonic() - started < 2
        with locks(tmp_path).hold("OpenNebula-Image-8"):
            pass
    with locks(tmp_path).hold("OpenNebula-Image-7"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_had_as_soon_as_the_other_ends(tmp_path: Path) -> None:
    with other_process(tmp_path, "a") as process:
        assert process.stdin is not None
        threading.Timer(0.3, process.stdin.close).start()
        with locks(tmp_path, 10).hold("a"):
            assert process.wait(5) == 0
        process.stdin = None


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    with other_process(tmp_path, "a") as process:
        process.kill()
        process.wait()
        assert [path.name for path in tmp_path.iterdir()] == ["linstor-A"]
        with locks(tmp_path).hold("a"):
            pass
    assert list(tmp_path.iterdir()) == []


def test_many_processes_never_meet(tmp_path: Path) -> None:
    """The file vanishes with every release: who waited for it must not take the old one for the new."""
    counter = tmp_path / "counter"
    counter.write_text("0")
    command = [sys.executable, "-c", COUNTER, str(tmp_path / "locks"), str(counter)]
    processes = [subprocess.Popen(command) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert counter.read_text() == "160"


def test_several_locks_are_taken_in_one_order(tmp_path: Path) -> None:
    ordered: list[str] = []

    def work(*names: str) -> None:
        for _ in range(20):
            with locks(tmp_path, 10).hold(*names):
                ordered.append(names[0])

    threads = [
        threading.Thread(target=work, args=names) for names in (("a", "b"), ("b", "a"), ("B", "A", "a"))
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join(30)
    assert len(ordered) == 60


def test_a_name_is_no_path(tmp_path: Path) -> None:
    with locks(tmp_path / "inner").hold("../../etc/x"):
        assert [path.name for path in (tmp_path / "inner").iterdir()] == ["linstor-______ETC_X"]


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "linstor-A").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="linstor-A"), locks(tmp_path).hold("a"):
        pytest.fail("it was followed")
    assert not (tmp_path / "elsewhere").exists()


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(ConfigError, match="must belong to oneadmin"),
        locks(tmp_path / "file" / "x").hold("a"),
    ):
        pytest.fail("there is no such directory")
