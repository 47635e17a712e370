# SPDX-License-Identifier: Apache-2.0
"""The cloud as a whole: the parts know each other, and nothing is left when it stops."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree

from lab.cloud import HOSTS, Cloud
from lab.one import LcmState, VmState
from lab.one.captures import load

CHECKOUT = Path(__file__).resolve().parents[3]
ACTIONS = {"datastore": ("cp", "rm", "stat"), "tm": ("clone", "ln", "mvds", "delete", "context")}

CLONE = """#!/bin/bash
host=${2%%:*} path=${2#*:} name=${1#*:}
ssh "$host" bash -s <<EOF
mkdir -p "$(dirname "$path")" && ln -sfn "/dev/drbd/by-res/$name/0" "$path"
EOF
"""
DELETE = """#!/bin/bash
ssh "${1%%:*}" "rm -rf '${1#*:}'"
"""


CONTEXT = """#!/bin/bash
place=${@: -3:1}
ssh "${place%%:*}" "mkdir -p \\$(dirname '${place#*:}'); truncate -s 65536 '${place#*:}'"
"""
SCRIPTS = {"clone": CLONE, "ln": CLONE, "mvds": DELETE, "delete": DELETE, "context": CONTEXT}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud whose scripted drivers only link volumes that the controller has made already."""
    root = tmp_path_factory.mktemp("cloud")
    for kind, actions in ACTIONS.items():
        for action in actions:
            script = root / "drivers" / kind / action
            script.parent.mkdir(parents=True, exist_ok=True)
            script.write_text(SCRIPTS.get(action, "#!/bin/sh\n"))
            script.chmod(0o755)
    with Cloud(root, drivers=root / "drivers") as made:
        yield made


def volume(cloud: Cloud, name: str, *nodes: str) -> None:
    """A deployed resource of 8 MiB that is available on the nodes."""
    post(cloud, "resource-groups/one/spawn", resource_definition_name=name, volume_sizes=[8192])
    for node in nodes:
        post(cloud, f"resource-definitions/{name}/resources/{node}/make-available", diskful=False)


def post(cloud: Cloud, path: str, **body: object) -> None:
    request = urllib.request.Request(
        f"{cloud.controller.url}/v1/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request).close()


def test_drivers_find_the_controller(cloud: Cloud) -> None:
    for number, group in ((100, "one"), (101, "one"), (102, "one-three"), (104, "one-three")):
        template = cloud.one.inventory.datastores[number].template
        assert template["LINSTOR_RESOURCE_GROUP"] == group
        address = f"http://{template['LINSTOR_CONTROLLERS']}/v1/controller/version"
        assert "rest_api_version" in json.load(urllib.request.urlopen(address))
    assert cloud.one.inventory.datastores[103].tm_mad == "ssh"


def test_driver_environment(cloud: Cloud) -> None:
    script = cloud.root / "drivers" / "datastore" / "stat"
    script.write_text(
        "#!/usr/bin/env python3\nimport linstor, os, sys\n"
        'print(os.getcwd(), os.environ["ONE_LOCATION"], sys.prefix, sys.argv[1:], sys.stdin.read())\n'
    )
    call = cloud.call("datastore/stat", 7, stdin="text")
    location = cloud.one.tree.location
    assert call.stdout == f"{location}/var {location} {sys.prefix} ['7'] text\n"
    assert call.name == "datastore/linstor/stat"


def test_commands_of_the_lab_come_first(cloud: Cloud) -> None:
    path = cloud.env()["PATH"]
    assert shutil.which("ssh", path=path) == str(cloud.hosts.bin_dir / "ssh")
    assert shutil.which("onevm", path=path) == str(cloud.one.tree.bin / "onevm")
    for host in HOSTS:
        done = subprocess.run(
            ["ssh", host, "echo $LAB_HOST"], env=cloud.env(), capture_output=True, text=True
        )
        assert done.stdout == f"{host}\n"


def test_guest_content_survives_a_move_to_another_host(cloud: Cloud) -> None:
    volume(cloud, "data", "alice", "bob")
    image = cloud.one.image_create("data", size=8, source="data", persistent=True)
    vm = cloud.one.vm_instantiate([image], host="alice")
    assert (vm.lcm_state, vm.error) == (LcmState.RUNNING, "")
    cloud.one.hypervisor.guest(vm.id, 0).write(4096, b"written by alice")
    link = cloud.hosts.path("alice", cloud.one.disk_path(vm, 0).replace("//", "/"))
    assert link.is_symlink()
    assert (link.parent / "vm.xml").exists()
    cloud.one.vm_terminate(vm, hard=True)
    assert vm.state is VmState.DONE
    assert not link.parent.exists()
    second = cloud.one.vm_instantiate([image], host="bob")
    assert cloud.one.hypervisor.guest(second.id, 0).read(4096, 16) == b"written by alice"
    cloud.one.vm_terminate(second, hard=True)


def test_two_hosts_share_a_cdrom(cloud: Cloud) -> None:
    volume(cloud, "cd", "alice", "bob")
    image = cloud.one.image_create("cd", size=8, source="cd", type="CDROM")
    vms = [cloud.one.vm_instantiate([image], host=host) for host in ("alice", "bob")]
    assert [(vm.lcm_state, vm.error) for vm in vms] == [(LcmState.RUNNING, "")] * 2
    with pytest.raises(OSError, match="Bad file descriptor"):
        cloud.one.hypervisor.guest(vms[0].id, 0).write(0, b"x")
    for vm in vms:
        cloud.one.vm_terminate(vm, hard=True)


def test_a_volume_that_is_not_there_is_a_boot_failure(cloud: Cloud) -> None:
    image = cloud.one.image_create("missing", size=8, source="missing", persistent=True)
    vm = cloud.one.vm_instantiate([image], host="alice")
    assert vm.lcm_state is LcmState.BOOT_FAILURE
    assert ": DEPLOY: Could not open" in vm.error
    volume(cloud, "missing", "alice")
    assert cloud.one.vm_recover(vm, "retry").lcm_state is LcmState.RUNNING
    cloud.one.vm_terminate(vm, hard=True)


def test_a_host_without_power_can_not_boot(cloud: Cloud) -> None:
    cloud.hosts.set_power("charlie", False)
    vm = cloud.one.vm_instantiate([], host="charlie", context=False)
    cloud.hosts.set_power("charlie", True)
    assert vm.lcm_state is LcmState.BOOT_FAILURE
    assert "on charlie" in vm.error
    assert cloud.one.vm_recover(vm, "retry").lcm_state is LcmState.RUNNING
    cloud.one.vm_recover(vm, "delete")


def test_context_of_the_ssh_driver_reaches_the_host(cloud: Cloud) -> None:
    volume(cloud, "mixed", "alice")
    image = cloud.one.image_create("mixed", size=8, source="mixed", persistent=True)
    vm = cloud.one.vm_instantiate([image], host="alice", datastore=103, context={"HELLO": "it's me"})
    assert (vm.lcm_state, vm.error) == (LcmState.RUNNING, "")
    iso = cloud.hosts.path("alice", f"{cloud.one.tree.datastores}/103/{vm.id}/disk.1")
    assert b"HELLO='it'\\''s me'" in iso.read_bytes()
    cloud.one.vm_terminate(vm, hard=True)
    assert not iso.parent.exists()


def test_replayed_captures_name_the_lab(cloud: Cloud) -> None:
    captured = next(call for call in load(CHECKOUT / "tests/data/captures") if call.action == "cp")
    script = cloud.root / "drivers" / "datastore" / "cp"
    script.write_text("#!/bin/sh\nbase64 -d\n")
    xml = etree.fromstring(cloud.replay(captured).stdout)
    assert xml.findtext("IMAGE/PATH") == str(cloud.images_dir / "os.img")
    assert xml.findtext("DATASTORE/TEMPLATE/LINSTOR_CONTROLLERS") == cloud.controllers
    assert xml.findtext("DATASTORE/TEMPLATE/BRIDGE_LIST") == "alice bob"


def test_stopped_cloud_leaves_nothing() -> None:
    cloud = Cloud()
    with cloud:
        root = cloud.root
        url = cloud.controller.url
    assert not root.exists()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{url}/v1/controller/version")
    mounts = Path("/proc/self/mountinfo").read_text()
    assert str(root) not in mounts


def test_lab_command_introduces_itself_and_ends_on_interrupt() -> None:
    command = [sys.executable, "-m", "lab"]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    with subprocess.Popen(
        command, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("Press Ctrl-C"):
                break
        text = "".join(lines)
        address = re.search(r"curl -s (\S+/controller/version)", text)
        assert address is not None
        assert "rest_api_version" in json.load(urllib.request.urlopen(address[1]))
        root = re.search(r"State +(\S+)", text)
        assert root is not None
        assert Path(root[1]).is_dir()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert not Path(root[1]).exists()
    assert re.search(r"remotes/tm/linstor/clone frontend:OpenNebula-Image-0 alice:\S+/disk.0 0 100", text)
    assert re.search(r"remotes/datastore/linstor/cp 0 < \S+", text)
