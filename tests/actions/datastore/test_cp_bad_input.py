# SPDX-License-Identifier: Apache-2.0
"""`cp` with input that it must refuse: one line that names the thing and the remedy, and nothing left behind."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path
from typing import Callable

import pytest

from lab.cloud import Cloud
from lab.controller import StandbyServer
from lab.hosts.faults import SshFault
from lab.images import compress, write_qcow2
from lab.one import Call
from lab.one.model import ImageState, ImageType
from tests.actions.support import assert_nothing_left, content, locks_left, resources

from .conftest import Web
from .support import CONTENT, EXTENTS, MIB, SIZE, cp, write_image

NAME = "OpenNebula-Image-0"
SIZE_MB = SIZE // MIB


def assert_refused(cloud: Cloud, done: Call, *words: str) -> None:
    """One line with these words, exit status 1, and neither volume nor link nor lock nor staged file."""
    assert done.rc == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.user_error
    for noise in ("Traceback", "internal error", "Error(", "  "):
        assert noise not in done.user_error
    assert len(done.user_error) < 600
    assert_nothing_left(cloud)
    staging = Path(cloud.one.inventory.datastores[100].template.get("STAGING_DIR", cloud.root / "none"))
    assert not staging.exists() or list(staging.iterdir()) == []


@pytest.fixture
def image(cloud: Cloud) -> Path:
    return write_image(cloud.images_dir, "raw")


@pytest.fixture
def template(cloud: Cloud, tmp_path: Path) -> dict[str, str]:
    """Of the image datastore."""
    found = cloud.one.inventory.datastores[100].template
    found["STAGING_DIR"] = str(tmp_path)
    return found


# -- the datastore and the cluster ----------------------------------------------------------------------------------


def test_no_resource_group(cloud: Cloud, template: dict[str, str], image: Path) -> None:
    del template["LINSTOR_RESOURCE_GROUP"]
    assert_refused(
        cloud, cp(cloud, image), "LINSTOR_RESOURCE_GROUP", "missing", "100", "onedatastore update 100"
    )


def test_unknown_attribute(cloud: Cloud, template: dict[str, str], image: Path) -> None:
    template["LINSTOR_RESOURCE_GRUOP"] = "one"
    done = cp(cloud, image)
    assert_refused(
        cloud, done, "unknown attribute LINSTOR_RESOURCE_GRUOP", "did you mean LINSTOR_RESOURCE_GROUP?"
    )


def test_bad_value(cloud: Cloud, template: dict[str, str], image: Path) -> None:
    template["LINSTOR_TIMEOUT"] = "soon"
    assert_refused(cloud, cp(cloud, image), "LINSTOR_TIMEOUT", "'soon'")


def test_unknown_resource_group(cloud: Cloud, template: dict[str, str], image: Path) -> None:
    template["LINSTOR_RESOURCE_GROUP"] = "nowhere"
    assert_refused(cloud, cp(cloud, image), "'nowhere' not found", "LINSTOR_RESOURCE_GROUP")


def test_no_controller_answers(cloud: Cloud, template: dict[str, str], image: Path) -> None:
    with StandbyServer("refuse") as first, StandbyServer("refuse") as second:
        template["LINSTOR_CONTROLLERS"] = f"127.0.0.1:{first.port},127.0.0.1:{second.port}"
        done = cp(cloud, image)
        assert_refused(cloud, done, f"127.0.0.1:{first.port}", f"127.0.0.1:{second.port}", "refused")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ("LINSTOR_CA_FILE", "No such file")),
        (b"", ("LINSTOR_CA_FILE", "empty")),
        (b"not a certificate", ("LINSTOR_CA_FILE",)),
    ],
    ids=["missing", "empty", "nonsense"],
)
def test_wrong_tls_file(
    cloud: Cloud, template: dict[str, str], image: Path, content: bytes | None, words: tuple[str, ...]
) -> None:
    path = cloud.root / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    template.update(
        LINSTOR_CA_FILE=str(path), LINSTOR_CONTROLLERS=f"linstor+ssl://127.0.0.1:{cloud.controller.port}"
    )
    assert_refused(cloud, cp(cloud, image), str(path), *words)


def test_not_enough_space(cloud: Cloud, template: dict[str, str], image: Path) -> None:
    done = cp(cloud, image, 1 << 20 << 10)
    assert_refused(cloud, done, "Not enough nodes", NAME, "resource group one", "linstor storage-pool list")


def test_a_satellite_fails_while_the_volume_is_made(
    cloud: Cloud, template: dict[str, str], image: Path
) -> None:
    for node in ("alice", "bob", "charlie"):
        cloud.cluster.satellites.fail(node, "create", "lvcreate ended with status 5")
    done = cp(cloud, image)
    assert_refused(cloud, done, "lvcreate ended with status 5", NAME)
    # which report to read is what an administrator needs next
    assert any(report.id in done.user_error for report in cloud.cluster.satellites.reports)


def test_the_reply_to_spawn_is_lost_and_the_volume_is_there(
    cloud: Cloud, template: dict[str, str], image: Path
) -> None:
    """What was made is ours and unfinished: it is made anew, so that the action succeeds."""
    cloud.controller.faults.add("lose_reply", method="POST", path="/spawn$")
    done = cp(cloud, image)
    assert done.ok, done.stderr
    assert resources(cloud) == {NAME}


def test_the_controller_is_lost_before_it_spawns(cloud: Cloud, template: dict[str, str], image: Path) -> None:
    cloud.controller.faults.add("fail_before", method="POST", path="/spawn$", times=9)
    assert_refused(
        cloud, cp(cloud, image), cloud.controllers, "may have taken effect", "repeat the operation"
    )


def test_the_controller_answers_nothing_to_spawn(cloud: Cloud, template: dict[str, str], image: Path) -> None:
    """What came of it is not known, so it is looked up; what was made is finished or removed."""
    template["LINSTOR_TIMEOUT"] = "1"
    cloud.controller.faults.add("hang_after", method="POST", path="/spawn$")
    done = cp(cloud, image)
    assert done.ok, done.stderr
    assert resources(cloud) == {NAME}


def test_a_name_that_somebody_else_uses_is_not_touched(
    cloud: Cloud, template: dict[str, str], image: Path
) -> None:
    cloud.cluster.groups.spawn("one", {"resource_definition_name": NAME, "volume_sizes": [SIZE // 1024]})
    done = cp(cloud, image)
    assert done.rc == 1
    assert f"{NAME} exists and was not made by this driver" in done.user_error
    assert resources(cloud) == {NAME}
    assert cloud.cluster.rd(NAME).flags == set()


# -- hosts ----------------------------------------------------------------------------------------------------------


def test_the_bridge_is_not_a_linstor_node(cloud: Cloud, template: dict[str, str], image: Path) -> None:
    template["BRIDGE_LIST"] = "zora"
    assert_refused(cloud, cp(cloud, image), "zora", "not a LINSTOR node", "alice")


@pytest.mark.parametrize("link", ["down", "refused"])
def test_the_bridge_cannot_be_reached(cloud: Cloud, template: dict[str, str], image: Path, link: str) -> None:
    template.update(BRIDGE_LIST="alice", LINSTOR_SSH_TIMEOUT="1")
    cloud.hosts.set_link("alice", link)
    done = cp(cloud, image)
    assert_refused(cloud, done, "host alice cannot be reached by ssh", "ssh alice")
    assert done.seconds < 4


def test_the_bridge_vanishes_in_the_middle(cloud: Cloud, template: dict[str, str], image: Path) -> None:
    cloud.hosts.faults.add(SshFault("lose", "midway", at_byte=100_000))
    assert_refused(cloud, cp(cloud, image), "ssh")


# -- images ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["raw", "qcow2", "vmdk", "vhdx"])
def test_a_file_larger_than_declared(cloud: Cloud, template: dict[str, str], kind: str) -> None:
    path = write_image(cloud.images_dir, kind)
    done = cp(cloud, path, SIZE_MB - 1)
    assert_refused(cloud, done, str(path), "declared", "SIZE")


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_a_download_larger_than_declared(cloud: Cloud, web: Web, template: dict[str, str], kind: str) -> None:
    path = write_image(cloud.images_dir, kind, SIZE + 9 * MIB, {**EXTENTS, SIZE + 8 * MIB: b"beyond"})
    done = cp(cloud, web.put("disk", path.read_bytes()), SIZE_MB)
    assert_refused(cloud, done, "declared", "SIZE")


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_a_truncated_download(cloud: Cloud, web: Web, template: dict[str, str], kind: str) -> None:
    data = write_image(cloud.images_dir, kind).read_bytes()
    url = web.put("disk", data[: len(data) * 2 // 3], declared=len(data))
    assert_refused(cloud, cp(cloud, url), url)


def test_a_download_that_does_not_exist(cloud: Cloud, web: Web, template: dict[str, str]) -> None:
    web.put("other", b"x")
    url = web.put("disk", b"x").replace("disk", "gone")
    assert_refused(cloud, cp(cloud, url), url, "404")


def test_a_server_that_does_not_exist(cloud: Cloud, template: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert_refused(cloud, cp(cloud, f"http://127.0.0.1:{port}/disk"), f"127.0.0.1:{port}", "refused")


def test_an_empty_download(cloud: Cloud, web: Web, template: dict[str, str]) -> None:
    assert_refused(cloud, cp(cloud, web.put("disk", b"")), "empty")


@pytest.mark.parametrize("remote", [False, True], ids=["local", "http"])
@pytest.mark.parametrize("damage", ["truncated", "tables"])
def test_a_damaged_qcow2(cloud: Cloud, web: Web, template: dict[str, str], damage: str, remote: bool) -> None:
    path = write_image(cloud.images_dir, "qcow2")
    data = bytearray(path.read_bytes())
    if damage == "truncated":
        del data[len(data) * 2 // 3 :]
    else:
        # the L1 table follows header, refcount table and refcount block
        table = int.from_bytes(data[40:48], "big")
        data[table : table + 8] = (0x00FFFFFFFFFF0000).to_bytes(8, "big")
    path.write_bytes(data)
    source = web.put("disk", bytes(data)) if remote else path
    assert_refused(cloud, cp(cloud, source), str(source), "qcow2")


@pytest.mark.parametrize("remote", [False, True], ids=["local", "http"])
def test_a_damaged_compressed_file(cloud: Cloud, web: Web, template: dict[str, str], remote: bool) -> None:
    path = compress(write_image(cloud.images_dir, "raw"), "gz")
    path.write_bytes(path.read_bytes()[:-2000])
    source = web.put("disk.gz", path.read_bytes()) if remote else path
    assert_refused(cloud, cp(cloud, source), str(source))


@pytest.mark.parametrize("remote", [False, True], ids=["local", "http"])
@pytest.mark.parametrize("algorithm", ["MD5", "SHA1"])
@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_a_wrong_checksum(
    cloud: Cloud, web: Web, template: dict[str, str], kind: str, algorithm: str, remote: bool
) -> None:
    path = write_image(cloud.images_dir, kind)
    source = web.put("disk", path.read_bytes()) if remote else path
    wrong = hashlib.new(algorithm.lower(), b"another file").hexdigest()
    assert_refused(cloud, cp(cloud, source, **{algorithm: wrong}), str(source), "checksum")


def _backing(path: Path) -> None:
    write_qcow2(path, SIZE, {}, backing_file="/etc/passwd")


def _data_file(path: Path) -> None:
    write_qcow2(path, SIZE, {}, data_file="/etc/passwd")


def _descriptor(path: Path) -> None:
    extent = 'RW 24576 FLAT "/etc/passwd" 0'
    path.write_text(
        f'# Disk DescriptorFile\nversion=1\nCID=fffffffe\ncreateType="monolithicFlat"\n{extent}\n'
    )


@pytest.mark.parametrize("remote", [False, True], ids=["local", "http"])
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_backing, ("backing file",)),
        (_data_file, ("another file",)),
        (_descriptor, ("VMDK descriptor",)),
    ],
    ids=["backing", "data-file", "descriptor"],
)
def test_an_image_that_refers_to_other_files(
    cloud: Cloud,
    web: Web,
    template: dict[str, str],
    make: Callable[[Path], None],
    words: tuple[str, ...],
    remote: bool,
) -> None:
    path = cloud.images_dir / "disk"
    make(path)
    source = web.put("disk", path.read_bytes()) if remote else path
    assert_refused(cloud, cp(cloud, source), str(source), *words)


def test_a_cdrom_that_looks_like_an_image_with_a_backing_file_is_never_opened_as_one(cloud: Cloud) -> None:
    path = cloud.images_dir / "disk"
    _backing(path)
    stored = path.read_bytes()
    assert cp(cloud, path, kind=ImageType.CDROM).ok
    assert content(cloud, NAME, len(stored)) == stored


# -- what must not be read ------------------------------------------------------------------------------------------


@pytest.fixture
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A readable image where none may be taken from."""
    path = tmp_path_factory.mktemp("outside") / "secret"
    path.write_bytes(CONTENT)
    return path


