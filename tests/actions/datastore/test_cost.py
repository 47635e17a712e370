# SPDX-License-Identifier: Apache-2.0
"""What datastore actions cost: requests, bytes, connections, memory; none of it grows with the cluster."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable

import pytest

from lab.cloud import Cloud
from lab.controller import ControllerServer, populate, standard_cluster
from lab.devices_protocol import Devices, NoDevices
from lab.one.model import Image
from tests.actions.support import allocated_kib, calls_of, content, requests_of

from .conftest import Web
from .support import MIB, call, image_of, write_image

VERSION = "GET v1/controller/version"
SPAWN = "POST v1/resource-groups/*/spawn"
VIEW = "GET v1/view/resources"
MARK = "PUT v1/resource-definitions/*"
CLONE = "POST v1/resource-definitions/*/clone"
CLONED = "GET v1/resource-definitions/*/clone/*"
RESOURCES = "GET v1/resource-definitions/*/resources"
DEFINITION = "GET v1/resource-definitions"
DELETE = "DELETE v1/resource-definitions/*"
SPACE = "POST v1/resource-groups/*/query-size-info"
MANY = 10_000

# A process remembers the memory of the one that it was forked from: only a small one can measure.
MEASURE = """
import json, os, sys
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, used = os.wait4(child, 0)
print(json.dumps([os.waitstatus_to_exitcode(status), used.ru_maxrss]), file=sys.stderr)
"""
MAX_KIB = 60 * 1024


def test_requests_of_cp_and_rm(cloud: Cloud) -> None:
    image = image_of(cloud, write_image(cloud.images_dir, "qcow2"))
    with requests_of(cloud) as seen:
        assert call(cloud, "cp", image).ok
    assert calls_of(seen) == [VERSION, SPAWN, VIEW, MARK]
    assert seen[2].query == "resources=OpenNebula-Image-0"
    assert len({one.connection_id for one in seen}) == 1
    assert len(cloud.hosts.calls) == 1

    image.source = "OpenNebula-Image-0"
    with requests_of(cloud) as seen:
        assert call(cloud, "rm", image).ok
    # It may have been made by way of another volume, in a run that was killed.
    assert calls_of(seen) == [VERSION, DEFINITION, DEFINITION, DELETE]


@pytest.mark.parametrize("fs", ["", "ext4"])
def test_requests_of_mkfs(cloud: Cloud, fs: str) -> None:
    with requests_of(cloud) as seen:
        assert call(cloud, "mkfs", image_of(cloud, size_mb=20, fs=fs)).ok
    assert calls_of(seen) == [VERSION, SPAWN, VIEW, MARK]
    assert len({one.connection_id for one in seen}) == 1


@pytest.mark.parametrize("rest_version", ["1.25.0", "1.26.0", "1.29.0"])
def test_requests_of_clone(make_cloud: Callable[..., Cloud], rest_version: str) -> None:
    cloud = make_cloud(rest_version=rest_version, clone_looks=0)
    cloud.one.image_create("os", size=20)
    with requests_of(cloud) as seen:
        assert cloud.one.image_clone(0, "copy").error == ""
    marked = [MARK] if rest_version == "1.25.0" else []
    # The clone has the clients of its original, too.
    assert calls_of(seen) == [VERSION, CLONE, CLONED, *marked, RESOURCES]
    assert len({one.connection_id for one in seen}) == 1


def test_requests_of_monitor(cloud: Cloud) -> None:
    with requests_of(cloud) as seen:
        assert cloud.one.ds_monitor(100).ok
    assert calls_of(seen) == [VERSION, SPACE]


class _BulkInMemory:
    """Real devices, apart from those of the many volumes that only have to be there."""

    def __init__(self, real: Devices) -> None:
        self._real = real
        self._memory = NoDevices()

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def act(key: str, *args: Any, **options: Any) -> Any:
            devices = self._memory if key.startswith("BULK-") else self._real
            return getattr(devices, method)(key, *args, **options)

        return act


def test_nothing_grows_with_the_number_of_volumes(cloud: Cloud) -> None:
    cluster = standard_cluster(_BulkInMemory(cloud.hosts.devices), clone_looks=0)  # type: ignore[arg-type]
    with ControllerServer(cluster) as server:
        cloud.one.inventory.datastores[100].template["LINSTOR_CONTROLLERS"] = f"127.0.0.1:{server.port}"

        def all_actions() -> list[tuple[str, int]]:
            before = len(server.requests)
            path = write_image(cloud.images_dir, "raw")
            made = [
                cloud.one.image_create("cp", path=path),
                cloud.one.image_create("mkfs", size=20, fs="ext4"),
            ]
            made.append(cloud.one.image_clone(made[0].id, "clone"))
            assert [one.error for one in made] == [""] * 3
            assert cloud.one.ds_monitor(100).ok
            for image in made:
                done = cloud.one.image_delete(image.id)
                assert done is not None
                assert done.ok
            return [(one.method, one.bytes_sent) for one in server.requests[before:]]

        few = all_actions()
        populate(cluster, MANY)
        many = all_actions()
    assert [method for method, _ in few] == [method for method, _ in many]
    # numbers of ports, minors and free space have more digits now
    assert [size for _, size in many] == pytest.approx([size for _, size in few], abs=24)


def measured(cloud: Cloud, action: str, image: Image) -> int:
    """Peak memory of the action's processes on the front-end in KiB, the largest of them."""
    encoded = base64.b64encode(cloud.one.image_document(image).encode())
    program = cloud.one.tree.remotes / "datastore" / "linstor" / action
    done = subprocess.run(
        [sys.executable, "-IS", "-c", MEASURE, program, str(image.id)],
        input=encoded,
        capture_output=True,
        env=cloud.env(),
        cwd=cloud.one.tree.var,
    )
    lines = done.stderr.decode().splitlines()
    status, peak = json.loads(lines[-1])
    assert status == 0, lines
    return int(peak)


