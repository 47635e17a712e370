# SPDX-License-Identifier: Apache-2.0
"""What tests of several transfer actions ask for."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.cloud import Cloud
from lab.controller import Cluster, ControllerServer
from lab.controller.standard import GIB
from tests.actions.tm.datastores import ELSEWHERE, Elsewhere


@pytest.fixture
def elsewhere(cloud: Cloud) -> Iterator[ControllerServer]:
    """Another LINSTOR cluster, of dave alone, with a system datastore."""
    cluster = Cluster(Elsewhere(cloud))  # type: ignore[arg-type]
    for _ in range(200):
        cluster.numbers.minors.take()
    cluster.add_node("dave", pools=[("thin", "LVM_THIN", 100 * GIB)])
    cluster.groups.create({"name": "one", "select_filter": {"place_count": 1, "storage_pool_list": ["thin"]}})
    cluster.groups.create_volume_group("one", {})
    with ControllerServer(cluster) as server:
        cloud.one.add_datastore(
            ELSEWHERE,
            "elsewhere",
            TYPE="SYSTEM_DS",
            LINSTOR_CONTROLLERS=f"127.0.0.1:{server.port}",
            LINSTOR_RESOURCE_GROUP="one",
            DISK_TYPE="BLOCK",
        )
        yield server


@pytest.fixture
def recorder(cloud: Cloud, tmp_path: Path) -> Path:
    """Another transfer driver, ``other``, that writes down its calls; a file ``fail`` makes it fail."""
    program = cloud.one.tree.remotes / "tm" / "other" / "premigrate"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/bash\n{{ echo "${{0##*/}} $*"; cat; echo; }} >> {tmp_path}/calls\n'
        f'if [ -e {tmp_path}/fail ]; then echo "the other one is out of order" >&2; exit 3; fi\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    for name in ("postmigrate", "failmigrate"):
        (program.parent / name).symlink_to(program)
    return tmp_path
