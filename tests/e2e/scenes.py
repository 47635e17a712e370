# SPDX-License-Identifier: Apache-2.0
"""Calls of the driver to be disturbed, and the state of the cloud as far as they concern it."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator
from functools import partial
from typing import Callable, NamedTuple
from urllib.parse import quote

from lab.cloud import Cloud
from lab.images import write_raw
from lab.one import Call, Image, LcmState, VirtualMachine, VmState
from tests.actions.datastore.support import call as datastore_call
from tests.actions.datastore.support import image_of
from tests.actions.support import by_res, links, locks_left
from tests.actions.tm.journeys import Domain, depart, directory, live, migrating
from tests.actions.tm.support import (
    EXTENTS,
    SIZE,
    bare_image,
    clean,
    create,
    created,
    new_image,
    on_nodes,
    remove,
    run,
    waiting,
)


class Scene(NamedTuple):
    """A call that was not made yet. ``token`` stands in the names of all that it may make or change."""

    run: Callable[[], Call]
    token: str
    cloud: Cloud
    vm: int | None = None
    """The VM whose directories belong to the state."""

    def state(self) -> dict[str, object]:
        """Volumes with owner, size, places, snapshots, two writers and content, links and files; the token replaced, so
        that scenes compare."""
        pattern = re.compile(rf"(?<![0-9A-Za-z]){self.token}(?![0-9])")
        volumes = {
            pattern.sub("X", rd.name): {
                "owner": {
                    name: pattern.sub("X", text) for name, text in rd.props.items() if name not in _NUMBERED
                },
                "group": rd.group,
                **_places(on_nodes(self.cloud, rd.name)),
                "flags": sorted(rd.flags),
                "snapshots": {
                    pattern.sub("X", one.name): _content(self.cloud, rd.snapshot_key(0, one.name))
                    for one in rd.snapshots.values()
                },
                "windows": len(rd.windows),
                "connections": sorted(sorted(props) for props in rd.connections.values()),
                "size": [volume.usable_kib for volume in rd.volumes.values()],
                "content": _content(self.cloud, rd.content_key(0)),
            }
            for rd in self.cloud.cluster.rds.values()
            if pattern.search(rd.name)
        }
        linked = {
            f"{host}:{pattern.sub('X', text)}"
            for host, texts in links(self.cloud).items()
            for text in texts.values()
            if pattern.search(text)
        }
        return {
            "volumes": volumes,
            "links": linked,
            "files": {} if self.vm is None else _directories(self.cloud, self.vm),
            "locks": locks_left(self.cloud),
        }


_NUMBERED = ("Aux/one/image", "Aux/one/vm", "Aux/one/flattened")


def _places(roles: dict[str, str]) -> dict[str, object]:
    """Which nodes have the disks and which one breaks the tie is LINSTOR's choice."""
    return {
        "disks": list(roles.values()).count("disk"),
        "clients": [node for node, role in roles.items() if role == "diskless"],
        "quorum": len(roles) >= 3,
    }


def _directories(cloud: Cloud, vm: int) -> dict[str, list[str]]:
    """By host and datastore: what the VM's directory there holds."""
    datastores = cloud.one.tree.datastores
    found = {}
    for host in (*cloud.hosts.names, cloud.hosts.front_end):
        for place in sorted(cloud.hosts.path(host, datastores).glob(f"*/{vm}")):
            found[f"{host}:{place.parent.name}"] = sorted(one.name for one in place.iterdir())
    return found


def _content(cloud: Cloud, key: str) -> str:
    """A digest, or the kind of what is different each time that it is made."""
    data = (cloud.hosts.layout.contents / quote(key, safe="@")).read_bytes()
    if data[1080:1082] == b"\x53\xef":
        return "ext4"
    if data[4086:4096] == b"SWAPSPACE2":
        return "swap"
    return hashlib.sha256(data).hexdigest()


Scenes = Iterator[Scene]


def clone(cloud: Cloud, host: str) -> Scenes:
    image = new_image(cloud)
    while True:
        vm = waiting(cloud, {"IMAGE_ID": image.id, "SIZE": 20}, host=host)
        yield Scene(lambda vm=vm: create(cloud, vm), f"vm{vm.id}", cloud)


def ln(cloud: Cloud, host: str) -> Scenes:
    for number in itertools.count():
        vm = waiting(cloud, bare_image(cloud, f"data-t{number}", persistent=True), host=host)
        yield Scene(lambda vm=vm: create(cloud, vm), f"t{number}", cloud)


def volatile(cloud: Cloud, host: str, **attributes: str) -> Scenes:
    while True:
        vm = waiting(cloud, {"TYPE": "fs", "SIZE": 8, **attributes}, host=host)
        yield Scene(lambda vm=vm: create(cloud, vm), f"vm{vm.id}", cloud)


