# SPDX-License-Identifier: Apache-2.0
"""A lab leaves nothing behind, however it ends, and runs for users who are not root."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.hosts import Hosts, loops, processes
from lab.hosts.layout import CHECKOUT

SCENARIO = """
import os, sys
from pathlib import Path
from lab.hosts import Hosts
root = Path(sys.argv[1])
hosts = Hosts(root, ["alice", "bob"], str(root / "one" / "datastores"), shared=["105"])
hosts.devices.create("A/0", 1024)
hosts.devices.expose("A/0", "alice", ["/dev/drbd1000", "/dev/drbd/by-res/a/0"])
hosts.devices.expose("A/0", "bob", ["/dev/drbd1000"])
guest = hosts.open_disk("alice", "/dev/drbd/by-res/a/0")
guest.write(0, b"bytes")
try:
    hosts.open_disk("bob", "/dev/drbd1000")
except OSError as error:
    print(error.errno, hosts.devices.openers("A/0"), flush=True)
"""


def mounts() -> list[str]:
    return Path("/proc/self/mounts").read_text().splitlines()


def holders(root: Path) -> set[str]:
    """Processes that keep a namespace of this lab; others may run on the machine."""
    return {
        entry
        for entry in os.listdir("/proc")
        if entry.isdigit() and all(word in _command_line(entry) for word in (b"holder.py", os.fsencode(root)))
    }


def _command_line(process: str) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def test_close_takes_everything_away(hosts):
    before = holders(hosts.layout.root)
    hosts.devices.create("A/0", 1024)
    hosts.devices.expose("A/0", "alice", ["/dev/drbd1000"])
    guest = hosts.open_disk("alice", "/dev/drbd1000")
    assert bool(loops.attached(hosts.layout.contents)) == (hosts.mode == "block")
    hosts.close()
    hosts.close()
    assert not guest.alive
    assert loops.attached(hosts.layout.contents) == []
    assert not [line for line in mounts() if str(hosts.layout.root) in line]
    assert list(processes.processes(hosts.layout.root)) == []
    assert len(before) - len(holders(hosts.layout.root)) == (3 if hosts.isolation == "namespace" else 0)
    assert list(hosts.layout.dev("alice").rglob("drbd*")) == []


def test_killed_lab_leaves_nothing_and_starts_again(tmp_path):
    root = tmp_path / "lab"
    script = SCENARIO + "import signal; os.kill(os.getpid(), signal.SIGKILL)"
    killed = subprocess.run(
        [sys.executable, "-c", script, str(root)], cwd=CHECKOUT, capture_output=True, text=True
    )
    assert (killed.returncode, killed.stdout) == (-9, "6 {'alice'}\n"), killed.stderr
    deadline = time.monotonic() + 5
    while list(processes.processes(root)) or holders(root) or loops.attached(root / "contents"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with Hosts(root, ["alice"], str(root / "one" / "datastores")) as hosts:
        hosts.devices.create("A/0", 1024)
        hosts.devices.expose("A/0", "alice", ["/dev/drbd1000"])
        with hosts.open_disk("alice", "/dev/drbd1000") as guest:
            assert guest.read(0, 5) == bytes(5)


def test_leftover_loop_devices_are_detached_at_the_start(tmp_path):
    if not loops.available():
        pytest.skip("loop devices are not permitted here")
    root = tmp_path / "lab"
    (root / "contents").mkdir(parents=True)
    (root / "contents" / "old").write_bytes(bytes(4096))
    subprocess.run(["losetup", "-f", str(root / "contents" / "old")], check=True)
    with Hosts(root, ["alice"], str(root / "datastores")) as hosts:
        assert loops.attached(hosts.layout.contents) == []


def test_two_labs_do_not_meet(tmp_path):
    names = ["alice"]
    with (
        Hosts(tmp_path / "a", names, str(tmp_path / "a" / "ds")) as one,
        Hosts(tmp_path / "b", names, str(tmp_path / "b" / "ds")) as other,
    ):
        for hosts in (one, other):
            hosts.devices.create("A/0", 64)
            hosts.devices.expose("A/0", "alice", ["/dev/drbd1000"])
        with (
            one.open_disk("alice", "/dev/drbd1000") as mine,
            other.open_disk("alice", "/dev/drbd1000") as yours,
        ):
            mine.write(0, b"mine")
            yours.write(0, b"yours")
            other.set_power("alice", False)
            assert mine.read(0, 5) == b"mine\0"
            assert (one.devices.openers("A/0"), other.devices.openers("A/0")) == ({"alice"}, set())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_ordinary_user_has_hosts_too(tmp_path_factory):
    """User namespaces and plain files, or translated paths."""
    python = shutil.which("python3", path="/usr/bin:/bin")
    if python is None:
        pytest.skip("no python3 of the system's")
    nobody = pwd.getpwnam("nobody")
    root = Path("/var/tmp") / f"lab-test-{os.getpid()}"
    root.mkdir()
    try:
        os.chown(root, nobody.pw_uid, nobody.pw_gid)
        script = (
            SCENARIO
            + "print(hosts.mode, hosts.isolation)\n"
            + "print(hosts.run('alice', 'head -c 5 /dev/drbd1000; id -u').stdout)\n"
            + "hosts.run('bob', f'touch {root}/one/datastores/105/file', check=True)\n"
            + "print(hosts.run('alice', f'ls {root}/one/datastores/105').stdout)\nhosts.close()"
        )
        words = [python, "-B", "-c", script, str(root / "lab")]
        done = subprocess.run(
            ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups", *words],
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(CHECKOUT)},
        )
        first, kind, read, shared, *_ = filter(None, done.stdout.splitlines())
        assert (first, read, shared) == ("6 {'alice'}", f"bytes{nobody.pw_uid}", "file"), done.stderr
        assert kind in ("file namespace", "file rewrite")
    finally:
        shutil.rmtree(root)


@pytest.mark.parametrize(("variable", "value"), [("LAB_ISOLATION", "magic"), ("LAB_DEVICES", "tape")])
def test_unknown_kind_is_refused(tmp_path, monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValueError, match=value):
        Hosts(tmp_path / "lab", ["alice"], str(tmp_path / "lab" / "ds"))


def test_block_devices_need_namespaces(tmp_path, monkeypatch):
    monkeypatch.setenv("LAB_ISOLATION", "rewrite")
    monkeypatch.setenv("LAB_DEVICES", "block")
    with pytest.raises(OSError, match="block devices"):
        Hosts(tmp_path / "lab", ["alice"], str(tmp_path / "lab" / "ds"))
