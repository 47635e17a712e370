# SPDX-License-Identifier: Apache-2.0
"""Calls for disks that VMs have, and for images with snapshots, to be disturbed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Callable

from lab.cloud import Cloud
from lab.hosts import RUNNING
from lab.one import Call, Image, LcmState, VirtualMachine
from tests.actions.datastore.support import call as datastore_call
from tests.actions.support import by_res, properties
from tests.actions.tm.disks import placed, ready_image, save, snapshot
from tests.actions.tm.support import CONTENT, bare_volume
from tests.e2e.kills import digest
from tests.e2e.scenes import Scene, Scenes

TEXTS = (b"first.", b"second", b"third.")
"""What a disk held at its snapshots 0 and 1, and holds now, where it begins."""

DIGESTS = tuple(digest(text + CONTENT[len(text) :]) for text in TEXTS)


def with_past(cloud: Cloud, *, copies: bool) -> Image:
    """A persistent image with two snapshots, made without the driver; ``copies``: its storage has none of its own."""
    image = ready_image(cloud, persistent=True)
    name = image.source
    for number, text in enumerate(TEXTS):
        write(cloud, name, text)
        if number == len(TEXTS) - 1:
            break
        if copies:
            copy = bare_volume(cloud, f"{name}-snap{number}")
            write(cloud, copy, text + CONTENT[len(text) :])
            known = {**properties(cloud, name), "snapshot": f"{number} of 0", "complete": copy}
            cloud.cluster.rd(copy).props.update({f"Aux/one/{key}": value for key, value in known.items()})
        else:
            cloud.cluster.snapshots.create(name, {"name": f"OpenNebula-Snap-{number}"})
    if copies:
        cloud.cluster.rd(name).props["Aux/one/companions"] = "snap0 snap1"
    return image


def write(cloud: Cloud, name: str, data: bytes) -> None:
    with cloud.hosts.open_disk(cloud.cluster.rd(name).diskful[0].node, by_res(name)) as disk:
        disk.write(0, data)


def revert(cloud: Cloud, number: int, *, copies: bool = False, host: str = "dave") -> Scenes:
    """A disk of a VM that is powered off."""
    while True:
        vm = placed(cloud, with_past(cloud, copies=copies), host)
        yield of_disk(cloud, vm, partial(snapshot, cloud, vm, "REVERT", number))


def of_image(cloud: Cloud, action: str, number: int, *, copies: bool = False) -> Scenes:
    """``snap_revert`` or ``snap_flatten`` of an image that nobody has."""
    while True:
        image = with_past(cloud, copies=copies)
        image.target_snapshot = number
        yield Scene(lambda image=image: datastore_call(cloud, action, image), f"Image-{image.id}", cloud)


def create_live(cloud: Cloud) -> Scenes:
    while True:
        with running(cloud) as vm:
            yield of_disk(cloud, vm, partial(snapshot, cloud, vm, "CREATE", 0, live=True))


def delete(cloud: Cloud) -> Scenes:
    """A snapshot that is a copy."""
    while True:
        vm = placed(cloud, with_past(cloud, copies=True), host="dave")
        yield of_disk(cloud, vm, partial(snapshot, cloud, vm, "DELETE", 0))


def save_as(cloud: Cloud, number: int) -> Scenes:
    """Of the present, or of a snapshot."""
    while True:
        vm = placed(cloud, with_past(cloud, copies=False), host="dave")
        yield _saved(cloud, vm, number)


def save_as_live(cloud: Cloud) -> Scenes:
    while True:
        with running(cloud) as vm:
            yield _saved(cloud, vm, -1, LcmState.HOTPLUG_SAVEAS)


def _saved(cloud: Cloud, vm: VirtualMachine, number: int, state: LcmState | None = None) -> Scene:
    target = f"saved-Image-{vm.disk(0)['IMAGE_ID']}"
    return of_disk(cloud, vm, partial(save, cloud, vm, target, number, state=state))


def export(cloud: Cloud) -> Scenes:
    while True:
        image = ready_image(cloud)
        yield Scene(lambda image=image: datastore_call(cloud, "export", image), f"Image-{image.id}", cloud)


@contextmanager
def running(cloud: Cloud) -> Iterator[VirtualMachine]:
    """A VM whose guest has an agent, writes, and has something in memory that belongs on its disk."""
    vm = placed(cloud, host="dave")
    vm.deploy_id = f"one-{vm.id}"
    with cloud.hosts.open_disk("dave", os.path.normpath(cloud.one.disk_path(vm, 0))) as guest:
        guest.write_cached(0, TEXTS[0])
        cloud.hosts.domains.start("dave", vm.deploy_id, {0: guest})
        cloud.hosts.domains.set_agent(vm.deploy_id, RUNNING)
        yield vm
        cloud.hosts.domains.end("dave", vm.deploy_id)


def of_disk(cloud: Cloud, vm: VirtualMachine, act: Callable[[], Call]) -> Scene:
    return Scene(act, f"Image-{vm.disk(0)['IMAGE_ID']}", cloud, vm.id)