def test_a_restricted_path(cloud: Cloud, template: dict[str, str], outside: Path) -> None:
    done = cp(cloud, outside)
    assert_refused(cloud, done, f"not allowed to read image from {outside}", "RESTRICTED_DIRS", "SAFE_DIRS")


def test_a_safe_directory_is_exempt(cloud: Cloud, template: dict[str, str], outside: Path) -> None:
    template["SAFE_DIRS"] += f" {outside.parent}"
    assert cp(cloud, outside).ok


def test_a_safe_directory_is_meant_whole(cloud: Cloud, template: dict[str, str], outside: Path) -> None:
    template["SAFE_DIRS"] = str(outside.parent)[:-1]
    assert_refused(cloud, cp(cloud, outside), "not allowed")


@pytest.mark.parametrize("way", ["link", "directory", "dots"])
def test_a_way_around_leads_nowhere(cloud: Cloud, template: dict[str, str], outside: Path, way: str) -> None:
    path = cloud.images_dir / "disk"
    if way == "link":
        path.symlink_to(outside)
    elif way == "directory":
        path.symlink_to(outside.parent)
        path /= outside.name
    else:
        path = Path(f"{cloud.images_dir}/{os.path.relpath(outside, cloud.images_dir)}")
    assert_refused(cloud, cp(cloud, path), "not allowed")


