# SPDX-License-Identifier: Apache-2.0
"""``premigrate``, ``postmigrate``, ``failmigrate``: a running VM changes its host, and takes its disks along."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from lab.cloud import Cloud
from lab.controller.windows import TWO_PRIMARIES
from lab.devices_protocol import DeviceBusy
from lab.one import Image, LcmState, VirtualMachine
from tests.actions.support import by_res, links, locks_left
from tests.actions.tm.journeys import (
    VOLATILE,
    Domain,
    arrived,
    assert_closed,
    clients,
    depart,
    directory,
    entries,
    impatient,
    live,
    migrating,
    moved,
    places,
    windows,
)
from tests.actions.tm.support import (
    CloudMaker,
    bare_image,
    clean,
    disk_bytes,
    hosts_without,
    link_of,
    on_nodes,
    remove,
    run,
)

REST_VERSIONS = ("1.25.0", "1.28.0", "1.29.1")


def worked(cloud: Cloud, vm: VirtualMachine, hook: str, *more: str) -> None:
    call = live(cloud, vm, hook, *more)
    assert (call.rc, call.stdout, call.stderr) == (0, "", "")


def persistent(cloud: Cloud, name: str = "data") -> Image:
    return bare_image(cloud, name, persistent=True)


def a_disk_at(cloud: Cloud, name: str) -> str:
    """A host with a replica."""
    return cloud.cluster.rd(name).diskful[0].node


def no_disk_at(cloud: Cloud, name: str) -> str:
    """A host that could have a replica and has none."""
    return hosts_without(cloud, name)[0]


def both(one: str, other: str) -> set[frozenset[str]]:
    return {frozenset((one, other))}


@pytest.mark.parametrize("rest_version", REST_VERSIONS)
def test_there_and_back(make_cloud: CloudMaker, rest_version: str) -> None:
    """Between nodes without a disk, from those to one with a disk, and back."""
    cloud = make_cloud(rest_version=rest_version)
    vm = arrived(cloud, persistent(cloud), VOLATILE, host="dave")
    names = ("data", f"OpenNebula-Volatile-vm{vm.id}-disk1")
    before = cloud.cluster.rd("data").props.copy(), on_nodes(cloud, "data")
    place = directory(cloud, vm, "dave")
    (place / "vm.xml").write_text("<VM/>")
    wanted = entries(place)
    with Domain(cloud, vm, "dave") as domain:
        for number, there in enumerate((no_disk_at(cloud, "data"), a_disk_at(cloud, "data"), "dave")):
            here = vm.host
            migrating(cloud, vm, there)
            with pytest.raises((OSError, DeviceBusy)):
                domain.start(there)
            worked(cloud, vm, "PRE")
            for name in names:
                # Where the definition had to allow it, it allows it to all nodes.
                assert frozenset((here, there)) in windows(cloud, name)
                if "disk" in (on_nodes(cloud, name)[here], on_nodes(cloud, name)[there]):
                    assert windows(cloud, name) == both(here, there)
            assert entries(directory(cloud, vm, there)) == wanted
            domain.write(here, b"%d before" % number)
            domain.start(there)
            assert domain.read(there, 8) == b"%d before" % number
            domain.stop(here)
            domain.write(there, b"%d after" % number)
            worked(cloud, vm, "POST")
            assert_closed(cloud, *names)
            assert places(cloud, vm) == [there]
            assert list(links(cloud)) == [there]
            for name in names:
                assert clients(cloud, name) == ([] if on_nodes(cloud, name)[there] == "disk" else [there])
    assert disk_bytes(cloud, vm, 7) == b"2 after"
    assert (cloud.cluster.rd("data").props, on_nodes(cloud, "data")) == before
    assert locks_left(cloud) == []


@pytest.mark.parametrize(
    ("rest_version", "opened"), [("1.25.0", False), ("1.28.0", True), ("1.29.1", False), ("1.29.1", True)]
)
def test_a_migration_that_failed(make_cloud: CloudMaker, rest_version: str, opened: bool) -> None:
    cloud = make_cloud(rest_version=rest_version)
    vm = arrived(cloud, persistent(cloud), VOLATILE, host="dave")
    names = ("data", f"OpenNebula-Volatile-vm{vm.id}-disk1")
    before = {name: (on_nodes(cloud, name), cloud.cluster.rd(name).props.copy()) for name in names}
    found = links(cloud)
    with Domain(cloud, vm, "dave") as domain:
        there = no_disk_at(cloud, "data")
        migrating(cloud, vm, there)
        worked(cloud, vm, "PRE")
        if opened:
            domain.start(there)
            domain.stop(there)
        for _ in range(2):
            worked(cloud, vm, "FAIL")
            assert_closed(cloud, *names)
            assert places(cloud, vm) == ["dave"]
            assert links(cloud) == found
            for name in names:
                assert (on_nodes(cloud, name), cloud.cluster.rd(name).props) == before[name]
            with pytest.raises((OSError, DeviceBusy)):
                cloud.hosts.open_disk(a_disk_at(cloud, "data"), by_res("data"))
        domain.write("dave", b"goes on")


@pytest.mark.parametrize("system_tm", ["ssh", "shared", "qcow2", "local"])
def test_only_the_disks_for_another_driver(cloud: Cloud, system_tm: str) -> None:
    """The directory is the other driver's; where it is one for all hosts, so are the links."""
    vm = arrived(cloud, persistent(cloud), VOLATILE)
    vm.disks[1]["TM_MAD"] = system_tm
    volatile = f"OpenNebula-Volatile-vm{vm.id}-disk1"
    (directory(cloud, vm, "alice") / "vm.xml").write_text("<VM/>")
    with Domain(cloud, vm, "alice"):
        migrating(cloud, vm, "dave")
        worked(cloud, vm, "PRE", system_tm)
        assert windows(cloud, "data") == both("alice", "dave")
        linked = {"disk.0": f"-> {by_res('data')}"} if system_tm in ("ssh", "local") else {}
        assert entries(directory(cloud, vm, "dave")) == linked
        assert (windows(cloud, volatile), clients(cloud, volatile)) == (set(), [])
        worked(cloud, vm, "FAIL", system_tm)
        assert_closed(cloud, "data")
        assert clients(cloud, "data") == []
        assert entries(directory(cloud, vm, "dave")) == linked
    worked(cloud, vm, "POST", system_tm)
    assert entries(directory(cloud, vm, "alice"))["vm.xml"] == "<VM/>"


