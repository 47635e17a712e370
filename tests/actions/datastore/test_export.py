# SPDX-License-Identifier: Apache-2.0
"""``export``: a file with an image, for a marketplace, and nothing else of it that stays."""

from __future__ import annotations

import base64
import hashlib
import os
import shlex
import stat
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from lab.cloud import Cloud
from lab.controller.faults import CALL_AFTER
from lab.hosts.faults import SshFault
from lab.images import write_qcow2
from lab.one import AppState, Call, Image
from tests.actions.support import assert_nothing_left, by_res, content, locks_left, properties, resources
from tests.actions.tm.datastores import strike
from tests.actions.tm.disks import (
    COPIES,
    done,
    family,
    placed,
    points,
    ready_image,
    refused,
    set_attributes,
    snapshot,
)
from tests.actions.tm.journeys import clients
from tests.actions.tm.support import CONTENT, SIZE, CloudMaker, bare_image

from .support import MIB

APP = 4


@pytest.fixture
def market_cloud(make_cloud: CloudMaker) -> CloudMaker:
    """As ``make_cloud``; files are exported to a directory that each host has for itself."""

    def make(**options: object) -> Cloud:
        made = make_cloud(**options)
        set_attributes(made, STAGING_DIR=f"{made.one.tree.datastores}/staging")
        return made

    return make


@pytest.fixture
def cloud(market_cloud: CloudMaker) -> Cloud:
    return market_cloud()


def export(cloud: Cloud, image: Image, app: int = APP) -> Call:
    encoded = base64.b64encode(cloud.one.image_document(image).encode()).decode()
    if cloud.one.version.datastore_xml_on_stdin:
        return cloud.call("datastore/export", app, stdin=encoded)
    return cloud.call("datastore/export", encoded, app)


def exported(cloud: Cloud, image: Image, app: int = APP) -> dict[str, str]:
    call = export(cloud, image, app)
    assert (call.rc, call.stderr) == (0, "")
    root = ElementTree.fromstring(call.stdout)
    assert root.tag == "IMPORT_INFO"
    return {one.tag: one.text or "" for one in root}


def place(cloud: Cloud, answer: dict[str, str]) -> tuple[str, Path]:
    """The host on which the file is, and where."""
    scheme, _, rest = answer["IMPORT_SOURCE"].partition("://")
    host, _, path = rest.partition(":")
    assert scheme == "ssh"
    return host, cloud.hosts.path(host, path)


def left(cloud: Cloud) -> list[str]:
    """What is in the directories for exported files, on all hosts."""
    directory = cloud.one.inventory.datastores[100].template["STAGING_DIR"]
    return sorted(
        f"{host}:{path.name}"
        for host in cloud.hosts.names
        for path in cloud.hosts.path(host, directory).glob("*")
    )


