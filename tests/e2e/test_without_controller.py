# SPDX-License-Identifier: Apache-2.0
"""No controller answers: what needs none goes on, the rest says so and is done later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from lab.cloud import Cloud
from lab.controller import StandbyServer
from lab.one import Call, LcmState, VmState
from tests.actions.support import links, locks_left, resources
from tests.actions.tm.support import CloudMaker, bare_image, on_nodes
from tests.e2e.lives import Life
from tests.e2e.outages import (
    assert_reads,
    clients,
    failed,
    impatient,
    running,
    two_primaries,
    write,
)


@contextmanager
def controllers_away(cloud: Cloud, *modes: str) -> Iterator[list[str]]:
    """No controller serves; the addresses that the datastores have meanwhile.

    The real one stands still, so that nothing can come of a request that finds its way there.
    """
    templates = [store.template for store in cloud.one.inventory.datastores.values()]
    before = [template.get("LINSTOR_CONTROLLERS") for template in templates]
    with ExitStack() as stack:
        standbys = [stack.enter_context(StandbyServer(mode)) for mode in modes]
        addresses = [f"127.0.0.1:{one.port}" for one in standbys]
        for template, known in zip(templates, before):
            if known is not None:
                template["LINSTOR_CONTROLLERS"] = ",".join(addresses)
        asked = len(cloud.controller.requests)
        yield addresses
        assert cloud.controller.requests[asked:] == []
    for template, known in zip(templates, before):
        if known is not None:
            template["LINSTOR_CONTROLLERS"] = known


def log_of(cloud: Cloud) -> str:
    return (cloud.one.tree.var / "linstor.log").read_text()


def assert_names_all(call: Call, addresses: list[str]) -> None:
    """The error says that no controller serves, and why none of the list does."""
    assert call.rc == 1
    assert call.user_error.startswith("No LINSTOR controller serves: "), call.user_error
    for address in addresses:
        assert address in call.user_error


def ready(cloud: Cloud, *kinds: str) -> Life:
    """A running VM with these disks, or an image, on a host without storage."""
    life = Life(cloud, kinds=kinds or ("persistent",))
    impatient(cloud, LINSTOR_CONNECT_TIMEOUT="1")
    life.write()
    return life


@pytest.mark.parametrize("mode", ["refuse", "unavailable", "silent"])
def test_a_vm_rests_and_goes_on(cloud: Cloud, mode: str) -> None:
    life = ready(cloud)
    vm = life.vm
    with controllers_away(cloud, mode):
        cloud.one.vm_poweroff(vm)
        cloud.one.vm_resume(vm)
        running(vm, "dave")
        cloud.one.vm_suspend(vm)
        cloud.one.vm_resume(vm)
        running(vm, "dave")
        life.check_contents("resumed")
    assert failed(cloud) == []


def test_one_of_three_serves(cloud: Cloud) -> None:
    life = ready(cloud, "copy", "cdrom")
    vm = life.vm
    with StandbyServer("refuse") as dead, StandbyServer("unavailable") as passive:
        for store in cloud.one.inventory.datastores.values():
            if "LINSTOR_CONTROLLERS" in store.template:
                store.template["LINSTOR_CONTROLLERS"] = (
                    f"127.0.0.1:{dead.port},127.0.0.1:{passive.port},{cloud.controllers}"
                )
        cloud.one.vm_migrate(vm, "bob", live=True)
        cloud.one.vm_stop(vm)
        cloud.one.vm_deploy(vm, "dave")
        running(vm, "dave")
        life.check_contents("moved")
        cloud.one.vm_terminate(vm)
    assert failed(cloud) == []
    assert clients(cloud) == {}


def test_a_volume_that_is_on_the_host_already(cloud: Cloud) -> None:
    impatient(cloud)
    image = bare_image(cloud, "data", persistent=True)
    host = next(node for node, role in on_nodes(cloud, image.source).items() if role == "disk")
    with controllers_away(cloud, "refuse", "refuse") as addresses:
        vm = cloud.one.vm_instantiate([image], host=host)
        running(vm, host)
        write(cloud, vm, "before")
        log = log_of(cloud)
        assert f"is on {host} already and is used without asking LINSTOR" in log
        assert addresses[1] in log
    cloud.one.vm_terminate(vm)
    assert failed(cloud) == []


def test_a_volume_that_is_not(cloud: Cloud) -> None:
    impatient(cloud)
    image = bare_image(cloud, "data", persistent=True)
    with controllers_away(cloud, "refuse", "unavailable", "refuse") as addresses:
        vm = cloud.one.vm_instantiate([image], host="dave")
        assert vm.lcm_state is LcmState.PROLOG_FAILURE
        assert_names_all(failed(cloud)[0], addresses)
        assert links(cloud) == {}
        assert locks_left(cloud) == []
    cloud.one.vm_recover(vm, "retry")
    running(vm, "dave")


@pytest.mark.parametrize("mode", ["refuse", "silent"])
def test_a_cold_migration_between_hosts_with_replicas(make_cloud: CloudMaker, mode: str) -> None:
    """The new host has the devices; what has to leave the old one stays for the next action."""
    cloud = make_cloud()
    impatient(cloud, LINSTOR_CONNECT_TIMEOUT="1")
    image = bare_image(cloud, "data", persistent=True)
    first, second = (node for node, role in on_nodes(cloud, image.source).items() if role == "disk")
    vm = running(cloud.one.vm_instantiate([image], host=first))
    write(cloud, vm, "before")
    with controllers_away(cloud, mode):
        cloud.one.vm_migrate(vm, second)
        assert_reads(cloud, running(vm, second), "before")
        assert failed(cloud) == []
        assert "is used without asking LINSTOR" in log_of(cloud)
        assert first not in links(cloud)


def test_a_stopped_vm_where_its_volumes_are(cloud: Cloud) -> None:
    impatient(cloud)
    image = bare_image(cloud, "data", persistent=True)
    first, second = (node for node, role in on_nodes(cloud, image.source).items() if role == "disk")
    vm = running(cloud.one.vm_instantiate([image], host=first))
    write(cloud, vm, "before")
    cloud.one.vm_stop(vm)
    with controllers_away(cloud, "refuse"):
        cloud.one.vm_deploy(vm, second)
        assert_reads(cloud, running(vm, second), "before")
        assert "is used without asking LINSTOR" in log_of(cloud)
    assert failed(cloud) == []


def test_a_cold_migration_from_a_client(cloud: Cloud) -> None:
    """dave keeps his clients until LINSTOR can be told."""
    impatient(cloud)
    image = bare_image(cloud, "data", persistent=True)
    target = next(node for node, role in on_nodes(cloud, image.source).items() if role == "disk")
    vm = running(cloud.one.vm_instantiate([image], host="dave"))
    write(cloud, vm, "before")
    with controllers_away(cloud, "refuse"):
        cloud.one.vm_migrate(vm, target)
        assert_reads(cloud, running(vm, target), "before")
        assert "may be left on other hosts" in log_of(cloud)
        assert clients(cloud) == {"dave": [image.source]}
    cloud.one.vm_terminate(vm)
    assert clients(cloud) == {}
    assert failed(cloud) == []


def test_a_prolog_that_is_tried_again(cloud: Cloud) -> None:
    """The copy and its link are there: OpenNebula only did not hear of it."""
    impatient(cloud)
    image = bare_image(cloud, "os")
    vm = running(cloud.one.vm_instantiate([image], host="dave"))
    write(cloud, vm, "before")
    line = cloud.one.lines.create(vm, vm.disk(0))
    with controllers_away(cloud, "refuse"):
        call = cloud.call("tm/clone", *line.split()[2:])
        assert (call.rc, call.stderr) == (0, "")
        assert "is used as it is" in log_of(cloud)
        other = cloud.call("tm/clone", *line.replace("dave:", "bob:").split()[2:])
        assert other.user_error.startswith("No LINSTOR controller serves")
    assert_reads(cloud, vm, "before")


@pytest.mark.parametrize("mode", ["refuse", "unavailable"])
def test_a_live_migration(cloud: Cloud, mode: str) -> None:
    life = ready(cloud)
    vm = life.vm
    with controllers_away(cloud, mode) as addresses:
        before = (clients(cloud), links(cloud))
        cloud.one.vm_migrate(vm, "bob", live=True)
        running(vm, "dave")
        assert_names_all(failed(cloud)[0], addresses)
        assert clients(cloud) == before[0]
        assert {call.name for call in failed(cloud)} <= {"tm/linstor/premigrate", "tm/linstor/failmigrate"}
    cloud.one.vm_migrate(vm, "bob", live=True)
    running(vm, "bob")
    life.check_contents("moved")
    assert two_primaries(cloud) == []
    assert "dave" not in clients(cloud) | links(cloud)


def test_it_goes_away_while_a_vm_migrates(cloud: Cloud) -> None:
    """Nobody hears that postmigrate failed: what it did not do is done by the next action."""
    life = ready(cloud, "copy", "cdrom")
    vm = life.vm
    templates = [store.template for store in cloud.one.inventory.datastores.values()]
    with StandbyServer("refuse") as dead:

        def go_away(call: Call) -> None:
            if call.name == "tm/linstor/premigrate":
                for template in templates:
                    if "LINSTOR_CONTROLLERS" in template:
                        template["LINSTOR_CONTROLLERS"] = f"127.0.0.1:{dead.port}"

        cloud.one.executor.watchers.append(go_away)
        cloud.one.vm_migrate(vm, "bob", live=True)
        cloud.one.executor.watchers.remove(go_away)
    running(vm, "bob")
    assert [call.name for call in failed(cloud)] == ["tm/linstor/postmigrate"]
    assert two_primaries(cloud) != []
    for template in templates:
        if "LINSTOR_CONTROLLERS" in template:
            template["LINSTOR_CONTROLLERS"] = cloud.controllers
    cloud.one.vm_migrate(vm, "alice", live=True)
    running(vm, "alice")
    life.check_contents("moved")
    assert two_primaries(cloud) == []
    assert clients(cloud).keys() <= {"alice"}
    cloud.one.vm_terminate(vm)
    assert clients(cloud) == {}
    assert len(failed(cloud)) == 1


def test_a_stop(cloud: Cloud) -> None:
    life = ready(cloud)
    vm = life.vm
    with controllers_away(cloud, "refuse") as addresses:
        cloud.one.vm_stop(vm)
        assert vm.lcm_state is LcmState.EPILOG_STOP_FAILURE
        assert_names_all(failed(cloud)[0], addresses)
    cloud.one.vm_recover(vm, "retry")
    assert vm.state is VmState.STOPPED
    assert clients(cloud) == {}
    cloud.one.vm_deploy(vm, "bob")
    running(vm, "bob")
    life.check_contents("moved")


def test_a_terminate(cloud: Cloud) -> None:
    life = ready(cloud, "copy", "cdrom")
    vm = life.vm
    with controllers_away(cloud, "refuse") as addresses:
        cloud.one.vm_terminate(vm)
        assert vm.lcm_state is LcmState.EPILOG_FAILURE
        assert_names_all(failed(cloud)[0], addresses)
    cloud.one.vm_recover(vm, "retry")
    assert vm.state is VmState.DONE
    assert resources(cloud) == life.stored
    assert clients(cloud) == links(cloud) == {}


def test_a_detachment(cloud: Cloud) -> None:
    life = ready(cloud)
    vm = life.vm
    with controllers_away(cloud, "refuse") as addresses:
        cloud.one.vm_detach(vm, 0)
        assert_names_all(failed(cloud)[0], addresses)
    cloud.one.vm_detach(vm, 0)
    image = life.images["persistent"]
    assert image.source not in clients(cloud).get("dave", [])
