# SPDX-License-Identifier: Apache-2.0
"""`stat`: the size that an image needs, asked before there is an image."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

import pytest

from lab.cloud import Cloud
from lab.images import compress, write_qcow2
from lab.one.errors import OneError
from tests.actions.support import assert_nothing_left

from .conftest import Web
from .support import MIB, SIZE, call, image_of, write_image


@pytest.mark.parametrize("remote", [False, True], ids=["local", "http"])
@pytest.mark.parametrize("kind", ["raw", "qcow2", "vmdk", "vhdx"])
def test_the_size_is_that_of_the_disk_in_the_image(cloud: Cloud, web: Web, kind: str, remote: bool) -> None:
    path = write_image(cloud.images_dir, kind)
    source = web.put("disk", path.read_bytes()) if remote else path
    done = call(cloud, "stat", image_of(cloud, source))
    assert (done.rc, done.stdout) == (0, f"{SIZE // MIB}\n")
    # nothing of it concerns LINSTOR
    assert cloud.controller.requests == []


def test_a_size_is_rounded_up(cloud: Cloud) -> None:
    path = cloud.images_dir / "odd"
    path.write_bytes(bytes(MIB + 1))
    assert call(cloud, "stat", image_of(cloud, path)).stdout == "2\n"


def test_a_compressed_file_counts_unpacked_unless_it_stays_packed(cloud: Cloud) -> None:
    path = compress(write_image(cloud.images_dir, "raw"), "xz")
    assert call(cloud, "stat", image_of(cloud, path)).stdout == f"{SIZE // MIB}\n"
    cloud.one.inventory.datastores[100].template["NO_DECOMPRESS"] = "yes"
    assert call(cloud, "stat", image_of(cloud, path)).stdout == "1\n"


@pytest.mark.parametrize("version", ["5.12.0", "6.10.5", "7.4.0"])
def test_every_opennebula_gets_its_answer(make_cloud: Callable[..., Cloud], version: str) -> None:
    cloud = make_cloud(one_version=version)
    assert call(cloud, "stat", image_of(cloud, write_image(cloud.images_dir, "raw"))).stdout == "12\n"


def assert_refused(cloud: Cloud, path: str | Path, *words: str) -> None:
    with pytest.raises(OneError) as refused:
        cloud.one.image_create("os", path=path)
    for word in (str(path), *words):
        assert word in str(refused.value)
    assert "internal error" not in str(refused.value)
    assert cloud.one.inventory.images == {}
    assert_nothing_left(cloud)


def test_a_restricted_path(cloud: Cloud, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(bytes(MIB))
    assert_refused(cloud, path, "not allowed to read image", "SAFE_DIRS")
    (cloud.images_dir / "link").symlink_to(path)
    assert_refused(cloud, cloud.images_dir / "link", "not allowed to read image")


def test_a_missing_file(cloud: Cloud) -> None:
    assert_refused(cloud, cloud.images_dir / "gone", "No such file")


def test_a_directory(cloud: Cloud) -> None:
    """OpenNebula's own program would add up what is in it."""
    assert_refused(cloud, cloud.images_dir, "not a regular file")


def test_a_missing_download(cloud: Cloud, web: Web) -> None:
    assert_refused(cloud, web.put("a", b"x").replace("/a", "/gone"), "404")


def test_an_empty_file(cloud: Cloud) -> None:
    path = cloud.images_dir / "empty"
    path.touch()
    assert_refused(cloud, path, "empty")


def test_an_image_with_a_backing_file(cloud: Cloud) -> None:
    """It has a size, and is refused when it is to be read."""
    path = cloud.images_dir / "disk"
    write_qcow2(path, SIZE, {}, backing_file="/etc/passwd")
    image = cloud.one.image_create("os", path=path)
    assert "backing file" in image.error
    assert_nothing_left(cloud)


def test_secrets_of_a_url_are_not_shown(cloud: Cloud, web: Web) -> None:
    url = web.put("a", b"x").replace("/a", "/gone?signature=s3cr3t").replace("://", "://user:passw0rd@")
    done = call(cloud, "stat", image_of(cloud, url))
    assert done.rc == 1
    assert "/gone" in done.user_error
    for secret in ("s3cr3t", "passw0rd"):
        assert secret not in done.stderr
