# SPDX-License-Identifier: Apache-2.0
"""What OpenNebula calls: one small file per action, all alike."""

from __future__ import annotations

import importlib
import stat
import subprocess
import sys
from pathlib import Path

from .sources import CHECKOUT, LIBRARY, imports, sources

KINDS = ("datastore", "tm")
TEMPLATE = """\
#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
from linstor_helper.entry import main

main("{action}")
"""


def executables() -> dict[str, bytes]:
    """``tm.clone`` -> content of tm/clone."""
    return {
        f"{kind}.{path.name}": path.read_bytes()
        for kind in KINDS
        for path in (CHECKOUT / kind).iterdir()
        if path.name != "__pycache__"
    }


def actions() -> dict[str, str]:
    """The table of the library: action -> module."""
    return dict(importlib.import_module(f"{LIBRARY}.entry").ACTIONS)


def test_each_names_its_action_and_hands_over() -> None:
    found = executables()
    assert found == {action: TEMPLATE.format(action=action).encode() for action in found}


def test_all_may_be_run_and_are_files_of_their_own() -> None:
    modes = {path: path.lstat().st_mode for kind in KINDS for path in (CHECKOUT / kind).iterdir()}
    assert {path: oct(mode) for path, mode in modes.items() if mode != stat.S_IFREG | 0o755} == {}


def test_table_and_executables_are_the_same() -> None:
    assert set(executables()) == set(actions())


def test_a_reader_finds_the_module_of_an_action() -> None:
    table = actions()
    assert table == {action: f"{LIBRARY}.actions.{action}" for action in table}


def test_every_action_module_serves_an_executable() -> None:
    """It is in the table, or what several actions have in common."""
    found = [source for source in sources(f"{LIBRARY}/actions") if source.path.name != "__init__.py"]
    shared = {one.name.rpartition(".")[0] for source in found for one in imports(source)}
    assert {source.module for source in found} - shared == set(actions().values()) - shared


def test_a_call_without_arguments_is_one_line_and_no_traceback(tmp_path: Path) -> None:
    """The smallest run of every executable, far from an OpenNebula."""
    found = sorted(executables())
    assert found
    for action in found:
        kind, name = action.split(".")
        done = subprocess.run(
            [sys.executable, str(CHECKOUT / kind / name)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env={"PYTHONPATH": str(CHECKOUT), "PATH": "/usr/bin:/bin", "ONE_LOCATION": str(tmp_path)},
        )
        assert (action, done.returncode != 0, done.stdout) == (action, True, "")
        assert len(done.stderr.splitlines()) == 1, (action, done.stderr)
        assert "Traceback" not in done.stderr
