# SPDX-License-Identifier: Apache-2.0
"""Which paths may be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from linstor_helper import paths
from linstor_helper.errors import RefusedError


@pytest.mark.parametrize(
    "source",
    [
        "http://host/a",
        "HTTP://host/a",
        "https://host/a",
        "ssh://host:/a",
        "s3://bucket/a",
        "docker+x://a",
        "rbd://pool/a",
    ],
)
def test_urls_are_remote(source: str) -> None:
    assert paths.is_remote(source)


@pytest.mark.parametrize("source", ["/a", "a", "", "/a://b", "http:/a", "://a", "./http://a", "a b://c"])
def test_all_else_is_local(source: str) -> None:
    assert not paths.is_remote(source)


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("http://user:secret@host:80/a/b?token=secret", "http://host:80/a/b"),
        ("s3://bucket/a?key=secret", "s3://bucket/a"),
        ("/a/b?c@d", "/a/b?c@d"),
        ("http://host", "http://host"),
    ],
)
def test_what_may_be_shown_of_a_source(source: str, shown: str) -> None:
    assert paths.shown(source) == shown


def allowed(path: Path, restricted: list[Path], safe: list[Path]) -> bool:
    try:
        paths.require_allowed(str(path), [str(one) for one in restricted], [str(one) for one in safe])
    except RefusedError:
        return False
    return True


def test_restricted_and_safe_directories(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    assert allowed(inner / "x", [], [])
    assert not allowed(inner / "x", [tmp_path / "a"], [])
    assert not allowed(inner, [inner], [])
    assert not allowed(inner / "x", [Path("/")], [])
    assert allowed(inner / "x", [Path("/")], [inner])
    assert allowed(inner / "x", [inner], [tmp_path / "a"])
    assert not allowed(tmp_path / "c", [Path("/")], [tmp_path / "a"])


def test_directories_are_compared_by_whole_names(tmp_path: Path) -> None:
    assert allowed(tmp_path / "images-old" / "x", [tmp_path / "images"], [])
    assert not allowed(tmp_path / "safe-not" / "x", [Path("/")], [tmp_path / "safe"])


def test_links_and_dots_are_followed_on_both_sides(tmp_path: Path) -> None:
    secret, safe = tmp_path / "secret", tmp_path / "safe"
    secret.mkdir()
    safe.mkdir()
    (safe / "link").symlink_to(secret)
    (tmp_path / "alias").symlink_to(secret)
    assert not allowed(safe / "link" / "x", [Path("/")], [safe])
    assert not allowed(Path(f"{safe}/../secret/x"), [Path("/")], [safe])
    assert not allowed(secret / "x", [tmp_path / "alias"], [])
    assert not allowed(tmp_path / "alias" / "x", [secret], [])


def test_a_descriptor_is_what_was_opened(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(b"x")
    descriptor = os.open(path, os.O_RDONLY)
    path.rename(tmp_path / "moved")
    try:
        assert not allowed(Path(f"/proc/self/fd/{descriptor}"), [tmp_path], [])
        assert allowed(Path(f"/proc/self/fd/{descriptor}"), [Path("/")], [tmp_path])
    finally:
        os.close(descriptor)


def test_trailing_slashes_do_not_matter(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="RESTRICTED_DIRS"):
        paths.require_allowed(f"{tmp_path}/x", [f"{tmp_path}/"], [])
    paths.require_allowed(f"{tmp_path}/x", ["/"], [f"{tmp_path}//"])