def test_other_drivers_are_called_once(cloud: Cloud, recorder: Path) -> None:
    """With the system driver as a sixth argument, so that they do not call back."""
    vm = arrived(cloud, *(persistent(cloud, name) for name in ("one", "two", "three")))
    for disk in vm.disks[1:]:
        disk["TM_MAD"] = "other"
    migrating(cloud, vm, "dave")
    for hook in ("PRE", "POST", "PRE", "FAIL"):
        worked(cloud, vm, hook)
        said, document = (recorder / "calls").read_text().splitlines()
        (recorder / "calls").unlink()
        call = cloud.one.calls[-1]
        assert said.split() == [f"{hook.lower()}migrate", *call.argv, "linstor"]
        assert base64.b64decode(document) == base64.b64decode(call.stdin)
    worked(cloud, vm, "PRE", "ssh")
    worked(cloud, vm, "POST", "ssh")
    assert not (recorder / "calls").exists()


def test_another_driver_fails(cloud: Cloud, recorder: Path) -> None:
    vm = arrived(cloud, persistent(cloud), persistent(cloud, "theirs"))
    vm.disks[1]["TM_MAD"] = "other"
    before = on_nodes(cloud, "data"), links(cloud)
    (recorder / "fail").touch()
    migrating(cloud, vm, "dave")
    with Domain(cloud, vm, "alice"):
        call = live(cloud, vm, "PRE")
        assert call.rc == 1
        assert f"premigrate of driver other failed for VM {vm.id}; the other one" in call.user_error[:100]
        assert (on_nodes(cloud, "data"), links(cloud)) == before
        assert_closed(cloud, "data")
        assert places(cloud, vm) == ["alice"]


def test_a_driver_that_is_not_installed(cloud: Cloud) -> None:
    vm = arrived(cloud, persistent(cloud), persistent(cloud, "theirs"))
    vm.disks[1]["TM_MAD"] = "nobody"
    migrating(cloud, vm, "dave")
    call = live(cloud, vm, "PRE")
    assert call.rc == 1
    assert "premigrate of driver nobody failed" in call.user_error[:100]
    assert clients(cloud, "data") == []


def test_the_same_host(cloud: Cloud) -> None:
    """A live change of the system datastore is refused; other drivers allow it, and then the links are made anew."""
    vm = arrived(cloud, persistent(cloud))
    before = on_nodes(cloud, "data"), links(cloud)
    depart(cloud, vm, "alice", LcmState.MIGRATE, datastore=102)
    call = live(cloud, vm, "PRE")
    assert call.rc == 1
    assert f"VM {vm.id} runs: its system datastore cannot be changed" in call.user_error[:100]
    for hook in ("POST", "FAIL"):
        worked(cloud, vm, hook)
    for hook in ("PRE", "FAIL"):
        worked(cloud, vm, hook, "ssh")
    assert (on_nodes(cloud, "data"), links(cloud)) == before
    worked(cloud, vm, "POST", "ssh")
    assert on_nodes(cloud, "data") == before[0]
    assert links(cloud)["alice"][f"102/{vm.id}/disk.0"] == by_res("data")


