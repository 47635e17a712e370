# SPDX-License-Identifier: Apache-2.0
"""``make install`` and ``setup.py``: what an administrator gets."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from linstor_helper._version import VERSION

CHECKOUT = Path(__file__).resolve().parents[2]
NEEDED = ("Makefile", "setup.py", "pyproject.toml", "linstor_helper", "datastore", "tm")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What is installed, where building leaves nothing in the checkout."""
    made = tmp_path / "copy"
    made.mkdir()
    for name in NEEDED:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, made / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, made / name)
    return made


def install(copy: Path, *variables: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    inherited = {name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ}
    return subprocess.run(
        ["make", "-C", str(copy), "install", f"PYTHON={python}", *variables],
        env=inherited,
        capture_output=True,
        text=True,
        check=False,
    )


def files(directory: Path, suffix: str = "") -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob(f"*{suffix}")
        if path.is_file()
    }


def test_library_and_executables_are_all_there_and_work(copy: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    done = install(copy, f"DESTDIR={root}", "ONE_LOCATION=/srv/one")
    assert done.returncode == 0, done.stderr
    remotes = root / "srv/one/var/remotes"
    for kind in ("datastore", "tm"):
        installed = remotes / kind / "linstor"
        assert files(installed) == files(copy / kind)
        assert {stat.S_IMODE(path.stat().st_mode) for path in [installed, *installed.iterdir()]} == {0o755}
    (library,) = root.rglob("linstor_helper")
    assert files(library, ".py") == files(copy / "linstor_helper", ".py")
    # Its directory belongs to root: what is not compiled now will be compiled by every single action.
    assert len(files(library, ".pyc")) == len(files(library, ".py"))
    called = subprocess.run(
        [sys.executable, str(remotes / "tm/linstor/clone")],
        env={"PYTHONPATH": str(library.parent), "ONE_LOCATION": str(tmp_path), "PATH": os.defpath},
        capture_output=True,
        text=True,
        check=False,
    )
    assert called.returncode == 1
    assert len(called.stderr.splitlines()) == 1


def test_packages_of_opennebula_keep_their_remotes_elsewhere(copy: Path, tmp_path: Path) -> None:
    assert install(copy, f"DESTDIR={tmp_path / 'root'}").returncode == 0
    assert (tmp_path / "root/var/lib/one/remotes/tm/linstor/clone").is_file()


def test_what_an_earlier_driver_left_is_named_and_stays(copy: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "root/var/lib/one/remotes/tm/linstor/no_such_action"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("theirs")
    done = install(copy, f"DESTDIR={tmp_path / 'root'}")
    assert done.returncode == 0
    assert [line for line in done.stderr.splitlines() if str(theirs.parent) in line] == [
        f"Not of this driver; remove it if an earlier driver left it: {theirs}"
    ]
    assert theirs.read_text() == "theirs"


def test_nothing_is_installed_where_no_opennebula_is(copy: Path, tmp_path: Path) -> None:
    # Not this Python: without DESTDIR a mistake in the Makefile would install the library into it.
    done = install(copy, f"ONE_LOCATION={tmp_path / 'nowhere'}", python="false")
    assert done.returncode == 2
    assert f"{tmp_path}/nowhere/var/remotes is missing: set ONE_LOCATION" in done.stderr
    assert not (tmp_path / "nowhere").exists()


def test_a_python_that_can_not_install_is_named(copy: Path, tmp_path: Path) -> None:
    done = install(copy, f"DESTDIR={tmp_path / 'root'}", python="false")
    assert done.returncode == 2
    assert "false has no setuptools: install python3-setuptools" in done.stderr
    assert not (tmp_path / "root").exists()


def test_version_of_the_package(copy: Path) -> None:
    done = subprocess.run(
        [sys.executable, "setup.py", "--name", "--version"],
        cwd=copy,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["one-linstor-driver", VERSION]
