# SPDX-License-Identifier: Apache-2.0
"""The lab's ssh against what callers of OpenSSH rely on."""

from __future__ import annotations

import json
import os
import subprocess
import time

import pytest

from lab.hosts import SshFault


class TestSession:
    def test_command_runs_at_home_with_a_clean_environment(self, hosts, ssh):
        ssh.environment["DRIVER_SECRET"] = "hunter2"
        done = ssh("alice", "pwd; env")
        home, *variables = done.stdout.decode().splitlines()
        assert home == str(hosts.layout.home("alice"))
        assert "LAB_HOST=alice" in variables
        assert "LANG=C.UTF-8" in variables
        assert not [
            line for line in variables if line.startswith(("DRIVER_SECRET", "PYTHONPATH", "VIRTUAL_ENV"))
        ]

    def test_words_are_joined_and_read_by_a_shell(self, best_ssh):
        assert best_ssh("alice", "echo", "'a  b'", "$((1 + 1))", ";", "echo", "c").stdout == b"a  b 2\nc\n"

    @pytest.mark.parametrize("code", [0, 1, 42, 254])
    def test_exit_code_is_that_of_the_command(self, best_ssh, code):
        assert best_ssh("alice", f"exit {code}").returncode == code

    def test_command_that_is_killed_gives_255(self, best_ssh):
        assert best_ssh("alice", "kill -KILL $$").returncode == 255

    def test_output_and_errors_stay_apart(self, best_ssh):
        done = best_ssh("alice", "echo out; echo err >&2; exit 3")
        assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"err\n", 3)

    def test_binary_data_follows_the_script_on_stdin(self, hosts, ssh):
        data = b"#!/bin/bash\nexit 9\n" + os.urandom(1 << 20)
        script = b"set -e\n{ cat > got; echo stored; exit; }\n"
        done = ssh("alice", "bash", "-s", stdin=script + data)
        assert done.stdout == b"stored\n"
        assert (hosts.path("alice", hosts.layout.home("alice")) / "got").read_bytes() == data

    def test_arguments_of_a_script_on_stdin(self, ssh):
        assert (
            ssh("alice", "bash", "-s", "--", "'one two'", "three", stdin=b'printf "%s\\n" "$@"').stdout
            == b"one two\nthree\n"
        )

    def test_large_output_passes(self, best_ssh):
        assert best_ssh("alice", "head -c 3000000 /dev/zero").stdout == bytes(3_000_000)

    def test_command_that_reads_nothing_ends_the_call(self, best_ssh):
        with subprocess.Popen(
            ["ssh", "alice", "true"], env=best_ssh.environment, stdin=subprocess.PIPE
        ) as call:
            assert call.wait(timeout=10) == 0

    def test_n_gives_no_input(self, best_ssh):
        assert best_ssh("-n", "alice", "cat", stdin=b"data").stdout == b""

    def test_a_killed_client_frees_its_caller_while_the_command_goes_on(self, best_hosts, best_ssh):
        script = "trap '' PIPE; echo started; exec > /dev/null; read -r; touch ~/finished"
        with subprocess.Popen(
            ["ssh", "alice", script], env=best_ssh.environment, stdin=-1, stdout=-1
        ) as call:
            assert call.stdout.readline() == b"started\n"
            call.kill()
            assert call.stdout.read() == b""
        finished = best_hosts.layout.home("alice") / "finished"
        deadline = time.monotonic() + 5
        while not finished.exists():
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def test_front_end_sees_what_the_driver_sees(self, best_hosts, best_ssh):
        (best_hosts.layout.datastores / "mark").write_text("front\n")
        assert best_ssh(
            "frontend", f"cat {best_hosts.layout.datastores}/mark; command -v ssh"
        ).stdout.split() == [
            b"front",
            str(best_hosts.bin_dir / "ssh").encode(),
        ]


class TestIsolation:
    def test_datastores_belong_to_the_host(self, hosts, ssh):
        place = f"{hosts.layout.datastores}/101/7"
        assert ssh.script("alice", f"mkdir -p {place}; echo mine > ~/x; mv ~/x {place}/file").returncode == 0
        assert hosts.path("alice", f"{place}/file").read_text() == "mine\n"
        assert not os.path.exists(place)
        assert ssh("bob", f"ls {hosts.layout.datastores}").stdout == b"105\n"

    def test_host_does_not_see_the_front_ends_files(self, best_hosts, best_ssh, tmp_path):
        if best_hosts.isolation != "namespace":
            pytest.skip("translated paths hide nothing")
        (tmp_path / "image.raw").write_bytes(b"on the front-end")
        assert best_ssh("alice", f"cat {tmp_path}/image.raw").returncode == 1
        assert best_ssh(
            "alice", f"ls {best_hosts.layout.root} {best_hosts.layout.root}/hosts"
        ).stdout.decode().split("\n\n")[1] == (f"{best_hosts.layout.root}/hosts:\nalice\n")

    def test_usual_character_devices_are_there(self, best_ssh):
        script = """
            head -c 2 /dev/zero | od -An -tx1
            echo x > /dev/null
            cat <(echo sub) /dev/stdin
            test -c /dev/urandom && test -d /dev/shm
        """
        done = best_ssh("alice", script, stdin=b"in\n")
        assert (done.stdout, done.returncode) == (b" 00 00\nsub\nin\n", 0)


