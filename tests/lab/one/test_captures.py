# SPDX-License-Identifier: Apache-2.0
"""The stand-in calls drivers as a real oned 7.4.0 was seen to: same order, argv, XML, environment."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree

from lab.one import OneError
from lab.one.captures import Replayer

from .conftest import Bench
from .stage import Stage, scenario, shape


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.one.close()


@pytest.fixture
def ready(stage: Stage) -> Stage:
    """A stage with images and monitored datastores."""
    for number in (100, 101, 102):
        stage.one.ds_monitor(number, vm_disks=True if number > 100 else None)
    stage.create_images()
    return stage


def test_image_calls(stage: Stage) -> None:
    for call in scenario("00-setup"):
        stage.one.ds_monitor(int(call.argv[0]), vm_disks=None if call.driver == "datastore" else True)
    calls = scenario(*(f"a{number:02}" for number in range(1, 14)))
    for call in calls:
        if call.action == "stat":
            continue
        if call.action != "rm":
            stage.create(call)
        else:
            if call.rc:
                stage.bench.plan("datastore.rm", f"exit {call.rc}")
            stage.one.image_delete(int(call.argv[0]))
    made = stage.one.calls[3:]
    assert [(call.name, call.argv) for call in made] == [(call.name, call.argv) for call in calls]
    for call, wanted in zip(made, calls):
        assert shape(_decoded(call.stdin), stage.location) == shape(wanted.stdin), wanted.seq


def test_monitor_calls(stage: Stage) -> None:
    wanted = scenario("00-setup")
    made = [
        stage.one.ds_monitor(int(call.argv[0]), vm_disks=None if call.driver == "datastore" else True)
        for call in wanted
    ]
    for call, capture in zip(made, wanted):
        assert (call.name, call.argv) == (capture.name, capture.argv)
        assert shape(_decoded(call.stdin), stage.location) == shape(capture.stdin)
        assert set(capture.env) <= call.env.keys()


def test_instantiate(ready: Stage) -> None:
    calls = scenario("b01")
    since = len(ready.one.calls)
    ready.deploy(calls[0], "host0", 101)
    ready.compare(calls, since)
    first = ready.documents()[0]["vm"]
    assert shape(first, ready.location) == shape(calls[0].documents["vm"])


def test_poweroff_and_resume(ready: Stage) -> None:
    calls = scenario("b02", "b03")
    vm = ready.deploy(scenario("b01")[0], "host0", 101)
    since = len(ready.one.calls)
    ready.one.vm_poweroff(vm)
    ready.one.vm_resume(vm)
    ready.compare(calls, since)


def test_attach_and_detach(ready: Stage) -> None:
    one = ready.one
    vm = ready.deploy(scenario("b01")[0], "host1", 102)
    since = len(one.calls)
    one.vm_attach(vm, 1)
    one.vm_detach(vm, 7)
    one.vm_attach(vm, 7)
    one.vm_detach(vm, 7)
    one.vm_attach(vm, {"TYPE": "fs", "SIZE": 50, "FORMAT": "raw", "FS": "xfs"})
    one.vm_detach(vm, 7)
    one.vm_attach(vm, {"TYPE": "swap", "SIZE": 50})
    one.vm_detach(vm, 7)
    one.vm_attach(vm, {"IMAGE_ID": 1, "SIZE": 3000})
    one.vm_detach(vm, 7)
    names = ("c01", "c02", "c03", "c04", "c05", "c06", "c07", "c07b", "c08", "c08b")
    captured = scenario(*names)
    size = etree.fromstring(captured[8].documents["vm"]).findall("TEMPLATE/DISK/SIZE")[-1].text
    assert size == "3000"
    ready.compare(captured, since)


def test_failing_attach_and_detach(ready: Stage) -> None:
    one = ready.one
    vm = ready.deploy(scenario("b01")[0], "host1", 102)
    since = len(one.calls)
    ready.bench.hosts.down.add("host1")
    one.vm_attach(vm, 1)
    ready.bench.hosts.down.clear()
    ready.fail(("clone", "Could not clone: no space"))
    one.vm_attach(vm, 1)
    assert vm.error.endswith(": ATTACHDISK: Could not clone: no space")
    one.vm_attach(vm, 1)
    ready.fail(("delete", "delete failed: still open"))
    one.vm_detach(vm, 7)
    assert vm.error.endswith(": DETACHDISK: delete failed: still open")
    one.vm_attach(vm, 4)
    one.vm_detach(vm, 8)
    one.vm_poweroff(vm)
    one.vm_attach(vm, 1)
    one.vm_detach(vm, 8)
    ready.compare(scenario("c09", "c10", "c11", "c12", "c13", "c13b", "c14", "c15"), since)


def test_terminate_hard(ready: Stage) -> None:
    calls = scenario("i02")
    since = len(ready.one.calls)
    vm = ready.deploy(calls[0], "host0", 101)
    ready.one.vm_terminate(vm, hard=True)
    ready.compare(calls, since)


def test_failed_prolog_and_retry(ready: Stage) -> None:
    calls = scenario("p02", "p02b")
    since = len(ready.one.calls)
    # The CDROM is the second disk that ln is called for.
    ready.bench.plan("tm.ln", 'case $1 in *Image-4) echo "ln of cdrom failed" >&2; exit 1 ;; esac')
    ready.bench.plan(
        "tm.ln", 'mv "$PLANS/tm.ln.next" "$PLANS/tm.ln.once"; mkdir -p "$(dirname "${2#*:}")"; : > "${2#*:}"'
    )
    (ready.bench.plans / "tm.ln.next").write_text('echo "ln of cdrom failed" >&2; exit 1')
    vm = ready.deploy(calls[0], "host0", 101)
    assert vm.error.endswith(": Error executing image transfer script: ln of cdrom failed")
    ready.one.vm_recover(vm, "retry")
    ready.compare(calls, since)


def test_recreate_of_a_running_vm(ready: Stage) -> None:
    calls = scenario("h02", "h03")
    since = len(ready.one.calls)
    vm = ready.deploy(calls[0], "host0", 101)
    ready.one.vm_recover(vm, "recreate")
    ready.one.vm_deploy(vm, "host2", 102)
    ready.compare(calls, since)


def test_recreate_and_delete_after_failed_prologs(ready: Stage) -> None:
    calls = scenario("h05", "h05b", "h06", "h06b")[5:]
    assert calls[0].scenario == "h05-prolog-ln-fails-then-recreate:go"
    since = len(ready.one.calls)
    ready.fail(("ln", "ln failed"))
    vm = ready.deploy(calls[0], "host0", 101)
    ready.one.vm_recover(vm, "recreate")
    ready.fail(("mkimage", "mkimage failed"))
    ready.one.vm_deploy(vm, "host0", 101)
    ready.one.vm_recover(vm, "delete")
    ready.compare(calls, since)


def test_delete_of_a_running_vm(ready: Stage) -> None:
    calls = scenario("h13")
    vm = ready.deploy(calls[0], "host0", 101)
    since = len(ready.one.calls)
    ready.one.vm_recover(vm, "delete")
    ready.compare(calls, since)


def test_refusals_read_like_captured_ones(stage: Stage) -> None:
    call = scenario("a14")[0]
    (stage.bench.plans / "answer").write_text(call.stderr)
    stage.bench.plan("datastore.stat", f'cat "$PLANS/answer" >&2; exit {call.rc}')
    with pytest.raises(OneError) as refused:
        stage.one.image_create("x", path="x")
    assert (
        str(refused.value)
        == "[one.image.allocate] Cannot parse image SIZE: Cannot determine Image SIZE for x"
    )


def test_a_replayed_call_meets_the_lab(bench: Bench) -> None:
    """Names, paths and attributes are the lab's; XML-RPC answers with the captured documents meanwhile."""
    location = str(bench.one.tree.location)
    replayer = Replayer(
        bench.one,
        {"host0": "alice", "host1": "bob"},
        {"/srv/images": "/lab/images"},
        {"LINSTOR_CONTROLLERS": "127.0.0.1:3370"},
    )
    bench.plan("tm.clone", 'onevm show -x "$3"; onedatastore show -x "$4"')
    made = replayer.replay(scenario("b01")[0])
    assert made.argv == (
        f"{bench.one.front_end}:OpenNebula-Image-0",
        f"alice:{location}/var//datastores/101/0/disk.0",
        "0",
        "100",
    )
    assert "<NAME>vm full</NAME>" in made.stdout
    assert "<HOSTNAME>alice</HOSTNAME>" in made.stdout
    assert "127.0.0.1:3370" in made.stdout
    assert "/srv/" not in made.stdout
    assert not bench.one.xmlrpc.answers
    copied = replayer.replay(scenario("a01")[1])
    xml = etree.fromstring(_decoded(copied.stdin))
    assert xml.findtext("IMAGE/PATH") == "/lab/images/os.img"
    assert xml.findtext("DATASTORE/TEMPLATE/SAFE_DIRS") == "/lab/images"
    live = replayer.replay(scenario("c01")[0])
    assert "LIVE_DISK_SNAPSHOTS" in live.env


def test_replayed_migrations(bench: Bench) -> None:
    """Hosts without a path, the VM on standard input, actions with the suffix of another driver."""
    replayer = Replayer(bench.one, {"host0": "alice", "host1": "bob", "host2": "charlie"}, {}, {})
    location = str(bench.one.tree.location)
    made = replayer.replay(scenario("b12")[0])
    assert made.argv == ("charlie", "alice", f"{location}/var//datastores/102/0", "0", "102")
    vm = etree.fromstring(_decoded(made.stdin))
    assert [one.text for one in vm.findall("HISTORY_RECORDS/HISTORY/HOSTNAME")] == ["alice"]
    assert "LIVE_DISK_SNAPSHOTS" in made.env
    captured = next(call for call in scenario("v2-ssh-08") if call.action == "mv.ssh")
    moved = replayer.replay(captured)
    assert moved.name == "tm/linstor/mv"
    assert moved.argv[0] == f"bob:{location}/var//datastores/103/35/disk.0"
    assert moved.argv[1].startswith("charlie:")


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode()
