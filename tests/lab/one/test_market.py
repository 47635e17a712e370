# SPDX-License-Identifier: Apache-2.0
"""Images that are exported to a marketplace, and come back from it."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import pytest

from lab.one import AppState, Image, ImageState

from .conftest import Bench
from .stage import Stage, scenario, shape

DATA = b"an image" * 1000
MD5 = hashlib.md5(DATA).hexdigest()


@pytest.fixture
def image(bench: Bench) -> Image:
    return bench.one.image_create("os", path="/os.img")


def exports(bench: Bench, source: object, dispose: str = "", **changes: str) -> None:
    """Let the driver answer so."""
    values = {
        "IMPORT_SOURCE": str(source),
        "MD5": MD5,
        "SIZE": "1",
        "FORMAT": "raw",
        "DISPOSE": "YES" if dispose else "NO",
        "DISPOSE_CMD": dispose,
        **changes,
    }
    xml = "".join(f"<{key}><![CDATA[{value}]]></{key}>" for key, value in values.items())
    (bench.plans / "answer").write_text(f"<IMPORT_INFO>\n{xml}\n</IMPORT_INFO>\n")
    bench.plan("datastore.export", 'cat "$PLANS/answer"')


@pytest.fixture
def exported(bench: Bench, tmp_path: Path) -> Path:
    """What a driver has put somewhere for the marketplace."""
    path = tmp_path / "exported.img"
    path.write_bytes(DATA)
    exports(bench, path, f"rm -f {path}")
    return path


def test_an_app_and_its_way_back(bench: Bench, image: Image, exported: Path) -> None:
    one = bench.one
    app = one.marketapp_create(image, "an app")
    assert (app.state, app.error, app.md5, app.size_mb, app.format) == (AppState.READY, "", MD5, 1, "raw")
    assert one.market.path(app).read_bytes() == DATA
    assert not exported.exists()
    assert image.state is ImageState.READY
    made = [call.name for call in one.calls[-2:]]
    assert made == ["datastore/linstor/export", "market/http/import"]
    downloader = one.tree.remotes / "datastore" / "downloader.sh"
    assert one.executor.run(downloader, ["-m", app.md5, app.source, "-"]).stdout.encode() == DATA


def test_the_exported_document(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    for number in (100, 101, 102):
        stage.one.ds_monitor(number, vm_disks=None)
    stage.create_images()
    stage.one.marketapp_create(0)
    wanted = scenario("l09")[0]
    call = next(call for call in stage.one.calls if call.name == wanted.name)
    assert call.argv == wanted.argv

    def tidy(xml: str) -> list[str]:
        return [line.rstrip() for line in shape(re.sub(r">\s+<", "><", xml), stage.location)]

    assert tidy(base64.b64decode(call.stdin).decode()) == tidy(wanted.stdin)
    assert "\n  <IMAGE>\n    <ID>0</ID>\n" in base64.b64decode(call.stdin).decode()
    stage.one.close()


def test_a_shell_takes_the_disposal_apart(bench: Bench, image: Image, exported: Path, tmp_path: Path) -> None:
    """Quotes are none: they become part of the words."""
    exports(bench, exported, f"rm -f '{exported}'")
    assert bench.one.marketapp_create(image).state is AppState.READY
    assert exported.exists()
    exports(bench, exported, f"rm -f {tmp_path}/exported.*")
    assert bench.one.marketapp_create(image).state is AppState.READY
    assert not exported.exists()


def test_a_disposal_that_talks_spoils_the_app(bench: Bench, image: Image, exported: Path) -> None:
    exports(bench, exported, f"rm -v {exported}")
    app = bench.one.marketapp_create(image)
    assert app.state is AppState.ERROR
    assert "Parse error" in app.error


def test_what_can_not_be_downloaded_is_not_disposed_of(bench: Bench, image: Image, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    exports(bench, tmp_path / "nowhere", f"touch {witness}")
    app = bench.one.marketapp_create(image)
    assert app.state is AppState.ERROR
    assert "Error importing app into marketplace: " in app.error
    assert "nowhere" in app.error
    assert not witness.exists()
    assert image.state is ImageState.READY


def test_nothing_is_disposed_of_without_a_yes(bench: Bench, image: Image, exported: Path) -> None:
    exports(bench, exported, f"rm -f {exported}", DISPOSE="NO")
    assert bench.one.marketapp_create(image).state is AppState.READY
    assert exported.exists()


@pytest.mark.parametrize("missing", [{"MD5": ""}, {"FORMAT": ""}, {"SIZE": ""}, {"SIZE": "1.5"}])
def test_answers_without_what_an_app_needs(
    bench: Bench, image: Image, exported: Path, missing: dict[str, str]
) -> None:
    exports(bench, exported, **missing)
    app = bench.one.marketapp_create(image)
    assert app.state is AppState.ERROR
    assert "Missing app attributes" in app.error


def test_bytes_that_are_not_what_the_driver_said(bench: Bench, image: Image, exported: Path) -> None:
    """The marketplace takes them, and nobody can use them."""
    exports(bench, exported, f"rm -f {exported}", MD5="0" * 32)
    one = bench.one
    app = one.marketapp_create(image)
    assert (app.state, exported.exists()) == (AppState.READY, False)
    downloader = one.tree.remotes / "datastore" / "downloader.sh"
    assert not one.executor.run(downloader, ["-m", app.md5, app.source, "-"]).ok


def test_failed_exports(bench: Bench, image: Image) -> None:
    one = bench.one
    bench.plan("datastore.export", "echo 'no space' >&2; exit 1")
    app = one.marketapp_create(image)
    wanted = "Error importing app into marketplace: Error exporting image to file: no space"
    assert (app.state, app.error.split(" : ")[1]) == (AppState.ERROR, wanted)
    assert image.state is ImageState.READY
    bench.plan("datastore.export", "echo /somewhere/else")
    app = one.marketapp_create(image)
    assert (app.state, image.cloning_ops) == (AppState.LOCKED, 1)


def test_images_that_are_not_exported(bench: Bench) -> None:
    one = bench.one
    image = one.image_create("data", size=100, persistent=True)
    one.vm_instantiate([image], "host0")
    since = len(one.calls)
    app = one.marketapp_create(image)
    assert (app.state, app.error.split(" : ")[1]) == (AppState.ERROR, "Cannot clone image in current state")
    assert one.calls[since:] == []
