# SPDX-License-Identifier: Apache-2.0
"""virsh on the lab's hosts, guest agents, and what freezing does to what the guest has in memory."""

from __future__ import annotations

import math
import threading
import time

import pytest

from lab.hosts import ABSENT, DISCONNECTED, RUNNING, Agent, Guest, Hosts

KEY, NODE, DOMAIN = "IMG/0", "/dev/drbd1000", "one-5"
VIRSH = ("virsh", "-c", "qemu:///system")


def virsh(hosts: Hosts, *words: str, host: str = "alice", before: str = "") -> tuple[int, str, str]:
    """Status, output and complaints without their last line ends."""
    done = hosts.run(host, before + " ".join((*VIRSH, *words)))
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def on_device(hosts: Hosts, length: int, node: str = NODE) -> bytes:
    return hosts.run("alice", f"head -c {length} {node}", check=True).stdout.encode()


def prepared(hosts: Hosts) -> Hosts:
    for number in (0, 1):
        hosts.devices.create(f"IMG/{number}", 1024)
        for name in hosts.names:
            hosts.devices.expose(f"IMG/{number}", name, [f"/dev/drbd100{number}"])
    return hosts


@pytest.fixture
def lab(best_hosts: Hosts) -> Hosts:
    return prepared(best_hosts)


@pytest.fixture
def guest(lab: Hosts) -> Guest:
    """The disk of a domain on alice whose agent runs."""
    made = lab.open_disk("alice", NODE)
    lab.domains.start("alice", DOMAIN, {0: made})
    lab.domains.set_agent(DOMAIN, RUNNING)
    return made


def eventually(condition) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class TestPageCache:
    def test_the_guest_sees_what_the_device_has_not(self, lab, guest):
        guest.write(0, b"0123456789")
        guest.write_cached(2, b"ab")
        guest.write_cached(3, b"XY")
        assert guest.read(0, 10) == b"01aXY56789"
        assert guest.read(4, 2) == b"Y5"
        assert on_device(lab, 10) == b"0123456789"
        assert guest.sha256() != lab.run("alice", f"sha256sum {NODE}").stdout.split()[0]
        guest.sync()
        assert on_device(lab, 10) == b"01aXY56789"
        assert guest.sha256() == lab.run("alice", f"sha256sum {NODE}").stdout.split()[0]

    def test_a_synchronous_write_follows_what_was_written_before(self, lab, guest):
        guest.write_cached(0, b"old")
        guest.write(0, b"new")
        assert (guest.read(0, 3), on_device(lab, 3)) == (b"new", b"new")

    def test_a_power_cut_loses_it(self, lab, guest):
        guest.write_cached(0, b"lost")
        guest.close()
        assert on_device(lab, 4) == bytes(4)

    def test_neither_beyond_the_end_nor_into_a_read_only_disk(self, lab, guest):
        with pytest.raises(OSError, match="No space left"):
            guest.write_cached((1 << 20) - 2, b"abc")
        guest.close()
        with lab.open_disk("alice", NODE, write=False) as reader, pytest.raises(OSError, match="Read-only"):
            reader.write_cached(0, b"a")

    def test_a_failed_write_back_keeps_it(self, lab, guest):
        guest.write_cached(0, b"kept")
        lab.devices.set_access(KEY, "alice", "ro")
        with pytest.raises(OSError, match="Input/output error"):
            guest.sync()
        lab.devices.set_access(KEY, "alice", "rw")
        guest.sync()
        assert on_device(lab, 4) == b"kept"


class TestFreezing:
    def test_in_every_kind_of_lab(self, hosts, ssh):
        prepared(hosts)
        with hosts.open_disk("alice", NODE) as guest:
            hosts.domains.start("alice", DOMAIN, {0: guest})
            hosts.domains.set_agent(DOMAIN, RUNNING)
            guest.write_cached(0, b"cached")
            done = ssh("alice", *VIRSH, "domfsfreeze", DOMAIN)
            assert (done.returncode, done.stdout, done.stderr) == (0, b"Froze 1 filesystem(s)\n\n", b"")
            assert hosts.frozen_domains() == {DOMAIN}
            assert on_device(hosts, 6) == b"cached"
            done = ssh("alice", "virsh", "--connect", "qemu:///system", "domfsthaw", DOMAIN)
            assert (done.returncode, done.stdout) == (0, b"Thawed 1 filesystem(s)\n\n")
            assert hosts.frozen_domains() == set()

    def test_a_frozen_guest_writes_nothing(self, lab, guest):
        guest.write_cached(0, b"before")
        virsh(lab, "domfsfreeze", DOMAIN)
        for write in (guest.write, guest.write_cached):
            with pytest.raises(BlockingIOError):
                write(0, b"during")
        assert guest.read(0, 6) == b"before"
        assert on_device(lab, 6) == b"before"
        virsh(lab, "domfsthaw", DOMAIN)
        guest.write(0, b"after!")
        assert on_device(lab, 6) == b"after!"

    def test_all_disks_that_are_written(self, lab, guest):
        with lab.open_disk("alice", "/dev/drbd1001") as second:
            disks = {0: guest, 1: second}
            lab.domains.start("alice", DOMAIN, disks)
            with lab.open_disk("alice", NODE, write=False) as reader:
                disks[2] = reader
                second.write_cached(0, b"second")
                assert virsh(lab, "domfsfreeze", DOMAIN)[1] == "Froze 2 filesystem(s)"
                assert on_device(lab, 6, "/dev/drbd1001") == b"second"
                assert virsh(lab, "domfsthaw", DOMAIN)[1] == "Thawed 2 filesystem(s)"

    def test_a_thaw_of_what_is_not_frozen(self, lab, guest):
        assert virsh(lab, "domfsthaw", DOMAIN) == (0, "Thawed 0 filesystem(s)", "")

    def test_the_log(self, lab, guest):
        begin = time.monotonic()
        seen: list[tuple[str, set[str]]] = []
        lab.domains.watchers.append(lambda call: seen.append((call.action, lab.frozen_domains())))
        for command in ("domfsfreeze", "domfsfreeze", "domfsthaw"):
            virsh(lab, command, DOMAIN)
        freeze, thaw = lab.domains.calls
        assert [(one.action, one.host, one.domain, one.filesystems) for one in (freeze, thaw)] == [
            ("freeze", "alice", DOMAIN, 1),
            ("thaw", "alice", DOMAIN, 1),
        ]
        assert seen == [("freeze", {DOMAIN}), ("thaw", set())]
        assert begin < freeze.began <= freeze.ended < thaw.began <= thaw.ended < time.monotonic()


