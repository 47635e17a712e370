# SPDX-License-Identifier: Apache-2.0
"""What the two ends of an ssh session learn when the caller, the client, the network or the command goes away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

# Calls ssh with a script on standard input, says so, and never ends by itself.
DRIVER = """
import subprocess, sys, time
script = b"echo ready; read -r word; echo \\"got[$word] $?\\" > ~/seen; {rest}\\n"
client = subprocess.Popen(
    ["ssh", *sys.argv[1:], "bash", "-s"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
)
client.stdin.write(script)
client.stdin.flush()
print(client.stdout.readline().decode(), client.pid, flush=True)
time.sleep(60)
"""
# What is done when the input ends: it takes its time, writes to where nobody reads (the first
# word tells that), and goes on all the same.
SLOWLY = "trap '' PIPE; echo nobody; sleep 0.2; echo hears; echo $? > ~/wrote; touch ~/finished"


def home(hosts, name: str):
    return hosts.layout.home("alice") / name


def eventually(condition) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def started(ssh, *options: str, rest: str = SLOWLY):
    """A driver in the middle of its session, and the process id of its ssh."""
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER.replace("{rest}", rest), *options, "alice"],
        env=ssh.environment,
        stdout=subprocess.PIPE,
    )
    assert driver.stdout is not None
    assert driver.stdout.readline() == b"ready\n"
    return driver, int(driver.stdout.readline())


def end(driver, number: signal.Signals = signal.SIGKILL) -> None:
    driver.send_signal(number)
    driver.wait()
    driver.stdout.close()


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_killed_driver_ends_the_input_of_a_command_that_goes_on(hosts, ssh):
    driver, client = started(ssh)
    assert not home(hosts, "seen").exists()
    end(driver)
    eventually(home(hosts, "seen").exists)
    assert alive(client)
    eventually(home(hosts, "finished").exists)
    assert home(hosts, "seen").read_text() == "got[] 1\n"
    assert home(hosts, "wrote").read_text() == "1\n"
    eventually(lambda: not alive(client))
    assert [(call["host"], call["rc"]) for call in hosts.calls] == [("alice", 0)]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_killed_client_ends_the_input_too(best_hosts, best_ssh, number):
    driver, client = started(best_ssh)
    os.kill(client, number)
    eventually(home(best_hosts, "finished").exists)
    assert home(best_hosts, "seen").read_text() == "got[] 1\n"
    end(driver)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_client_does_not_die_by_a_signal(best_ssh, number):
    with subprocess.Popen(
        ["ssh", "alice", "echo on; cat"], env=best_ssh.environment, stdin=-1, stdout=-1
    ) as call:
        assert call.stdout.readline() == b"on\n"
        call.send_signal(number)
        assert call.wait(5) == 255


def test_a_line_reaches_the_command_while_it_runs(best_hosts, best_ssh):
    script = b"echo ready; read -r word; echo $word\n"
    with subprocess.Popen(
        ["ssh", "alice", "bash", "-s"], env=best_ssh.environment, stdin=-1, stdout=-1
    ) as call:
        call.stdin.write(script)
        call.stdin.flush()
        assert call.stdout.readline() == b"ready\n"
        call.stdin.write(b"go\n")
        call.stdin.flush()
        assert call.stdout.readline() == b"go\n"


def test_input_reaches_a_command_that_has_closed_its_output(best_hosts, best_ssh):
    script = "exec >&- 2>&-; read -r word; echo $word > ~/seen; exit 3"
    with subprocess.Popen(["ssh", "alice", script], env=best_ssh.environment, stdin=-1, stdout=-1) as call:
        time.sleep(0.3)
        call.stdin.write(b"later\n")
        call.stdin.flush()
        assert call.wait(5) == 3
    assert home(best_hosts, "seen").read_text() == "later\n"


def test_what_outlives_the_command_holds_the_session_by_its_output(best_ssh):
    begin = time.monotonic()
    assert best_ssh("alice", "sleep 0.3 & echo done").stdout == b"done\n"
    assert time.monotonic() - begin >= 0.3
    begin = time.monotonic()
    assert best_ssh("alice", "sleep 5 > /dev/null 2>&1 & echo done").stdout == b"done\n"
    assert time.monotonic() - begin < 3


class TestNetworkDown:
    def test_nothing_passes(self, best_hosts, best_ssh):
        script = "echo on; read -r word; echo $word > ~/seen"
        with subprocess.Popen(
            ["ssh", "alice", script], env=best_ssh.environment, stdin=-1, stdout=-1
        ) as call:
            assert call.stdout.readline() == b"on\n"
            best_hosts.set_link("alice", "down")
            time.sleep(0.1)
            call.stdin.write(b"held up\n")
            call.stdin.flush()
            time.sleep(0.2)
            assert not home(best_hosts, "seen").exists()
            best_hosts.set_link("alice", "up")
            assert call.wait(5) == 0
        assert home(best_hosts, "seen").read_text() == "held up\n"

    def test_the_client_gives_up_and_the_command_sees_the_end_of_its_input(self, best_hosts, best_ssh):
        options = ("-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=1")
        script = f'echo on; read -r word; echo "got[$word] $?" > ~/seen; {SLOWLY}'
        with subprocess.Popen(
            ["ssh", *options, "alice", script], env=best_ssh.environment, stdin=-1, stdout=-1, stderr=-1
        ) as call:
            assert call.stdout.readline() == b"on\n"
            best_hosts.set_link("alice", "down")
            assert call.wait(5) == 255
            assert call.stderr.read() == b"Timeout, server alice not responding.\r\n"
        eventually(home(best_hosts, "finished").exists)
        assert home(best_hosts, "seen").read_text() == "got[] 1\n"

    def test_sshd_may_notice_first(self, best_hosts, best_ssh):
        best_hosts.set_client_alive("alice", 0.1)
        driver, client = started(best_ssh)
        best_hosts.set_link("alice", "down")
        eventually(home(best_hosts, "finished").exists)
        assert alive(client)
        assert home(best_hosts, "seen").read_text() == "got[] 1\n"
        end(driver)

    def test_a_killed_driver_is_not_noticed(self, best_hosts, best_ssh):
        driver, _ = started(best_ssh)
        best_hosts.set_link("alice", "down")
        time.sleep(0.1)
        end(driver)
        time.sleep(0.2)
        assert not home(best_hosts, "seen").exists()
        best_hosts.set_link("alice", "up")
        eventually(home(best_hosts, "finished").exists)

    def test_no_client_waits_for_a_lab_that_has_ended(self, best_hosts, best_ssh):
        driver, client = started(best_ssh)
        best_hosts.set_link("alice", "down")
        end(driver)
        best_hosts.close()
        eventually(lambda: not alive(client))
