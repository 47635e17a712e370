# SPDX-License-Identifier: Apache-2.0
"""The stand-in calls drivers as a real oned 7.4.0 was seen to: same order, argv, XML, environment."""

from __future__ import annotations

import base64
import re
import xmlrpc.client
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from lab.one import OneError, VirtualMachine
from lab.one.captures import CapturedCall, Replayer, load
from lab.one.model import Datastore, ImageType
from lab.one.scripts import VMM_ENVIRONMENT

from .conftest import Bench

DATA = Path(__file__).resolve().parents[2] / "data" / "captures"
CAPTURED = load(DATA)
# Values that depend on the day, on chance or on what happened to earlier objects.
VARYING = re.compile(r"REQUEST_ID|UUID|LAST_POLL|AUTOMATIC_\w+|DATE|IMAGES|MONITORING|USER_TEMPLATE")
TIMES = re.compile(r"(PS|PE|RS|RE|ES|EE|S|E)TIME|REGTIME|MODTIME")

# Keeps what XML-RPC answers about the VM and the datastore in argv, then goes on with the driver. Plain bash
# because these tests start it a hundred times.
RECORDER = """#!/bin/bash
address=${ONE_XMLRPC#http://} address=${address%/RPC2} session=$(<"$ONE_AUTH") number=$(date +%s%N)
ask() {
    body="<?xml version='1.0'?><methodCall><methodName>one.$1.info</methodName><params>"
    body+="<param><value>$session</value></param><param><value><int>$2</int></value></param></params></methodCall>"
    exec 3<>"/dev/tcp/${address%:*}/${address#*:}"
    printf '%s\\r\\n' "POST /RPC2 HTTP/1.0" "Content-Type: text/xml" "Content-Length: ${#body}" "" >&3
    printf %s "$body" >&3
    cat <&3 >"$PLANS/$number.$1.answer"
}
ask vm "${*: -2:1}"
ask datastore "${*: -1}"
"""


def scenario(*names: str) -> list[CapturedCall]:
    """The driver calls of scenarios, given by the beginnings of their names; hypervisor calls left out."""
    return [
        call
        for name in names
        for call in CAPTURED
        if call.driver != "vmm" and (call.scenario.startswith(f"{name}-") or call.scenario == name)
    ]


def shape(xml: str, location: str = "/srv/one") -> list[str]:
    """A document as lines of path and text without what varies; times only say whether they are set."""
    lines: list[str] = []

    def walk(node: etree._Element, path: str) -> None:
        path = f"{path}/{node.tag}"
        if VARYING.fullmatch(node.tag):
            lines.append(path)
            return
        text = (node.text or "").replace(location, "/srv/one")
        if TIMES.fullmatch(node.tag):
            text = "set" if text != "0" else "0"
        lines.append(f"{path} {text}")
        for child in node:
            walk(child, path)

    walk(etree.fromstring(xml), "")
    return lines


def pick(xml: str) -> dict[str, Any]:
    """Of a VM document: state, disks, context and the newest history record."""
    vm = etree.fromstring(xml)
    record = vm.findall("HISTORY_RECORDS/HISTORY")[-1]
    return {
        "states": [vm.findtext(tag) for tag in ("STATE", "LCM_STATE", "PREV_STATE", "PREV_LCM_STATE")],
        "deploy": vm.findtext("DEPLOY_ID", "").rpartition("-")[0],
        "disks": [{one.tag: one.text for one in disk} for disk in vm.findall("TEMPLATE/DISK")],
        "context": {one.tag: one.text for one in vm.findall("TEMPLATE/CONTEXT/*")},
        "record": {tag: record.findtext(tag) for tag in ("HOSTNAME", "DS_ID", "TM_MAD", "VM_MAD", "ACTION")},
        "began": {
            tag: record.findtext(tag) != "0" for tag in ("PETIME", "RSTIME", "RETIME", "ESTIME", "EETIME")
        },
    }


def normal(argv: Iterable[str], location: str, vm: str | None) -> list[str]:
    words = [word.replace(location, "/srv/one") for word in argv]
    if vm is None:
        return words
    directory = re.compile(rf"(/datastores/\d+|/vms)/{vm}(?=/|$)")
    return ["VM" if word == vm else directory.sub(r"\1/VM", word) for word in words]


