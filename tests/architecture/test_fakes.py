# SPDX-License-Identifier: Apache-2.0
"""The lab is the only fake: no code is replaced while it runs."""

from __future__ import annotations

import ast

from .sources import LIBRARY, imports, sources

MOCKS = ("flexmock", "mock", "pytest_mock", "unittest.mock")
REPLACING = {"delattr", "setattr", "delitem", "setitem"}
"""Methods of pytest's monkeypatch that change code; setenv, delenv, chdir and syspath_prepend do not."""


def test_nothing_imports_a_mock() -> None:
    wrong = [
        f"{one.at}: imports {one.name}"
        for source in sources(LIBRARY, "lab", "tests", "datastore", "tm")
        for one in imports(source)
        if any(one.is_of(module) for module in MOCKS)
    ]
    assert wrong == []


def test_nothing_is_patched() -> None:
    wrong = [
        f"{source.at(node)}: monkeypatch.{node.attr}"
        for source in sources("tests")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "monkeypatch"
        and node.attr in REPLACING
    ]
    assert wrong == []