class TestOptions:
    @pytest.mark.parametrize(
        "words",
        [
            ["-o", "BatchMode=yes", "-o", "ConnectTimeout 5", "-q", "alice", "echo ok"],
            ["-oStrictHostKeyChecking=no", "-p", "22", "-l", "oneadmin", "alice", "echo", "ok"],
            ["-qT", "-i", "/none", "oneadmin@alice", "echo ok"],
            ["-4x", "alice", "-o", "ServerAliveInterval=3", "--", "echo", "ok"],
            ["-T", "--", "alice", "echo ok"],
        ],
    )
    def test_accepted(self, best_ssh, words):
        assert best_ssh(*words).stdout == b"ok\n"

    @pytest.mark.parametrize(
        ("words", "text"),
        [
            ([], b"usage: ssh"),
            (["-o", "ConectTimeout=5", "alice", "true"], b"Bad configuration option: conecttimeout"),
            (["-o", "ConnectTimeout=soon", "alice", "true"], b"invalid time value"),
            (["-o"], b"option requires an argument -- o"),
            (["-z", "alice"], b"unknown option -- z"),
        ],
    )
    def test_refused(self, best_ssh, words, text):
        done = best_ssh(*words)
        assert done.returncode == 255
        assert text in done.stderr

    def test_words_after_the_command_are_not_options(self, best_ssh):
        assert best_ssh("alice", "echo", "-q", "-o", "x").stdout == b"-q -o x\n"


class TestFailures:
    def test_unknown_host(self, best_ssh):
        done = best_ssh("dora", "true")
        assert done.returncode == 255
        assert done.stderr == b"ssh: Could not resolve hostname dora: Name or service not known\r\n"

    def test_refused(self, best_hosts, best_ssh):
        best_hosts.set_link("alice", "refused")
        done = best_ssh("alice", "true")
        assert (done.returncode, done.stderr) == (
            255,
            b"ssh: connect to host alice port 22: Connection refused\r\n",
        )
        assert best_ssh("-q", "alice", "true").stderr == b""

    def test_dead_host_costs_the_connect_timeout(self, best_hosts, best_ssh):
        best_hosts.set_power("alice", False)
        begin = time.monotonic()
        done = best_ssh("-o", "ConnectTimeout=1", "alice", "true")
        assert 1 <= time.monotonic() - begin < 2
        assert (done.returncode, done.stderr) == (
            255,
            b"ssh: connect to host alice port 22: Connection timed out\r\n",
        )
        with pytest.raises(subprocess.TimeoutExpired):
            best_ssh("alice", "true", timeout=0.3)
        assert best_ssh("bob", "echo up").stdout == b"up\n"
        best_hosts.set_power("alice", True)
        assert best_ssh("alice", "echo up").stdout == b"up\n"

    def test_power_off_leaves_a_running_call_without_an_answer(self, best_hosts, best_ssh):
        with subprocess.Popen(
            [
                "ssh",
                "-o",
                "ServerAliveInterval=1",
                "-o",
                "ServerAliveCountMax=1",
                "alice",
                "echo on; sleep 60",
            ],
            env=best_ssh.environment,
            stdout=-1,
            stderr=-1,
        ) as call:
            assert call.stdout.readline() == b"on\n"
            best_hosts.set_power("alice", False)
            with pytest.raises(subprocess.TimeoutExpired):
                call.wait(0.3)
            assert call.wait(5) == 255
            assert call.stderr.read() == b"Timeout, server alice not responding.\r\n"

    def test_lost_link_leaves_processes_alone(self, best_hosts, best_ssh):
        best_hosts.devices.create("A/0", 64)
        best_hosts.devices.expose("A/0", "alice", ["/dev/drbd1000"])
        with best_hosts.open_disk("alice", "/dev/drbd1000") as guest:
            best_hosts.set_link("alice", "down")
            assert best_ssh("-o", "ConnectTimeout=1", "alice", "true").returncode == 255
            guest.write(0, b"alive")
            assert best_hosts.devices.openers("A/0") == {"alice"}

    def test_slow_host(self, best_hosts, best_ssh):
        best_hosts.set_delay("alice", 0.4)
        begin = time.monotonic()
        assert best_ssh("alice", "true").returncode == 0
        assert time.monotonic() - begin >= 0.4
        best_hosts.set_delay("alice", 30)
        assert best_ssh("-o", "ConnectTimeout=1", "alice", "true").returncode == 255