class TestRefusals:
    @pytest.mark.parametrize("command", ["domfsfreeze", "domfsthaw", "domstate"])
    @pytest.mark.parametrize(("host", "name"), [("alice", "one-6"), ("bob", DOMAIN)])
    def test_unknown_domain(self, lab, guest, command, host, name):
        status, output, complaints = virsh(lab, command, name, host=host)
        assert (status, output) == (1, "")
        assert complaints.splitlines() == [
            f"error: failed to get domain '{name}'",
            f"error: Domain not found: no domain with matching name '{name}'",
        ]

    def test_without_the_systems_libvirt(self, lab, guest):
        done = lab.run("alice", f"virsh domstate {DOMAIN}")
        assert (done.returncode, done.stderr.splitlines()[0]) == (
            1,
            f"error: failed to get domain '{DOMAIN}'",
        )
        done = lab.run("alice", f"virsh -c vbox:///session domstate {DOMAIN}")
        assert (done.returncode, done.stderr.splitlines()[0]) == (
            1,
            "error: failed to connect to the hypervisor",
        )

    @pytest.mark.parametrize(
        ("agent", "complaint"),
        [
            (ABSENT, "argument unsupported: QEMU guest agent is not configured"),
            (DISCONNECTED, "Guest agent is not responding: QEMU guest agent is not connected"),
        ],
    )
    def test_no_agent(self, lab, guest, agent, complaint):
        lab.domains.set_agent(DOMAIN, agent)
        assert virsh(lab, "domfsfreeze", DOMAIN) == (
            1,
            "",
            f"error: Unable to freeze filesystems\nerror: {complaint}",
        )
        assert virsh(lab, "domfsthaw", DOMAIN) == (
            1,
            "",
            f"error: Unable to thaw filesystems\nerror: {complaint}",
        )
        assert virsh(lab, "domstate", DOMAIN) == (0, "running", "")
        assert (lab.frozen_domains(), lab.domains.calls) == (set(), [])

    def test_a_domain_has_no_agent_of_itself(self, lab, guest):
        lab.domains.start("alice", "one-7", {0: guest})
        assert "not configured" in virsh(lab, "domfsfreeze", "one-7")[2]

    def test_a_domain_that_is_off(self, lab, guest):
        guest.close()
        assert virsh(lab, "domstate", DOMAIN) == (0, "shut off", "")
        status, _, complaints = virsh(lab, "domfsfreeze", DOMAIN)
        assert (status, complaints.splitlines()[1]) == (
            1,
            "error: Requested operation is not valid: domain is not running",
        )

    def test_a_second_freeze(self, lab, guest):
        virsh(lab, "domfsfreeze", DOMAIN)
        status, output, complaints = virsh(lab, "domfsfreeze", DOMAIN)
        assert (status, output) == (1, "")
        assert complaints.endswith("the agent is in frozen state")
        assert lab.frozen_domains() == {DOMAIN}

    def test_a_freeze_that_can_not_write_back_leaves_nothing_frozen(self, lab, guest):
        with lab.open_disk("alice", "/dev/drbd1001") as second:
            lab.domains.start("alice", DOMAIN, {0: guest, 1: second})
            second.write_cached(0, b"cached")
            lab.devices.set_access("IMG/1", "alice", "ro")
            status, _, complaints = virsh(lab, "domfsfreeze", DOMAIN)
            assert (status, complaints.endswith("failed to freeze /dev/drbd1001: Input/output error")) == (
                1,
                True,
            )
            assert lab.frozen_domains() == set()
            guest.write(0, b"goes on")

    @pytest.mark.parametrize(
        ("words", "complaint"),
        [
            ("domfsfreeze", "command 'domfsfreeze' requires <domain> option"),
            ("domstate a b", "unexpected data 'b'"),
            ("explode a", "unknown command: 'explode'"),
            ("--magic domstate a", "unsupported option '--magic'. See --help."),
        ],
    )
    def test_words(self, lab, words, complaint):
        assert virsh(lab, words)[::2] == (1, f"error: {complaint}")

    def test_the_front_end_has_none(self, lab):
        assert lab.run("frontend", "command -v virsh").stdout.strip() != str(lab.layout.host_bin / "virsh")


