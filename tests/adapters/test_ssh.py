# SPDX-License-Identifier: Apache-2.0
"""Running commands on hosts and on the front-end, over the lab's ssh: answers, failures, ends, secrets."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.hosts import Hosts
from lab.hosts.faults import SshFault
from linstor_helper.errors import CommandFailed, DeadlineExceeded, HostUnreachable, RefusedError, UsageError
from linstor_helper.shell import Script, command
from linstor_helper.ssh import SshHosts

MIB = 1 << 20
PYTHON = sys.executable


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosts]:
    with Hosts(tmp_path, ["alice", "bob"], str(tmp_path / "datastores")) as made:
        monkeypatch.setenv("PATH", f"{made.bin_dir}:{os.environ['PATH']}")
        for name, text in made.environment().items():
            monkeypatch.setenv(name, text)
        yield made


@pytest.fixture
def ssh(hosts: Hosts) -> SshHosts:
    return SshHosts(1)


def children() -> set[str]:
    """Process ids of this process's children."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


@pytest.fixture(autouse=True)
def nothing_left_open(hosts: Hosts) -> Iterator[None]:
    """Every call gives back its descriptors and ends its program."""
    processes, descriptors = children(), len(os.listdir("/proc/self/fd"))
    yield
    assert children() == processes
    assert len(os.listdir("/proc/self/fd")) == descriptors


def script(*lines: str) -> Script:
    return Script(lines)


# -- scripts on hosts -----------------------------------------------------------------------------------------------


def test_the_output_comes_back(ssh: SshHosts) -> None:
    assert ssh.run("alice", script("echo $LAB_HOST") + command("printf", "%s\n", "a  'b' $c `d` é")) == (
        "alice\na  'b' $c `d` é\n"
    )
    assert ssh.run("alice", Script()) == ""


def test_a_large_output_comes_back(ssh: SshHosts) -> None:
    assert len(ssh.run("alice", script("head -c 3000000 /dev/zero | tr '\\0' x"))) == 3_000_000


def test_the_first_failure_ends_a_script(hosts: Hosts, ssh: SshHosts) -> None:
    with pytest.raises(CommandFailed, match=r"alice failed \(exit status 3\); out of luck") as failed:
        ssh.run("alice", script("echo out of luck >&2; (exit 3)", "touch ~/reached"))
    assert failed.value.status == 3
    assert not (hosts.layout.home("alice") / "reached").exists()


def test_a_failure_within_a_pipe_counts(ssh: SshHosts) -> None:
    with pytest.raises(CommandFailed):
        ssh.run("alice", script("false | cat"))


def test_messages_of_a_login_are_not_the_error(ssh: SshHosts) -> None:
    noise = (
        "echo \"Warning: Permanently added 'alice' to the list of known hosts.\" >&2; echo 'ERROR: full' >&2"
    )
    with pytest.raises(CommandFailed) as failed:
        ssh.run("alice", script(f"{noise}; exit 1"))
    assert failed.value.details == "full"


def test_system_directories_are_in_the_path(ssh: SshHosts) -> None:
    path = ssh.run("alice", script("echo $PATH $LC_ALL")).split()
    assert {"/usr/sbin", "/sbin"} <= set(path[0].split(":"))
    assert path[1] == "C"


def test_data_follows_the_script(hosts: Hosts, ssh: SshHosts) -> None:
    data = os.urandom(3 * MIB) + b"\nexit 1\n"
    feed = iter([f"head -c {len(data)} > ~/copy\n".encode(), data, b"echo behind it\n"])
    assert ssh.run("alice", script("echo before"), feed=feed) == "before\nbehind it\n"
    assert (hosts.layout.home("alice") / "copy").read_bytes() == data


# -- ends -----------------------------------------------------------------------------------------------------------


def test_a_stream_cut_short_is_no_success(hosts: Hosts, ssh: SshHosts) -> None:
    """bash ends without an error at the end of its input, wherever that is."""
    with pytest.raises(CommandFailed, match="ended early"):
        ssh.run("alice", script("exit 0"))
    hosts.faults.add(SshFault("lose", "midway", at_byte=MIB))
    with pytest.raises(HostUnreachable):
        ssh.run("alice", script(f"head -c {2 * MIB} > ~/copy"), feed=[bytes(2 * MIB)])


def test_a_command_that_leaves_its_data_unread_says_why(ssh: SshHosts) -> None:
    feed = [b"x" * MIB for _ in range(20)]
    with pytest.raises(CommandFailed, match=r"exit status 4.*no room") as failed:
        ssh.run("alice", script("echo no room >&2; exit 4"), feed=feed)
    assert failed.value.status == 4


def test_a_source_that_fails_is_the_error(ssh: SshHosts) -> None:
    def feed() -> Iterator[bytes]:
        yield b"head -c 200000 > ~/copy\n"
        yield b"x" * 100_000
        raise RefusedError("the download is damaged")

    with pytest.raises(RefusedError, match="damaged"):
        ssh.run("alice", Script(), feed=feed())


@pytest.mark.parametrize("number", [126, 127, 254])
def test_exit_statuses_are_told_apart_from_ssh_s_own(ssh: SshHosts, number: int) -> None:
    with pytest.raises(CommandFailed) as failed:
        ssh.run("alice", script(f"exit {number}"))
    assert failed.value.status == number