class TestFaults:
    def test_lost_before_has_no_effect(self, best_hosts, best_ssh):
        best_hosts.faults.add(SshFault("lose", "before", nth=2, host="alice"))
        calls = [best_ssh(host, f"touch ~/{n}") for n, host in enumerate(["alice", "bob", "alice", "alice"])]
        assert [call.returncode for call in calls] == [0, 0, 255, 0]
        assert sorted(path.name for path in best_hosts.layout.home("alice").iterdir()) == ["0", "3"]
        assert b"closed by remote host" in calls[2].stderr
        assert best_hosts.faults.pending == 0

    def test_lost_after_has_its_effect_and_no_answer(self, best_hosts, best_ssh):
        best_hosts.faults.add(SshFault("lose", "after", match="touch"))
        assert best_ssh("alice", "echo fine").stdout == b"fine\n"
        done = best_ssh("alice", "touch ~/made; echo done")
        assert (done.returncode, done.stdout) == (255, b"")
        assert (best_hosts.layout.home("alice") / "made").exists()

    def test_lost_midway_gives_the_command_a_part_of_its_input(self, best_hosts, best_ssh):
        best_hosts.faults.add(SshFault("lose", "midway", at_byte=100_000))
        done = best_ssh("alice", "cat > ~/part; echo $? > ~/status", stdin=os.urandom(300_000))
        assert done.returncode == 255
        deadline = time.monotonic() + 5
        while not (best_hosts.layout.home("alice") / "status").exists():
            assert time.monotonic() < deadline
            time.sleep(0.005)
        assert (best_hosts.layout.home("alice") / "part").stat().st_size == 100_000

    def test_hang_after_the_effect(self, best_hosts, best_ssh):
        best_hosts.faults.add(SshFault("hang", "after"))
        with pytest.raises(subprocess.TimeoutExpired) as hung:
            best_ssh("alice", "touch ~/made; echo done", timeout=0.5)
        assert not hung.value.stdout
        assert (best_hosts.layout.home("alice") / "made").exists()
        assert [(call["rc"], call["fault"]) for call in best_hosts.calls] == [(None, "hang after")]

    @pytest.mark.parametrize(("when", "made"), [("before", False), ("after", True)])
    def test_driver_is_killed_at_the_call(self, best_hosts, best_ssh, when, made):
        best_hosts.faults.add(SshFault("kill_driver", when))
        driver = subprocess.run(
            ["bash", "-c", "ssh alice 'touch ~/made'; echo survived"],
            env=best_ssh.environment,
            capture_output=True,
        )
        assert (driver.returncode, driver.stdout) == (-9, b"")
        assert (best_hosts.layout.home("alice") / "made").exists() is made

    def test_command_runs_on_the_front_end_at_the_call(self, best_hosts, best_ssh, tmp_path):
        best_hosts.faults.add(SshFault("command", "before", command=f"echo struck > {tmp_path}/mark"))
        assert best_ssh("alice", "echo answer").stdout == b"answer\n"
        assert (tmp_path / "mark").read_text() == "struck\n"

    @pytest.mark.parametrize(
        "wrong", [{"kind": "explode"}, {"kind": "lose", "when": "midway"}, {"kind": "lose", "nth": 0}]
    )
    def test_impossible_faults_are_refused(self, wrong):
        with pytest.raises(ValueError, match=r"fault|at_byte|nth"):
            SshFault(**wrong)


def test_calls_are_recorded(best_hosts, best_ssh):
    best_ssh("-q", "alice", "echo 'ü\t\"\\'; cat", stdin=b"12345")
    best_ssh("bob", "exit 7")
    first, second = best_hosts.calls
    assert first["argv"] == ["-q", "alice", "echo 'ü\t\"\\'; cat"]
    assert (first["host"], first["stdin"], first["stdout"], first["rc"]) == ("alice", 5, 6 + 5, 0)
    assert (second["host"], second["stdin"], second["rc"], second["fault"]) == ("bob", 0, 7, None)
    assert 0 < second["seconds"] < 5
    assert len(best_hosts.layout.calls.read_text().splitlines()) == 2
    json.loads(best_hosts.layout.calls.read_text().splitlines()[0])