def test_only_readers(cloud: Cloud) -> None:
    """Those never need two primaries."""
    image = bare_image(cloud, "fixed", persistent=True, PERSISTENT_TYPE="IMMUTABLE")
    vm = arrived(cloud, image, host="dave")
    there = no_disk_at(cloud, "fixed")
    with Domain(cloud, vm, "dave") as domain:
        migrating(cloud, vm, there)
        worked(cloud, vm, "PRE")
        assert_closed(cloud, "fixed")
        domain.move("dave", there)
        worked(cloud, vm, "POST")
    assert clients(cloud, "fixed") == [there]
    assert list(links(cloud)) == [there]


# A failmigrate that never came: OpenNebula's own drivers call none.
@pytest.mark.parametrize("rest_version", REST_VERSIONS)
@pytest.mark.parametrize("way", ["live", "cold", "stop", "mvds", "delete"])
def test_what_a_forgotten_migration_left(make_cloud: CloudMaker, rest_version: str, way: str) -> None:
    """The next action for the disk takes away the leftover client, and two nodes may not write any more."""
    cloud = make_cloud(rest_version=rest_version)
    # With an end that has a disk, LINSTOR's connection allows it; without, the definition.
    vm = arrived(cloud, persistent(cloud), persistent(cloud, "near"), host="dave", datastore=103)
    stale, third = no_disk_at(cloud, "data"), a_disk_at(cloud, "data")
    with Domain(cloud, vm, "dave") as domain:
        migrating(cloud, vm, stale)
        worked(cloud, vm, "PRE", "ssh")
        assert [clients(cloud, name) for name in ("data", "near")] == [sorted(("dave", stale))] * 2
        vm.history.pop()
        if way == "live":
            migrating(cloud, vm, third)
            worked(cloud, vm, "PRE", "ssh")
            assert windows(cloud, "data") == both("dave", third)
            assert clients(cloud, "data") == ["dave"]
            domain.move("dave", third)
            worked(cloud, vm, "POST", "ssh")
    if way == "cold":
        depart(cloud, vm, third, LcmState.PROLOG_MIGRATE_POWEROFF)
        moved(cloud, cloud.one.lines.migration(vm)[:2])
    elif way == "stop":
        vm.set_state(vm.state, LcmState.EPILOG_STOP)
        moved(cloud, cloud.one.lines.to_front_end(vm)[:2])
    elif way == "mvds":
        assert [remove(cloud, vm, number).stderr for number in (0, 1)] == ["", ""]
    elif way == "delete":
        assert [clean(cloud, vm, number).stderr for number in (0, 1)] == ["", ""]
    for name in ("data", "near"):
        assert_closed(cloud, name)
        expected = [third] if way in ("live", "cold") and on_nodes(cloud, name)[third] != "disk" else []
        assert clients(cloud, name) == expected
        assert len(on_nodes(cloud, name)) == 3 + len(expected) * (
            "tie-breaker" in on_nodes(cloud, name).values()
        )


@pytest.mark.parametrize("rest_version", ["1.28.0", "1.29.1"])
@pytest.mark.parametrize("hook", ["POST", "FAIL"])
def test_what_addon_linstor_left(make_cloud: CloudMaker, rest_version: str, hook: str) -> None:
    """It allows two primaries on the definition, and never forbids them again on other system datastores."""
    cloud = make_cloud(rest_version=rest_version)
    image = persistent(cloud)
    for here, there in ((a_disk_at(cloud, "data"), "dave"), ("dave", no_disk_at(cloud, "data"))):
        vm = arrived(cloud, image, host=here)
        cloud.cluster.definitions.modify("data", {"override_props": {TWO_PRIMARIES: "yes"}})
        with Domain(cloud, vm, here) as domain:
            migrating(cloud, vm, there)
            worked(cloud, vm, "PRE")
            if hook == "POST":
                domain.move(here, there)
            worked(cloud, vm, hook)
            assert_closed(cloud, "data")
        assert remove(cloud, vm).ok
        cloud.one.vm_recover(vm, "delete")