def test_the_driver_does_not_give_its_environment_away(cloud: Cloud, template: dict[str, str]) -> None:
    assert_refused(cloud, cp(cloud, "/proc/self/environ", 1), "not allowed")
    template["RESTRICTED_DIRS"] = ""
    # without any restriction it is still not a file with an image
    assert_refused(cloud, cp(cloud, "/proc/self/environ", 1), "/proc/self/environ is empty")


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_a_path_that_leads_elsewhere_after_it_was_checked(
    cloud: Cloud, template: dict[str, str], outside: Path, kind: str
) -> None:
    path = cloud.images_dir / "link"
    path.symlink_to(write_image(cloud.images_dir, kind))
    secret = write_image(outside.parent, kind, extents={0: b"secret"})

    def swap(_method: str, _path: str) -> None:
        path.unlink()
        path.symlink_to(secret)

    cloud.controller.faults.add("call_before", method="POST", path="/spawn$", callback=swap)
    assert cp(cloud, path).ok
    assert os.readlink(path) == str(secret)
    assert content(cloud, NAME, SIZE) == CONTENT


def test_opennebula_s_own_files_are_always_restricted(cloud: Cloud, template: dict[str, str]) -> None:
    template["RESTRICTED_DIRS"] = ""
    for path in (cloud.one.tree.auth, cloud.one.tree.var / "remotes" / "VERSION"):
        assert_refused(cloud, cp(cloud, path, 1), "not allowed")


