# SPDX-License-Identifier: Apache-2.0
"""A disk that could not be made leaves nothing behind: oned sends no clean-up after a failed attach."""

from __future__ import annotations

import itertools
import re
from functools import partial
from typing import Callable

import pytest

from lab.cloud import Cloud
from lab.controller.faults import HANG, HANG_AFTER, LOSE_REPLY, UNAVAILABLE, Fault
from lab.hosts.faults import SshFault
from tests.actions.support import assert_nothing_left, links, locks_left, resources
from tests.actions.tm.support import CloudMaker, bare_image, create, new_image, on_nodes, waiting
from tests.e2e import scenes
from tests.e2e.scenes import Scenes

ACTIONS: dict[str, tuple[Callable[..., Scenes], str]] = {
    "clone-1.29.1": (scenes.clone, "1.29.1"),
    "ln": (scenes.ln, "1.28.0"),
    "mkimage": (partial(scenes.volatile, FS="ext4"), "1.28.0"),
    "premigrate-1.29": (partial(scenes.premigrate, target="bob"), "1.29.1"),
}


def impatient(cloud: Cloud) -> Cloud:
    """All waiting is short."""
    for store in cloud.one.inventory.datastores.values():
        store.template.update(
            LINSTOR_CONNECT_TIMEOUT="1",
            LINSTOR_TIMEOUT="1",
            LINSTOR_SSH_TIMEOUT="1",
            LINSTOR_ATTACH_TIMEOUT="1",
        )
    return cloud


def _lose(cloud: Cloud, nth: int) -> Fault:
    return cloud.controller.faults.add(LOSE_REPLY, nth=nth)


def _proxy(cloud: Cloud, nth: int) -> Fault:
    return cloud.controller.faults.add(UNAVAILABLE, nth=nth)


def _lose_ssh_before(cloud: Cloud, nth: int) -> None:
    cloud.hosts.faults.add(SshFault("lose", "before", nth))


def _lose_ssh_after(cloud: Cloud, nth: int) -> None:
    cloud.hosts.faults.add(SshFault("lose", "after", nth))


@pytest.mark.parametrize("name", ACTIONS)
def test_all_or_nothing(make_cloud: CloudMaker, name: str) -> None:
    """Whatever fails: either the disk is there in spite of it, or nothing is and the message says why."""
    make, rest_version = ACTIONS[name]
    cloud = impatient(make_cloud(rest_version=rest_version))
    prepared = make(cloud, "dave")
    undisturbed = next(prepared)
    assert undisturbed.run().ok
    wanted = undisturbed.state()
    failed = 0
    for plan in (_lose, _proxy, _lose_ssh_before, _lose_ssh_after):
        for nth in itertools.count(1):
            scene = next(prepared)
            before = scene.state()
            fault = plan(cloud, nth)
            call = scene.run()
            struck = fault.hits > 0 if fault else not cloud.hosts.faults.pending
            cloud.controller.faults.clear()
            cloud.hosts.faults.clear()
            at = f"{plan.__name__} {nth}: {call.stderr}"
            if call.ok:
                assert scene.state() == wanted, at
            else:
                failed += 1
                cause = "LINSTOR controller" if fault else "host (dave|bob) cannot be reached"
                assert re.search(cause, call.user_error[:60]), at
                assert scene.state() == before, at
            if not struck:
                break
    assert failed >= 3


@pytest.mark.parametrize(
    ("action", "method", "path", "recovers"),
    [
        (HANG, "POST", "/clone$", False),
        (HANG_AFTER, "POST", "/clone$", True),
        (HANG_AFTER, "POST", "/make-available$", False),
        (HANG, "GET", "/clone/", True),
    ],
)
def test_a_controller_that_falls_silent(
    cloud: Cloud, action: str, method: str, path: str, recovers: bool
) -> None:
    impatient(cloud)
    scene = next(scenes.clone(cloud, "dave"))
    before = scene.state()
    cloud.controller.faults.add(action, method=method, path=path)
    call = scene.run()
    assert call.ok == recovers
    if recovers:
        assert scene.state()["links"]
    else:
        assert "LINSTOR controller" in call.user_error[:60]
        assert "silent for 1 s" in call.user_error[:100]
        assert scene.state() == before


