# SPDX-License-Identifier: Apache-2.0
"""Every action is a new process: what it imports is most of its own time."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest

from .sources import CHECKOUT, LIBRARY

FORBIDDEN = {
    "argparse",
    "asyncio",
    "concurrent",
    "importlib.metadata",
    "lab",
    "logging",
    "multiprocessing",
    "pyone",
    "requests",
    "unittest",
    "xmlrpc",  # imported where it is used: oned hands most actions all they need
}

# A process for the entry alone and one for each action, forked before anything is imported.
LIST_MODULES = """
import importlib, json, os, sys
sys.path[:] = json.loads(sys.argv[1])
for action in ["", *json.loads(sys.argv[2])]:
    child = os.fork()
    if not child:
        entry = importlib.import_module("linstor_helper.entry")
        importlib.import_module("linstor_helper.context")
        if action:
            importlib.import_module(entry.ACTIONS[action])
        print(json.dumps([action, sorted(sys.modules)]), flush=True)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(action)
"""


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[str]]:
    """Action -> names of the modules in its process; "" is the entry alone.

    Without ``site``: what a .pth file imports is not ours.
    """
    actions = sorted(importlib.import_module(f"{LIBRARY}.entry").ACTIONS)
    path = [str(CHECKOUT), *filter(None, sys.path)]
    listed = subprocess.run(
        [sys.executable, "-S", "-c", LIST_MODULES, json.dumps(path), json.dumps(actions)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert listed.returncode == 0, listed.stderr
    found = {action: set(modules) for action, modules in map(json.loads, listed.stdout.splitlines())}
    assert found.keys() == {"", *actions}
    return found


def test_actions_import_no_more_than_they_need(loaded: dict[str, set[str]]) -> None:
    wrong = {action: sorted(modules & FORBIDDEN) for action, modules in loaded.items() if modules & FORBIDDEN}
    assert wrong == {}


def test_entry_imports_no_action(loaded: dict[str, set[str]]) -> None:
    assert not [name for name in loaded[""] if name.startswith(f"{LIBRARY}.actions")]


def test_adapters_are_imported_when_they_are_needed(loaded: dict[str, set[str]]) -> None:
    """``import linstor`` alone is half of the time that an action may take."""
    assert "linstor" not in loaded[""]
