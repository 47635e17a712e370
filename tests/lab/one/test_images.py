# SPDX-License-Identifier: Apache-2.0
"""Images: calls, states and the text that the user sees."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from lxml import etree

from lab.one import ImageState, OneError

from .conftest import Bench


def test_register_asks_for_the_size_and_copies(bench: Bench) -> None:
    image = bench.one.image_create("os", path="/srv/images/os.img")
    assert (image.state, image.source, image.format, image.size_mb) == (
        ImageState.READY,
        "OpenNebula-Image-0",
        "raw",
        1024,
    )
    assert bench.made() == ["datastore/linstor/stat 0", "datastore/linstor/cp 0"]


def test_request_ids_of_stat_are_no_image_ids(bench: Bench) -> None:
    bench.one.image_create("empty", size=10)
    bench.one.image_create("os", path="/srv/images/os.img")
    assert bench.made() == ["datastore/linstor/mkfs 0", "datastore/linstor/stat 0", "datastore/linstor/cp 1"]


def test_failed_stat_refuses_the_image(bench: Bench) -> None:
    bench.plan("datastore.stat", "echo 'Cannot determine Image SIZE for x' >&2; exit 1")
    with pytest.raises(OneError, match=r"Cannot parse image SIZE: Cannot determine Image SIZE for x$"):
        bench.one.image_create("os", path="x")
    assert not bench.one.inventory.images


def test_failed_copy_leaves_an_image_without_source(bench: Bench) -> None:
    bench.plan("datastore.cp", "echo 'ERROR: 12 logged' >&2; echo one >&2; echo ' two ' >&2; exit 3")
    image = bench.one.image_create("os", path="/srv/images/os.img")
    assert image.state is ImageState.ERROR
    assert image.error.endswith(" : Error copying image in the datastore: onetwo")
    assert bench.one.image_delete(image.id) is None
    assert image.id not in bench.one.inventory.images


def test_copy_without_format_is_an_error_with_source(bench: Bench) -> None:
    bench.plan("datastore.cp", "echo SOURCE-ONLY")
    image = bench.one.image_create("os", path="/srv/images/os.img")
    assert (image.state, image.source) == (ImageState.ERROR, "SOURCE-ONLY")
    assert "FORMAT was not returned" in image.error


def test_mkfs_takes_the_whole_line_for_the_source(bench: Bench) -> None:
    bench.plan("datastore.mkfs", "echo 'src raw'")
    assert bench.one.image_create("db", size=10, type="DATABLOCK").source == "src raw"


def test_failed_removal_hides_the_drivers_text_and_force_drops_the_image(bench: Bench) -> None:
    image = bench.one.image_create("db", size=10, type="DATABLOCK")
    bench.plan("datastore.rm", "echo 'still in use' >&2; exit 1", once=False)
    call = bench.one.image_delete(image.id)
    assert call is not None
    assert call.user_error == "still in use"
    assert image.state is ImageState.ERROR
    assert "still in use" not in image.error
    bench.one.image_delete(image.id, force=True)
    assert image.id not in bench.one.inventory.images


def test_clone_names_the_original_and_releases_it(bench: Bench) -> None:
    original = bench.one.image_create("os", path="/srv/images/os.img")
    clone = bench.one.image_clone(original.id, "copy")
    xml = etree.fromstring(base64.b64decode(bench.one.calls[-1].stdin))
    assert xml.findtext("IMAGE/PATH") == original.source
    assert xml.findtext("IMAGE/CLONING_ID") == str(original.id)
    assert (clone.state, original.state) == (ImageState.READY, ImageState.READY)
    bench.plan("datastore.clone", "echo 'no nodes' >&2; exit 2")
    failed = bench.one.image_clone(original.id, "copy2")
    assert failed.error.endswith(f"Error cloning from Image {original.id}: no nodes")
    assert original.state is ImageState.READY


def test_monitor_keeps_the_capacity_which_then_limits_images(bench: Bench) -> None:
    bench.plan("datastore.monitor", "printf 'USED_MB=1\\nTOTAL_MB=11\\nFREE_MB=10\\n'")
    assert bench.one.ds_monitor(100).ok
    store = bench.one.inventory.datastores[100]
    assert (store.total_mb, store.free_mb, store.used_mb) == (11, 10, 1)
    with pytest.raises(OneError, match="Not enough space"):
        bench.one.image_create("big", size=11)


def test_monitor_of_a_system_datastore_goes_to_the_transfer_driver(bench: Bench) -> None:
    call = bench.one.ds_monitor(101, vm_disks=True)
    xml = etree.fromstring(base64.b64decode(call.stdin))
    assert call.name == "tm/linstor/monitor"
    assert xml.findtext("MONITOR_VM_DISKS") == "1"
    assert xml.findtext("DATASTORE_LOCATION") == f"{bench.one.tree.var}//datastores"
    with pytest.raises(OneError, match="not SHARED"):
        bench.one.ds_monitor(103)


@pytest.mark.parametrize(
    ("version", "on_stdin", "tag"),
    [("5.12.0", False, "FSTYPE"), ("6.6.3", False, "FORMAT"), ("6.8.0", True, "FORMAT")],
)
def test_the_xml_comes_where_the_version_puts_it(
    tmp_path: Path, version: str, on_stdin: bool, tag: str
) -> None:
    bench = Bench(tmp_path, version)
    image = bench.one.image_create("os", path="/srv/images/os.img")
    bench.one.close()
    call = bench.one.calls[-1]
    assert len(call.argv) == (1 if on_stdin else 2)
    assert call.argv[-1] == str(image.id)
    xml = etree.fromstring(base64.b64decode(call.stdin if on_stdin else call.argv[0]))
    assert xml.find(f"IMAGE/{tag}") is not None
    assert xml.find("IMAGE/MODTIME") is None
    assert xml.find("DATASTORE/TEMPLATE/DS_LIVE_MIGRATE") is None


@pytest.mark.parametrize(("version", "format"), [("5.12.0", "ext4"), ("6.0.3", "raw")])
def test_whose_word_counts_for_the_format(tmp_path: Path, version: str, format: str) -> None:
    bench = Bench(tmp_path, version)
    assert bench.one.inventory.datastores[100].template["DRIVER"] == "raw"
    image = bench.one.image_create("empty", size=8, format="ext4")
    bench.one.close()
    assert image.format == format
