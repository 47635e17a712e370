# SPDX-License-Identifier: Apache-2.0
"""What readers are told is true for their machine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from linstor_helper._version import VERSION

from .sources import CHECKOUT

TEXT = {"", ".bash", ".cfg", ".conf", ".ini", ".md", ".py", ".sh", ".toml", ".txt", ".xml", ".yml", ".yaml"}
# Put together here so that this file does not contain them.
OF_ONE_MACHINE = re.compile(r"(?<![\w.*{}])/(" + "work" + r"/|tmp/" + "brief" + r"|tmp/" + "venv" + ")")
LEFT_BEHIND = re.compile(
    r"__pycache__|build|dist|.*\.egg-info|\.(git|hypothesis|mypy_cache|pytest_cache|ruff_cache|tox|venv)"
)
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")
MAKE = re.compile(r"\bmake ([a-z][a-z-]*)\b")


def documents() -> list[Path]:
    return sorted([*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/**/*.md")])


def texts() -> list[Path]:
    """Every text file of the project, without what tools leave behind."""
    return sorted(
        path
        for path in CHECKOUT.rglob("*")
        if path.is_file()
        and path.suffix in TEXT
        and not any(map(LEFT_BEHIND.fullmatch, path.relative_to(CHECKOUT).parts[:-1]))
    )


def test_no_file_speaks_of_one_machine() -> None:
    wrong = [
        f"{path.relative_to(CHECKOUT)}:{number}: {line.strip()}"
        for path in texts()
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if OF_ONE_MACHINE.search(line)
    ]
    assert wrong == []


def test_readme_architecture_and_changelog_are_there() -> None:
    assert {"README.md", "ARCHITECTURE.md", "CHANGELOG.md"} <= {path.name for path in documents()}


def test_links_lead_to_files() -> None:
    wrong = [
        f"{path.relative_to(CHECKOUT)}: {target}"
        for path in documents()
        for target in LINK.findall(path.read_text(encoding="utf-8"))
        if not (path.parent / target).exists()
    ]
    assert wrong == []


def test_commands_of_the_documents_exist() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
    named = {
        target
        for path in documents()
        for code in re.findall(r"`[^`]+`|^```.*?^```", path.read_text(), re.MULTILINE | re.DOTALL)
        for target in MAKE.findall(code)
    }
    assert named - targets == set()


def test_changelog_begins_with_this_version() -> None:
    newest = re.search(r"^## \[(.+?)\]", (CHECKOUT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest
    assert newest.group(1) == VERSION


@pytest.mark.parametrize("line", ["see /" + "work/main", "(/tmp/" + "brief)", "`/" + "work/x`"])
def test_pattern_finds_such_paths(line: str) -> None:
    assert OF_ONE_MACHINE.search(line)


@pytest.mark.parametrize("line", ["/var/lib/one", "../work/x", "/network/", "{root}/work/x", "/workers"])
def test_pattern_leaves_others_alone(line: str) -> None:
    assert not OF_ONE_MACHINE.search(line)