# -- hosts that do not answer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", ["down", "refused"])
def test_a_host_that_cannot_be_reached(hosts: Hosts, ssh: SshHosts, link: str) -> None:
    hosts.set_link("alice", link)
    started = time.monotonic()
    with pytest.raises(HostUnreachable, match=r"host alice cannot be reached by ssh.*check `ssh alice`"):
        ssh.run("alice", command("true"))
    with pytest.raises(HostUnreachable), ssh.read("alice", command("true")) as stream:
        stream.read(10)
    assert time.monotonic() - started < 4


def test_an_unknown_host(ssh: SshHosts) -> None:
    with pytest.raises(HostUnreachable, match="Could not resolve"):
        ssh.run("zora", command("true"))


@pytest.mark.parametrize("host", ["-oProxyCommand=touch pwned", "", "-"])
def test_a_host_that_is_an_option(ssh: SshHosts, host: str) -> None:
    with pytest.raises(UsageError, match="not the name of a host"):
        ssh.run(host, command("true"))


def test_a_host_that_goes_silent_is_given_up(hosts: Hosts, ssh: SshHosts) -> None:
    hosts.faults.add(SshFault("hang", "after"))
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"alice did not end within 0\.5 s"):
        ssh.run("alice", command("true"), timeout=0.5)
    assert time.monotonic() - started < 3


def test_a_lost_answer_is_a_host_that_cannot_be_reached(hosts: Hosts, ssh: SshHosts) -> None:
    hosts.faults.add(SshFault("lose", "after"))
    with pytest.raises(HostUnreachable):
        ssh.run("alice", script("touch ~/done"))
    assert (hosts.layout.home("alice") / "done").exists()


# -- reading from hosts and programs --------------------------------------------------------------------------------


def read_all(stream: object) -> bytes:
    parts = []
    while data := stream.read(65536):  # type: ignore[attr-defined]
        parts.append(data)
    return b"".join(parts)


def test_a_host_s_output_is_read_as_a_stream(ssh: SshHosts) -> None:
    with ssh.read("alice", script("head -c 3000000 /dev/zero")) as stream:
        assert read_all(stream) == bytes(3_000_000)


def test_a_stream_that_failed_at_its_end_is_no_success(ssh: SshHosts) -> None:
    with (
        pytest.raises(CommandFailed, match="read error"),
        ssh.read("alice", script("echo data; echo read error >&2; exit 1")) as stream,
    ):
        assert read_all(stream) == b"data\n"


def test_leaving_a_stream_early_ends_the_program(ssh: SshHosts) -> None:
    started = time.monotonic()
    with ssh.stream(["sh", "-c", "yes; sleep 60"], "yes") as stream:
        assert stream.read(4) == b"y\ny\n"
    assert time.monotonic() - started < 5


def test_the_failed_source_is_the_cause_of_what_followed(ssh: SshHosts) -> None:
    with pytest.raises(CommandFailed, match=r"fetching it failed \(exit status 7\); checksum"):
        refuse_what_it_says(ssh, "echo x; echo checksum >&2; exit 7")
    with pytest.raises(RefusedError, match="damaged"):
        refuse_what_it_says(ssh, "echo x")


def refuse_what_it_says(ssh: SshHosts, text: str) -> None:
    with ssh.stream(["sh", "-c", text], "fetching it") as stream:
        read_all(stream)
        # until the program has ended, too
        time.sleep(0.1)
        raise RefusedError("the image is damaged")


def test_a_program_on_the_front_end(ssh: SshHosts) -> None:
    assert ssh.local(["cat"], stdin=b"in") == "in"
    assert ssh.local(["sh", "-c", "echo $SECRET$HOME"], environment={"SECRET": "s", "HOME": "/h"}) == "s/h\n"
    with pytest.raises(CommandFailed, match=r"sh failed \(exit status 2\); why"):
        ssh.local(["sh", "-c", "echo why >&2; exit 2"])
    with pytest.raises(CommandFailed, match="cannot be run: No such file") as failed:
        ssh.local(["/no/such/program"])
    assert failed.value.status == 127


def test_a_program_that_does_not_read_its_input(ssh: SshHosts) -> None:
    assert ssh.local(["true"], stdin=b"x" * MIB) == ""


# -- secrets --------------------------------------------------------------------------------------------------------


def test_nothing_of_a_script_is_in_a_process_list(hosts: Hosts, ssh: SshHosts) -> None:
    show = "tr '\\0' ' ' < /proc/$$/cmdline; tr '\\0' ' ' < /proc/$PPID/cmdline"
    listed = ssh.run("alice", command("true", "s3cr3t") + script(show))
    assert "s3cr3t" not in listed
    assert "bash" in listed
    (call,) = hosts.calls
    assert call["argv"][-3:] == ["alice", "bash", "-s"]
    assert "s3cr3t" not in " ".join(call["argv"])


def test_a_program_s_environment_is_not_in_its_failure(ssh: SshHosts) -> None:
    with pytest.raises(CommandFailed) as failed:
        ssh.local([PYTHON, "-c", "import sys; sys.exit('no')"], environment={"DRV_ACTION": "s3cr3t"})
    assert "s3cr3t" not in str(failed.value)
    assert str(failed.value).endswith("no")