def mvds(cloud: Cloud, host: str) -> Scenes:
    for number in itertools.count():
        vm = waiting(cloud, bare_image(cloud, f"data-t{number}", persistent=True), host=host)
        created(cloud, vm)
        yield Scene(lambda vm=vm: remove(cloud, vm), f"t{number}", cloud)


def delete_clone(cloud: Cloud, host: str) -> Scenes:
    image = new_image(cloud)
    while True:
        vm = waiting(cloud, image, host=host)
        created(cloud, vm)
        yield Scene(lambda vm=vm: clean(cloud, vm), f"vm{vm.id}", cloud)


def cp(cloud: Cloud, host: str) -> Scenes:
    path = cloud.images_dir / "image.img"
    write_raw(path, SIZE, EXTENTS)
    while True:
        yield _of_image(cloud, "cp", image_of(cloud, path, SIZE >> 20))


def mkfs(cloud: Cloud, host: str) -> Scenes:
    while True:
        yield _of_image(cloud, "mkfs", image_of(cloud, size_mb=8, fs="ext4"))


def clone_image(cloud: Cloud, host: str, datastore: int = 100) -> Scenes:
    original = new_image(cloud)
    while True:
        image = image_of(cloud, original.source, SIZE >> 20, datastore=datastore)
        image.cloning_id = original.id
        yield _of_image(cloud, "clone", image)


def rm(cloud: Cloud, host: str) -> Scenes:
    while True:
        yield _of_image(cloud, "rm", new_image(cloud))


def mv(cloud: Cloud, host: str, target: str, state: LcmState = LcmState.PROLOG_MIGRATE) -> Scenes:
    """A disk on its way to another host."""
    while True:
        vm = _at_rest(cloud, host)
        depart(cloud, vm, target, state)
        yield _of_vm(cloud, vm, partial(run, cloud, cloud.one.lines.migration(vm)[0]))


def mv_to_front_end(cloud: Cloud, host: str, line: int) -> Scenes:
    """The disk of a VM that is being stopped (line 0), or its directory (line 1)."""
    while True:
        vm = _at_rest(cloud, host)
        vm.set_state(VmState.ACTIVE, LcmState.EPILOG_STOP)
        yield _of_vm(cloud, vm, partial(run, cloud, cloud.one.lines.to_front_end(vm)[line]))


def mv_from_front_end(cloud: Cloud, host: str) -> Scenes:
    """The disk of a VM that was stopped."""
    while True:
        vm = _at_rest(cloud, cloud.hosts.front_end)
        depart(cloud, vm, host, LcmState.PROLOG_RESUME)
        yield _of_vm(cloud, vm, partial(run, cloud, cloud.one.lines.from_front_end(vm)[0]))


def premigrate(cloud: Cloud, host: str, target: str) -> Scenes:
    while True:
        vm = _at_rest(cloud, host)
        with Domain(cloud, vm, host):
            migrating(cloud, vm, target)
            yield _of_vm(cloud, vm, partial(live, cloud, vm, "PRE"))


def postmigrate(cloud: Cloud, host: str, target: str) -> Scenes:
    while True:
        vm = _at_rest(cloud, host)
        with Domain(cloud, vm, host) as domain:
            migrating(cloud, vm, target)
            assert live(cloud, vm, "PRE").ok
            domain.move(host, target)
            yield _of_vm(cloud, vm, partial(live, cloud, vm, "POST"))


def failmigrate(cloud: Cloud, host: str, target: str) -> Scenes:
    while True:
        vm = _at_rest(cloud, host)
        with Domain(cloud, vm, host):
            migrating(cloud, vm, target)
            assert live(cloud, vm, "PRE").ok
            yield _of_vm(cloud, vm, partial(live, cloud, vm, "FAIL"))


def _at_rest(cloud: Cloud, host: str) -> VirtualMachine:
    """A VM with a persistent disk at a host, or stopped with its directory on the front-end."""
    number = len(cloud.one.inventory.vms)
    name = f"data-vm{number}"
    stopped = host == cloud.hosts.front_end
    vm = waiting(cloud, bare_image(cloud, name, persistent=True), host="alice" if stopped else host)
    place = directory(cloud, vm, host)
    place.mkdir(parents=True)
    (place / "checkpoint").write_bytes(b"memory")
    if not stopped:
        cloud.cluster.availability.make(name, host, {})
        (place / "disk.0").symlink_to(by_res(name))
    return vm


def _of_vm(cloud: Cloud, vm: VirtualMachine, act: Callable[[], Call]) -> Scene:
    return Scene(act, f"vm{vm.id}", cloud, vm.id)


def _of_image(cloud: Cloud, action: str, image: Image) -> Scene:
    return Scene(lambda: datastore_call(cloud, action, image), f"Image-{image.id}", cloud)