def test_a_large_sparse_file_costs_what_its_data_costs(cloud: Cloud) -> None:
    size = 2 << 30
    extents = {0: b"first", size // 2 + 12_345: b"x" * (9 * MIB), size - 4: b"last"}
    path = write_image(cloud.images_dir, "raw", size, extents)
    image = image_of(cloud, path, size // MIB)
    assert measured(cloud, "cp", image) < MAX_KIB
    assert_data_only(cloud, size)


@pytest.mark.parametrize("kind", ["qcow2", "qcow2-compressed"])
def test_a_large_image_costs_what_its_data_costs(cloud: Cloud, kind: str) -> None:
    size = 2 << 30
    extents = {0: b"first", size // 2 + 12_345: b"x" * (9 * MIB), size - 4: b"last"}
    path = write_image(cloud.images_dir, kind, size, extents)
    image = image_of(cloud, path, size // MIB)
    assert measured(cloud, "cp", image) < MAX_KIB
    assert_data_only(cloud, size)


def assert_data_only(cloud: Cloud, size: int) -> None:
    """9 MiB in one piece and the two ends: that travelled, and that is stored."""
    (sent,) = (one["stdin"] for one in cloud.hosts.calls)
    assert 9 * MIB < sent < 10 * MIB
    assert 9 * 1024 <= allocated_kib(cloud, "OpenNebula-Image-0") < 10 * 1024
    with cloud.hosts.open_disk(
        cloud.cluster.rd("OpenNebula-Image-0").diskful[0].node,
        "/dev/drbd/by-res/OpenNebula-Image-0/0",
        write=False,
    ) as disk:
        assert disk.read(0, 6) == b"first\0"
        assert disk.read(size // 2 + 12_344, 9 * MIB + 2) == b"\0" + b"x" * (9 * MIB) + b"\0"
        assert disk.read(size - 5, 5) == b"\0last"


def test_a_large_download_is_never_held_in_memory(cloud: Cloud, web: Web, tmp_path: Path) -> None:
    data = bytes(40 * MIB) + b"x" * (60 * MIB)
    image = image_of(cloud, web.put("disk", data), 100)
    assert measured(cloud, "cp", image) < MAX_KIB
    assert content(cloud, "OpenNebula-Image-0", len(data)) == data
    (sent,) = (one["stdin"] for one in cloud.hosts.calls)
    assert sent < 61 * MIB