@pytest.mark.parametrize("rest_version", ["1.28.0", "1.29.1"])
def test_what_addon_linstor_left_goes_with_the_disk(make_cloud: CloudMaker, rest_version: str) -> None:
    cloud = make_cloud(rest_version=rest_version)
    vm = arrived(cloud, persistent(cloud))
    cloud.cluster.definitions.modify("data", {"override_props": {TWO_PRIMARIES: "yes"}})
    assert remove(cloud, vm).ok
    assert_closed(cloud, "data")


def test_the_source_does_not_let_go(cloud: Cloud, recorder: Path) -> None:
    """Disks that are still open there keep none of the others, nor those of another driver; the log names each."""
    impatient(cloud)
    vm = arrived(cloud, *(persistent(cloud, name) for name in ("held", "too", "free", "theirs")), host="dave")
    vm.disks[3]["TM_MAD"] = "other"
    there = no_disk_at(cloud, "free")
    migrating(cloud, vm, there)
    worked(cloud, vm, "PRE")
    (recorder / "calls").unlink()
    with cloud.hosts.open_disk("dave", by_res("held")), cloud.hosts.open_disk("dave", by_res("too")):
        call = live(cloud, vm, "POST")
        assert call.rc == 1
        assert "held is in use on dave" in call.user_error[:100]
        log = (cloud.one.tree.var / "linstor.log").read_text()
        for name in ("held", "too"):
            assert f"{name} is not taken from dave" in log
            assert clients(cloud, name) == sorted(("dave", there))
        assert clients(cloud, "free") == [there]
        assert (recorder / "calls").read_text().startswith("postmigrate ")
        # Whoever still writes there, no second one joins in.
        assert_closed(cloud, "held", "too", "free")
        # What is open is reached through the directory there, and that is how a rerun finds it.
        assert places(cloud, vm) == sorted(("dave", there))
    worked(cloud, vm, "POST")
    for name in ("held", "too"):
        assert_closed(cloud, name)
        assert clients(cloud, name) == [there]
    assert places(cloud, vm) == [there]


@pytest.mark.parametrize("rest_version", ["1.28.0", "1.29.1"])
def test_the_guest_runs_on_the_target_after_all(make_cloud: CloudMaker, rest_version: str) -> None:
    """The hypervisor was wrong about the failure: what the guest has there is not taken."""
    cloud = impatient(make_cloud(rest_version=rest_version))
    vm = arrived(cloud, persistent(cloud))
    migrating(cloud, vm, "dave")
    with Domain(cloud, vm, "alice") as domain:
        worked(cloud, vm, "PRE")
        domain.move("alice", "dave")
        before = on_nodes(cloud, "data"), links(cloud)
        call = live(cloud, vm, "FAIL")
        assert call.rc == 1
        assert "data is in use on dave" in call.user_error[:100]
        assert (on_nodes(cloud, "data"), links(cloud)) == before
        # oned takes the VM to be on its old host, where somebody may start it a second time.
        assert_closed(cloud, "data")
        with pytest.raises((OSError, DeviceBusy)):
            domain.start("alice")
        domain.write("dave", b"goes on")
    worked(cloud, vm, "FAIL")
    assert_closed(cloud, "data")
    assert link_of(cloud, vm) is None


def test_a_third_host_has_it_open(cloud: Cloud) -> None:
    impatient(cloud)
    vm = arrived(cloud, persistent(cloud, "one"), persistent(cloud), host="dave")
    before = on_nodes(cloud, "one"), on_nodes(cloud, "data"), links(cloud)
    third, there = a_disk_at(cloud, "data"), no_disk_at(cloud, "data")
    with cloud.hosts.open_disk(third, by_res("data")):
        migrating(cloud, vm, there)
        call = live(cloud, vm, "PRE")
        assert call.rc == 1
        assert f"data is in use on {third}" in call.user_error[:100]
        assert (on_nodes(cloud, "one"), on_nodes(cloud, "data"), links(cloud)) == before
        assert places(cloud, vm) == ["dave"]
        assert_closed(cloud, "one", "data")


def test_without_drbd(cloud: Cloud) -> None:
    cloud.cluster.groups.modify("one", {"select_filter": {"layer_stack": ["STORAGE"], "place_count": 1}})
    image = persistent(cloud)
    here = a_disk_at(cloud, "data")
    vm = arrived(cloud, image, host=here)
    migrating(cloud, vm, "dave")
    call = live(cloud, vm, "PRE")
    assert call.rc == 1
    assert "data has no DRBD: a running VM cannot take it to another host" in call.user_error[:100]
    assert places(cloud, vm) == [here]
    assert run(cloud, cloud.one.lines.remove(vm, vm.disk(0), here)).ok