@pytest.mark.parametrize("what", ["directory", "fifo", "socket", "device", "missing"])
def test_what_is_not_a_file(cloud: Cloud, template: dict[str, str], what: str) -> None:
    path = cloud.images_dir / "disk"
    if what == "directory":
        path.mkdir()
    elif what == "fifo":
        os.mkfifo(path)
    elif what == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    elif what == "device":
        template["SAFE_DIRS"] += " /dev"
        path = Path("/dev/zero")
    done = cp(cloud, path, 1)
    assert_refused(cloud, done, str(path))
    assert done.seconds < 5


def test_an_option_in_place_of_a_path(cloud: Cloud, template: dict[str, str]) -> None:
    assert_refused(cloud, cp(cloud, "--help", 1), "--help")


# -- the user's view ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["5.12.0", "6.10.5", "7.4.0"])
def test_every_opennebula_shows_the_reason(make_cloud: Callable[..., Cloud], version: str) -> None:
    cloud = make_cloud(one_version=version)
    cloud.one.inventory.datastores[100].template["LINSTOR_RESOURCE_GROUP"] = "nowhere"
    image = cloud.one.image_create("os", path=write_image(cloud.images_dir, "raw"))
    assert image.state is ImageState.ERROR
    assert "Error copying image in the datastore: " in image.error
    assert "'nowhere' not found" in image.error
    assert locks_left(cloud) == []