class TestHangingAgents:
    def test_a_freeze_comes_although_nobody_waits_for_it(self, lab, guest):
        lab.domains.set_agent(DOMAIN, Agent(freeze_delay=0.3))
        guest.write_cached(0, b"late")
        assert virsh(lab, "domfsfreeze", DOMAIN, before="timeout 0.1 ")[0] == 124
        assert (lab.frozen_domains(), on_device(lab, 4)) == (set(), bytes(4))
        eventually(lab.frozen_domains)
        assert on_device(lab, 4) == b"late"

    def test_a_thaw_waits_for_its_turn(self, lab, guest):
        lab.domains.set_agent(DOMAIN, Agent(freeze_delay=0.3))
        virsh(lab, "domfsfreeze", DOMAIN, before="timeout 0.1 ")
        assert virsh(lab, "domfsthaw", DOMAIN) == (0, "Thawed 1 filesystem(s)", "")
        assert [call.action for call in lab.domains.calls] == ["freeze", "thaw"]
        assert lab.frozen_domains() == set()

    def test_a_thaw_comes_although_nobody_waits_for_it(self, lab, guest):
        lab.domains.set_agent(DOMAIN, Agent(freeze_delay=0.3))
        virsh(lab, "domfsfreeze", DOMAIN, before="timeout 0.1 ")
        virsh(lab, "domfsthaw", DOMAIN, before="timeout 0.1 ")
        eventually(lambda: len(lab.domains.calls) == 2)
        assert lab.frozen_domains() == set()

    def test_an_agent_that_never_freezes_blocks_the_thaw(self, lab, guest):
        lab.domains.set_agent(DOMAIN, Agent(freeze_delay=math.inf))
        lab.domains.job_wait = 0.1
        virsh(lab, "domfsfreeze", DOMAIN, before="timeout 0.1 ")
        status, _, complaints = virsh(lab, "domfsthaw", DOMAIN)
        assert (status, "cannot acquire state change lock" in complaints) == (1, True)
        assert lab.frozen_domains() == set()

    def test_a_thaw_that_hangs_leaves_it_frozen(self, lab, guest):
        lab.domains.set_agent(DOMAIN, Agent(thaw_delay=math.inf))
        virsh(lab, "domfsfreeze", DOMAIN)
        assert virsh(lab, "domfsthaw", DOMAIN, before="timeout 0.1 ")[0] == 124
        assert lab.frozen_domains() == {DOMAIN}

    def test_the_end_of_the_lab_ends_them(self, lab, guest):
        before = set(threading.enumerate())
        lab.domains.set_agent(DOMAIN, Agent(freeze_delay=math.inf))
        virsh(lab, "domfsfreeze", DOMAIN, before="timeout 0.1 ")
        waiting = set(threading.enumerate()) - before
        assert waiting
        lab.close()
        eventually(lambda: not any(thread.is_alive() for thread in waiting))


class TestDomains:
    def test_the_death_of_its_host(self, lab, guest):
        virsh(lab, "domfsfreeze", DOMAIN)
        lab.set_power("alice", False)
        assert lab.frozen_domains() == set()
        lab.set_power("alice", True)
        assert virsh(lab, "domstate", DOMAIN)[2].startswith("error: failed to get domain")

    def test_memory_moves_with_the_domain(self, lab, guest):
        guest.write_cached(0, b"cached")
        guest.freeze()
        lab.devices.allow_writers(KEY, {"alice", "bob"})
        with lab.open_disk("bob", NODE) as target:
            lab.domains.start("bob", DOMAIN, {0: target}, lab.domains.end("alice", DOMAIN))
            guest.close()
            assert lab.frozen_domains() == {DOMAIN}
            assert virsh(lab, "domfsthaw", DOMAIN, host="bob")[1] == "Thawed 1 filesystem(s)"
            target.write_cached(0, b"CACHED")
            memory = lab.domains.end("bob", DOMAIN)
        with lab.open_disk("bob", NODE) as restored:
            lab.domains.start("bob", DOMAIN, {0: restored}, memory)
            assert restored.read(0, 6) == b"CACHED"
            assert on_device(lab, 6) == b"cached"

    def test_a_shutdown_writes_back(self, lab, guest):
        guest.write_cached(0, b"cached")
        lab.domains.shut_down("alice", DOMAIN)
        assert on_device(lab, 6) == b"cached"
        guest.freeze()
        with pytest.raises(BlockingIOError):
            lab.domains.shut_down("alice", DOMAIN)