# What the user sees of a VM: 100 characters, the beginning of which is oned's own.
def test_a_host_that_is_no_linstor_node(cloud: Cloud) -> None:
    hosts = cloud.root / "hosts"
    (hosts / "erin").symlink_to(hosts / "dave")
    cloud.one.inventory.add_host("erin")
    vm = cloud.one.vm_instantiate([new_image(cloud)], host="erin")
    assert vm.lcm_state.name == "PROLOG_FAILURE"
    assert "host erin is not a LINSTOR node" in vm.error
    assert_nothing_left(cloud, "OpenNebula-Image-0")
    assert cloud.one.vm_recover(vm, "delete").state.name == "DONE"


def test_a_host_that_does_not_answer(cloud: Cloud) -> None:
    impatient(cloud)
    image = new_image(cloud)
    cloud.hosts.set_link("dave", "down")
    vm = cloud.one.vm_instantiate([image], host="dave")
    assert vm.lcm_state.name == "PROLOG_FAILURE"
    assert "host dave cannot be reached by ssh" in vm.error
    assert_nothing_left(cloud, image.source)


def test_a_node_that_is_offline(cloud: Cloud) -> None:
    image = new_image(cloud)
    cloud.cluster.set_online("dave", False)
    vm = cloud.one.vm_instantiate([image], host="dave")
    assert vm.lcm_state.name == "PROLOG_FAILURE"
    assert "LINSTOR node dave is OFFLINE" in vm.error
    assert_nothing_left(cloud, image.source)
    cloud.cluster.set_online("dave", True)
    assert cloud.one.vm_recover(vm, "retry").lcm_state.name == "RUNNING"


def test_a_controller_that_is_not_there(cloud: Cloud) -> None:
    image = new_image(cloud)
    cloud.controller.stop()
    vm = cloud.one.vm_instantiate([image])
    assert vm.lcm_state.name == "PROLOG_FAILURE"
    assert "No LINSTOR controller serves" in vm.error
    cloud.controller.start()
    assert cloud.one.vm_recover(vm, "retry").lcm_state.name == "RUNNING"


def test_a_failed_attach_to_a_running_vm(cloud: Cloud) -> None:
    image = new_image(cloud)
    data = bare_image(cloud, "data", persistent=True)
    vm = cloud.one.vm_instantiate([image], host="dave")
    before = resources(cloud), links(cloud), sorted(on_nodes(cloud, "data").values())
    cloud.hosts.faults.add(SshFault("lose", "after"))
    cloud.one.vm_attach(vm, data)
    assert "ATTACHDISK: host dave cannot be reached by ssh" in vm.error
    assert [disk["DISK_ID"] for disk in vm.disks] == ["0"]
    assert (resources(cloud), links(cloud), sorted(on_nodes(cloud, "data").values())) == before
    assert locks_left(cloud) == []
    cloud.one.vm_attach(vm, data)
    assert len(vm.disks) == 2


# A host whose name in OpenNebula is not that of its LINSTOR node.
@pytest.mark.parametrize("rest_version", ["1.28.0", "1.29.1"])
@pytest.mark.parametrize("name", ["dave.example.org", "hv-7", "10.9.8.7"])
def test_other_names_of_a_node(make_cloud: CloudMaker, name: str, rest_version: str) -> None:
    """With a domain, by its kernel's name, by an address: OpenNebula and ssh know only that one."""
    cloud = make_cloud(rest_version=rest_version)
    if name == "hv-7":
        cloud.cluster.node("dave").props["NodeUname"] = name
    if name == "10.9.8.7":
        cloud.cluster.node("dave").address = name
    hosts = cloud.root / "hosts"
    (hosts / name).symlink_to(hosts / "dave")
    cloud.one.inventory.add_host(name)
    image = bare_image(cloud, "data", persistent=True)
    before = on_nodes(cloud, "data")
    vm = waiting(cloud, image, host=name)
    lines = cloud.one.lines
    for _ in range(2):
        call = create(cloud, vm)
        assert (call.rc, call.stderr) == (0, "")
        assert on_nodes(cloud, "data")["dave"] == "diskless"
        assert links(cloud) == {"dave": {f"101/{vm.id}/disk.0": "/dev/drbd/by-res/data/0"}}
    call = cloud.call("tm/mvds", *lines.remove(vm, vm.disk(0)).split()[2:])
    assert (call.rc, call.stderr) == (0, "")
    assert on_nodes(cloud, "data") == before
    assert links(cloud) == {}
