# SPDX-License-Identifier: Apache-2.0
"""A bench that looks like the captured cloud, and the comparison of its calls with captured ones."""

from __future__ import annotations

import base64
import re
import shutil
import xmlrpc.client
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lxml import etree

from lab.one import Call, Image, ImageState, VirtualMachine
from lab.one.captures import CapturedCall, load
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
        "snapshots": [shape(etree.tostring(one, encoding="unicode")) for one in vm.findall("SNAPSHOTS")],
        "context": {one.tag: one.text for one in vm.findall("TEMPLATE/CONTEXT/*")},
        "record": {tag: record.findtext(tag) for tag in ("HOSTNAME", "DS_ID", "TM_MAD", "VM_MAD", "ACTION")},
        "began": {
            tag: record.findtext(tag) != "0" for tag in ("PETIME", "RSTIME", "RETIME", "ESTIME", "EETIME")
        },
    }


def stdin_shape(text: str, encoded: bool = True) -> Any:
    """Of a VM on standard input: what `pick` takes, and its number of history records."""
    if not text:
        return None
    xml = base64.b64decode(text).decode() if encoded else text
    assert ("<USER_TEMPLATE/>" in xml) == ("</USER_TEMPLATE>" not in xml)
    return pick(xml), xml.count("<HISTORY>")


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
        for call in scenario("00-setup", "v2-00"):
            if call.action == "monitor":
                self._add_datastore(etree.fromstring(call.stdin).find("DATASTORE"))
        self._record_documents()

    def adopt_images(self, *setup: str) -> None:
        """The images of captured scenarios, without a call."""
        for call in scenario(*setup):
            if call.action in ("cp", "mkfs"):
                xml = etree.fromstring(call.stdin).find("IMAGE")
                number = int(call.argv[0])
                image = Image(
                    number,
                    xml.findtext("NAME"),
                    ImageType(int(xml.findtext("TYPE"))),
                    int(xml.findtext("DATASTORE_ID")),
                    int(xml.findtext("SIZE")),
                    persistent=xml.findtext("PERSISTENT") == "1",
                    format="raw",
                    source=f"OpenNebula-Image-{number}",
                    state=ImageState.READY,
                    template={one.tag: one.text for one in xml.find("TEMPLATE")},
                )
                self.one.inventory.images[number] = image

    def record_ssh(self) -> None:
        """Recorders for OpenNebula's ssh driver and for the suffixed actions of ours, as in the capture."""
        scripts = self.bench.drivers / "tm"
        for script in list(scripts.iterdir()):
            shutil.copy(script, script.with_name(f"{script.name}.ssh"))
        own = self.one.tree.remotes / "tm" / "ssh"
        shutil.rmtree(own)
        own.symlink_to(scripts)

    def fail_at(self, action: str, ending: str, text: str) -> None:
        """Let each call of a transfer action with such an argument fail, until `work_again`."""
        script = f'case " $* " in *"{ending} "*) echo "{text}" >&2; exit 1 ;; esac'
        self.bench.plan(f"tm.{action}", script, once=False)

    def work_again(self, action: str) -> None:
        (self.bench.plans / f"tm.{action}").unlink()

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
            one.tag: one.text
            for one in vm.findall("TEMPLATE/CONTEXT/*")
            if one.tag not in ("DISK_ID", "TARGET")
        }
        return self.one.vm_instantiate(
            disks, host, datastore=datastore, context=context or False, name=vm.findtext("NAME")
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

    def compare_arguments(self, captured: list[CapturedCall], since: int) -> None:
        """The calls made since then are the captured ones, in their order."""
        made = self.one.calls[since:]
        assert [call.name for call in made] == [call.name for call in captured]
        for call, wanted in zip(made, captured):
            its_vm = None if wanted.driver == "datastore" else wanted.argv[-2]
            our_vm = None if its_vm is None else call.argv[-2]
            expected = normal(wanted.argv, "/srv/one", its_vm)
            assert normal(call.argv, self.location, our_vm) == expected, wanted.seq

    def compare_image_call(self, call: Call, wanted: CapturedCall) -> None:
        assert (call.name, call.argv) == (wanted.name, wanted.argv)
        xml = base64.b64decode(call.stdin).decode()
        assert shape(xml, self.location) == shape(wanted.stdin), wanted.seq

    def compare(self, captured: list[CapturedCall], since: int) -> None:
        """The calls made since then are the captured ones, and oned shows what it showed then."""
        made = self.one.calls[since:]
        assert [call.name for call in made] == [call.name for call in captured]
        documents = iter(self.documents()[-sum(call.driver == "tm" for call in captured) :])
        for call, wanted in zip(made, captured):
            if wanted.driver == "datastore":
                self.compare_image_call(call, wanted)
                continue
            vm, answers = call.argv[-2], next(documents)
            assert normal(call.argv, self.location, vm) == normal(wanted.argv, "/srv/one", wanted.argv[-2])
            assert pick(answers["vm"]) == pick(wanted.documents["vm"]), wanted.seq
            assert shape(answers["datastore"], self.location) == shape(wanted.documents["datastore"])
            assert (VMM_ENVIRONMENT.keys() <= call.env.keys()) == ("LIVE_DISK_SNAPSHOTS" in wanted.env)
            assert stdin_shape(call.stdin) == stdin_shape(wanted.stdin, encoded=False), wanted.seq


def _given_by_user(disk: Any, tag: str) -> bool:
    if disk.find("IMAGE_ID") is None:
        return tag in ("TYPE", "SIZE", "FORMAT", "FS", "TARGET")
    return tag == "IMAGE_ID" or (tag == "SIZE" and disk.findtext("SIZE") != disk.findtext("ORIGINAL_SIZE"))