class Stage:
    """Plays scenarios on a bench that looks like the captured cloud."""

    def __init__(self, root: Path) -> None:
        self.bench = Bench(root)
        self.one = self.bench.one
        self.location = str(self.one.tree.location)
        for call in scenario("00-setup"):
            self._add_datastore(etree.fromstring(call.stdin).find("DATASTORE"))
        self._record_documents()

    def _add_datastore(self, xml: Any) -> None:
        number = int(xml.findtext("ID"))
        template = {one.tag: one.text for one in xml.find("TEMPLATE")}
        base = f"{self.one.tree.datastore_location}/{number}"
        self.one.inventory.datastores[number] = Datastore(number, xml.findtext("NAME"), template, base)

    def _record_documents(self) -> None:
        for script in (self.bench.drivers / "tm").iterdir():
            if script.name != "monitor":
                script.write_text(RECORDER + script.read_text())

    def create_images(self) -> None:
        """What the VMs of the captures use: plain, CDROM and persistent images with their ids."""
        for number in range(8):
            calls = [c for c in CAPTURED if c.name.startswith("datastore") and c.argv == (str(number),)]
            self.create(next(call for call in calls if call.action in ("cp", "mkfs", "clone")))

    def create(self, call: CapturedCall) -> None:
        """Create the image that a captured cp, mkfs or clone is about."""
        xml = etree.fromstring(call.stdin).find("IMAGE")
        for answer, code in (("stdout", call.rc == 0), ("stderr", call.rc != 0)):
            if code:
                (self.bench.plans / f"answer.{answer}").write_text(getattr(call, answer))
        self.bench.plan(
            f"datastore.{call.action}",
            f'cat "$PLANS/answer.stdout"; exit {call.rc}'
            if not call.rc
            else f'cat "$PLANS/answer.stderr" >&2; exit {call.rc}',
        )
        if call.action == "clone":
            self.one.image_clone(int(xml.findtext("CLONING_ID")), xml.findtext("NAME"))
            return
        self.one.image_create(
            xml.findtext("NAME"),
            path=xml.findtext("PATH") or None,
            size=None if call.action == "cp" else int(xml.findtext("SIZE")),
            fs=xml.findtext("FS"),
            type=ImageType(int(xml.findtext("TYPE"))),
            persistent=xml.findtext("PERSISTENT") == "1",
            **{one.tag: one.text for one in xml.find("TEMPLATE")},
        )

    def fail(self, *failures: tuple[str, str]) -> None:
        for action, text in failures:
            self.bench.plan(f"tm.{action}", f"echo '{text}' >&2; exit 1")

    def deploy(self, call: CapturedCall, host: str, datastore: int) -> VirtualMachine:
        """A VM with the disks of the captured document."""
        vm = etree.fromstring(call.documents["vm"])
        disks = [
            {one.tag: one.text for one in disk if _given_by_user(disk, one.tag)}
            for disk in vm.findall("TEMPLATE/DISK")
        ]
        context = {
            one.tag: one.text for one in vm.find("TEMPLATE/CONTEXT") if one.tag not in ("DISK_ID", "TARGET")
        }
        return self.one.vm_instantiate(
            disks, host, datastore=datastore, context=context, name=vm.findtext("NAME")
        )

    def documents(self) -> list[dict[str, str]]:
        """What XML-RPC answered during each transfer call so far."""

        def document(path: Path) -> str:
            return str(xmlrpc.client.loads(path.read_text().partition("\n\n")[2])[0][0][1])

        paths = sorted(self.bench.plans.glob("*.vm.answer"))
        return [
            {
                "vm": document(path),
                "datastore": document(path.with_suffix("").with_suffix(".datastore.answer")),
            }
            for path in paths
        ]

    def compare(self, captured: list[CapturedCall], since: int) -> None:
        """The calls made since then are the captured ones, in their order."""
        made = self.one.calls[since:]
        documents = self.documents()[-len(made) :]
        assert [call.name for call in made] == [call.name for call in captured]
        for call, wanted, answers in zip(made, captured, documents):
            vm = call.argv[-2]
            assert normal(call.argv, self.location, vm) == normal(wanted.argv, "/srv/one", wanted.argv[-2])
            assert pick(answers["vm"]) == pick(wanted.documents["vm"]), wanted.seq
            assert shape(answers["datastore"], self.location) == shape(wanted.documents["datastore"])
            assert (VMM_ENVIRONMENT.keys() <= call.env.keys()) == ("LIVE_DISK_SNAPSHOTS" in wanted.env)


def _given_by_user(disk: Any, tag: str) -> bool:
    if disk.find("IMAGE_ID") is None:
        return tag in ("TYPE", "SIZE", "FORMAT", "FS", "TARGET")
    return tag == "IMAGE_ID" or (tag == "SIZE" and disk.findtext("SIZE") != disk.findtext("ORIGINAL_SIZE"))


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
    assert vm.error.endswith(_shown("c10"))
    one.vm_attach(vm, 1)
    ready.fail(("delete", "delete failed: still open"))
    one.vm_detach(vm, 7)
    assert vm.error.endswith(_shown("c12"))
    one.vm_attach(vm, 4)
    one.vm_detach(vm, 8)
    one.vm_poweroff(vm)
    one.vm_attach(vm, 1)
    one.vm_detach(vm, 8)
    ready.compare(scenario("c09", "c10", "c11", "c12", "c13", "c13b", "c14", "c15"), since)


def _shown(name: str) -> str:
    return {
        "c10": ": ATTACHDISK: Could not clone: no space",
        "c12": ": DETACHDISK: delete failed: still open",
    }[name]


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


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode()
