# SPDX-License-Identifier: Apache-2.0
"""The bench as its users start it; it notices what grows with the cluster."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]

# Both clusters give minors and ports of as many digits, so bytes are equal to the last one.
SIZES = ("--small", "10", "--large", "200", "--rounds", "1")
ROW = re.compile(r"^((?:datastore|tm)/\w+(?: \(\w+\))?) +(\d.*)$", re.M)

GREEDY_MONITOR = """#!/bin/sh
# The real action after a look at all volumes there are.
python3 -c 'import os, re, sys, urllib.request
document = __import__("base64").b64decode(open(0, "rb").read())
address = re.search(rb"<LINSTOR_CONTROLLERS>(?:<!\\[CDATA\\[)?([^]<]+)", document)[1].decode()
urllib.request.urlopen("http://" + address + "/v1/view/resources").read()
sys.stdout.write("USED_MB=0\\nTOTAL_MB=100000\\nFREE_MB=100000\\n")'
"""


def bench(root: Path, *options: str) -> tuple[int, str]:
    """Exit status and output of a bench in a pipe, whose files stand below `root`."""
    done = subprocess.run(
        [sys.executable, "-m", "lab.bench", *SIZES, *options],
        cwd=CHECKOUT,
        env={**os.environ, "NO_COLOR": "1", "TMPDIR": str(root)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stderr == ""
    assert list(root.iterdir()) == []
    return done.returncode, done.stdout


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    made = tmp_path / "scratch"
    made.mkdir()
    return made


def test_costs_do_not_depend_on_the_number_of_volumes(scratch: Path) -> None:
    code, out = bench(scratch)
    assert code == 0, out
    rows = {name: figures.split() for name, figures in ROW.findall(out)}
    executables = {
        f"{kind}/{path.name}" for kind in ("datastore", "tm") for path in (CHECKOUT / kind).iterdir()
    }
    assert executables - {name.partition(" ")[0] for name in rows} == set()
    assert {f"tm/mv ({how})" for how in ("stop", "deploy", "cold", "directory")} <= rows.keys()
    for action, figures in rows.items():
        small, large, share, own_small, own_large, _ratio, requests, few, many, peak = figures
        # Only a monitor is told a capacity, of some digits more or less.
        assert abs(int(few) - int(many)) <= (8 if "monitor" in action else 0), action
        assert (requests == "0") == (few == "0"), action
        assert int(small) > 0
        assert 0 < int(own_small) <= int(small)
        assert 0 < int(own_large) <= int(large)
        assert re.fullmatch(r"\d+%", share), action
        # An interpreter with lxml, and no copy of the image, of which 1 MiB of 64 is data.
        assert 15 <= int(peak) < 64, action
    assert re.search(r"^python3 -c pass +\d+ ms +\d+ MiB$", out, re.M)
    assert re.search(r"^import linstor +\d+ ms +\d+ MiB$", out, re.M)
    assert max(map(len, out.splitlines())) <= 100


def test_an_action_that_looks_at_all_volumes_is_noticed(tmp_path: Path, scratch: Path) -> None:
    drivers = tmp_path / "drivers"
    for kind in ("datastore", "tm"):
        shutil.copytree(CHECKOUT / kind, drivers / kind)
    (drivers / "datastore" / "monitor").write_text(GREEDY_MONITOR)
    code, out = bench(scratch, "--drivers", str(drivers))
    assert code == 1
    assert re.findall("FAILED  (.*)", out) == re.findall(
        r"FAILED  (datastore/monitor: \d+ bytes became \d+)", out
    )
    assert "datastore/monitor: " in out


def test_a_failing_action_is_named(tmp_path: Path, scratch: Path) -> None:
    drivers = tmp_path / "drivers"
    for kind in ("datastore", "tm"):
        shutil.copytree(CHECKOUT / kind, drivers / kind)
    (drivers / "datastore" / "mkfs").write_text("#!/bin/sh\necho no room >&2\nexit 1\n")
    code, out = bench(scratch, "--drivers", str(drivers))
    assert code == 1
    assert "FAILED  datastore/linstor/mkfs: no room" in out


def test_missing_executables_are_an_error(tmp_path: Path, scratch: Path) -> None:
    code, out = bench(scratch, "--drivers", str(tmp_path / "nowhere"))
    assert code == 1
    assert out.startswith("FAILED  ")