@pytest.mark.parametrize(
    ("options", "form", "version"),
    [
        ({}, "raw", "7.4.0"),
        ({}, "qcow2", "6.6.0"),
        ({"provider": "FILE"}, "qcow2", "7.4.0"),
        (COPIES, "raw", "7.4.0"),
    ],
)
def test_a_file_for_the_market(
    market_cloud: CloudMaker, tmp_path: Path, options: dict[str, object], form: str, version: str
) -> None:
    cloud = market_cloud(**{**options, "sync_seconds": 0.0}, one_version=version)
    set_attributes(cloud, LINSTOR_EXPORT_FORMAT=form)
    image = ready_image(cloud)
    before = properties(cloud, image.source)
    answer = exported(cloud, image)
    host, path = place(cloud, answer)
    assert hashlib.md5(path.read_bytes()).hexdigest() == answer["MD5"]
    flat = tmp_path / "flat"
    subprocess.run(["qemu-img", "convert", "-f", form, "-O", "raw", path, flat], check=True)
    data = flat.read_bytes()
    assert data[:SIZE] == CONTENT
    assert data[SIZE:].strip(b"\0") == b""
    assert (answer["FORMAT"], answer["DISPOSE"]) == (form, "YES")
    assert int(answer["SIZE"]) == -(-len(data) // MIB)
    # Nobody else on the host may read it.
    assert stat.S_IMODE(path.stat().st_mode & path.parent.stat().st_mode) & 0o077 == 0
    assert host in ("alice", "bob", "charlie")
    assert properties(cloud, image.source) == before
    assert resources(cloud) == {image.source}
    assert clients(cloud, image.source) == []
    assert cloud.cluster.rd(image.source).snapshots == {}
    assert locks_left(cloud) == []
    # The market's driver splits it on blanks and quotes nothing.
    words = answer["DISPOSE_CMD"].split()
    assert shlex.split(answer["DISPOSE_CMD"]) == words
    subprocess.run(words, env=cloud.env(), stdin=subprocess.DEVNULL, check=True)
    assert left(cloud) == []


def test_a_market_imports_it(cloud: Cloud) -> None:
    set_attributes(cloud, LINSTOR_EXPORT_FORMAT="raw")
    image = ready_image(cloud)
    app = cloud.one.marketapp_create(image.id)
    assert (app.state, app.error) == (AppState.READY, "")
    assert cloud.one.market.path(app).read_bytes()[:SIZE] == CONTENT
    assert left(cloud) == []
    assert_nothing_left(cloud, image.source)


def test_an_image_that_is_used(cloud: Cloud) -> None:
    """Its VM goes on; what it writes later is not in the file, and its snapshots stay."""
    vm = placed(cloud, host="dave")
    (image,) = cloud.one.inventory.images.values()
    set_attributes(cloud, LINSTOR_EXPORT_FORMAT="raw")
    done(snapshot(cloud, vm, "CREATE"))
    with cloud.hosts.open_disk("dave", by_res(image.source)) as guest:
        guest.write(0, b"before")
        answer = exported(cloud, image)
        guest.write(0, b"after!")
    _, path = place(cloud, answer)
    assert path.read_bytes()[:6] == b"before"
    assert content(cloud, image.source, 6) == b"after!"
    assert clients(cloud, image.source) == ["dave"]
    assert points(cloud, image.source) == [0]


def test_an_image_with_a_qcow2_header_on_its_device(cloud: Cloud, tmp_path: Path) -> None:
    path = tmp_path / "image.qcow2"
    write_qcow2(path, 6 * MIB, {MIB: b"in the qcow2"})
    image = bare_image(cloud, "legacy", format="qcow2")
    image.format = "qcow2"
    with cloud.hosts.open_disk(cloud.cluster.rd("legacy").diskful[0].node, by_res("legacy")) as disk:
        disk.write(0, path.read_bytes())
    set_attributes(cloud, LINSTOR_EXPORT_FORMAT="raw")
    answer = exported(cloud, image)
    assert answer["SIZE"] == "6"
    data = place(cloud, answer)[1].read_bytes()
    assert (len(data), data[MIB : MIB + 12]) == (6 * MIB, b"in the qcow2")


def test_a_name_that_leaves_no_room_and_a_bridge(cloud: Cloud) -> None:
    image = bare_image(cloud, "n" * 48)
    set_attributes(cloud, LINSTOR_EXPORT_FORMAT="raw", BRIDGE_LIST="dave")
    assert place(cloud, exported(cloud, image))[0] == "dave"
    assert_nothing_left(cloud, image.source)


@pytest.mark.parametrize(
    "fault",
    [SshFault("lose"), SshFault("kill_driver"), SshFault("kill_driver", "after"), None],
)
def test_what_fails_leaves_nothing(cloud: Cloud, fault: SshFault | None) -> None:
    """After a driver that was killed the next run or the image's deletion cleans up."""
    image = ready_image(cloud)
    directory = cloud.one.inventory.datastores[100].template["STAGING_DIR"]
    if fault is None:
        set_attributes(cloud, STAGING_DIR="/proc/nowhere")
    else:
        cloud.hosts.faults.add(fault)
    call = export(cloud, image)
    if fault is None or fault.kind == "lose":
        refused(call, image.source if fault is None else "host ")
        assert family(cloud, image.source) == {""}
        assert fault is None or left(cloud) == []
        assert locks_left(cloud) == []
    assert not call.ok
    set_attributes(cloud, STAGING_DIR=directory)
    exported(cloud, image)
    assert_nothing_left(cloud, image.source)


def test_a_driver_that_is_killed_and_an_image_that_goes(cloud: Cloud) -> None:
    image = ready_image(cloud)
    cloud.controller.faults.add(CALL_AFTER, method="POST", path="/clone$", callback=strike(cloud))
    assert not export(cloud, image).ok
    assert family(cloud, image.source) == {"", "-export"}
    assert cloud.one.image_delete(image.id).ok  # type: ignore[union-attr]
    assert resources(cloud) == set()


def test_files_that_nobody_has_fetched(cloud: Cloud) -> None:
    """They go with a later export on that host, and nothing else does."""
    image = ready_image(cloud)
    set_attributes(cloud, BRIDGE_LIST="dave")
    old = place(cloud, exported(cloud, image))[1].parent
    recent = place(cloud, exported(cloud, image, APP + 1))[1].parent
    stranger = old.with_name("somebodys")
    stranger.mkdir()
    for path in (old, stranger):
        os.utime(path, (0, 0))
    exported(cloud, image, APP + 2)
    assert (old.exists(), recent.exists(), stranger.exists()) == (False, True, True)


@pytest.mark.parametrize("name", ["two words", "it's"])
def test_a_directory_that_a_market_cannot_fetch_from(cloud: Cloud, name: str) -> None:
    image = ready_image(cloud)
    set_attributes(cloud, STAGING_DIR=f"{cloud.one.tree.datastores}/{name}")
    call = export(cloud, image)
    refused(call)
    assert "STAGING_DIR" in call.user_error
    assert_nothing_left(cloud, image.source)
    assert left(cloud) == []


def test_calls_that_oned_never_makes(cloud: Cloud) -> None:
    lost = cloud.one.image_create("lost", size=8, source="lost")
    refused(export(cloud, lost), "LINSTOR has no resource lost")
    image = bare_image(cloud, "data")
    refused(cloud.call("datastore/export", "x", stdin="?"))
    encoded = base64.b64encode(cloud.one.image_document(image).encode()).decode()
    refused(cloud.call("datastore/export", "app", stdin=encoded), "is not an id: 'app'")
    assert properties(cloud, "data") == {}
