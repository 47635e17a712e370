# SPDX-License-Identifier: Apache-2.0
"""The demo as its users start it; what it claims can turn out false."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]

SPOILED_CLONE = """#!/bin/bash
# The real action, after which one byte of the disk is another.
"{real}/tm/clone" "$@" || exit
ssh "${{2%%:*}}" "printf '\\\\377' | dd of=${{2#*:}} bs=1 seek=4096 conv=notrunc status=none"
"""
FORGETFUL = "#!/bin/sh\ncat > /dev/null\n"
CURIOUS_MV = """#!/bin/bash
# The real action, after a question to the host that the VM leaves.
[[ $1 == */disk.* ]] || ssh -o ConnectTimeout=1 "${{1%%:*}}" true
exec "{real}/tm/mv" "$@"
"""
AS_IF_STOPPED = '#!/bin/sh\nexec "{real}/tm/snap_create" "$@"\n'
OF_NOW = '#!/bin/sh\nexec "{real}/tm/cpds" "$1" "$2" -1 "$4" "$5"\n'
KEEPS_SNAPSHOTS = '#!/bin/sh\nexec "{real}/datastore/snap_revert" "$@"\n'


def demo(root: Path, *options: str) -> subprocess.Popen[str]:
    """A demo in a pipe, without colours, whose lab stands below `root`."""
    return subprocess.Popen(
        [sys.executable, "-m", "lab.demo", *options],
        cwd=CHECKOUT,
        env={**os.environ, "NO_COLOR": "1", "TMPDIR": str(root)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(root: Path, *options: str) -> tuple[int, str]:
    process = demo(root, *options)
    out, err = process.communicate(timeout=120)
    assert err == ""
    assert list(root.iterdir()) == []
    return process.returncode, out


def drivers(root: Path, replaced: dict[str, str]) -> Path:
    """The checkout's executables, some of them replaced."""
    for kind in ("datastore", "tm"):
        shutil.copytree(CHECKOUT / kind, root / kind)
    for name, text in replaced.items():
        (root / name).write_text(text)
    return root


def test_the_story_is_told_to_its_end(tmp_path: Path) -> None:
    code, out = run(tmp_path)
    assert code == 0, out
    lines = out.splitlines()
    assert re.fullmatch(r"All \d+ checks hold, \d+\.\d s\.", lines[-1])
    assert "FAILED" not in out
    assert "\x1b" not in out
    assert max(map(len, lines)) <= 100
    assert not [line for line in lines if line != line.rstrip()]
    assert len(lines) < 230
    assert re.search(
        r"tm/clone frontend:OpenNebula-Image-0 alice:DS/101/0/disk.0 0 100 +\d\.\d\d s +\d req", out
    )
    assert re.search(r"^   Image-1 .*replica .*diskless VM 1\*$", out, re.M)
    between, after = re.findall(r"^   Image-1 .*", out.partition("tm/premigrate")[2], re.M)[:2]
    assert [between.count("VM 1*"), after.count("VM 1*")] == [2, 1]
    assert "Resource group 'fast' not found" in out
    assert "guest one-0 was frozen" in out
    assert re.search(r"tm/snap_revert .* -> exit 1 .*\n   ! ERROR=.*No space left in", out, re.M)
    assert "nothing left in LINSTOR" in out


def test_what_goes_wrong_is_noticed(tmp_path: Path) -> None:
    spoiled = {
        "tm/clone": SPOILED_CLONE.format(real=CHECKOUT),
        "tm/mv": CURIOUS_MV.format(real=CHECKOUT),
        "tm/postmigrate": FORGETFUL,
        "tm/snap_create_live": AS_IF_STOPPED.format(real=CHECKOUT),
        "tm/cpds": OF_NOW.format(real=CHECKOUT),
        "datastore/snap_flatten": KEEPS_SNAPSHOTS.format(real=CHECKOUT),
        "datastore/rm": FORGETFUL,
    }
    lab = tmp_path / "lab"
    lab.mkdir()
    code, out = run(lab, "--drivers", str(drivers(tmp_path / "drivers", spoiled)))
    assert code == 1
    wrong = re.findall("FAILED  (.*)", out)
    wrong_bytes, asked, two_writers, *kept, volumes, directories = wrong[:9]
    assert wrong_bytes.startswith("the guest reads the bytes of the image")
    assert asked == "nothing was asked of dave"
    assert two_writers.startswith("only dave can open the VM's disks for writing (")
    assert kept[0].startswith("the guest was frozen meanwhile")
    assert kept[1].startswith("the disk has 32 MiB, and what the guest had in its memory")
    assert kept[2].startswith("it holds all that the disk had then")
    assert kept[3].startswith("no snapshot is left (")
    assert volumes.startswith("nothing left in LINSTOR: no resource definition (OpenNebula-Image-0, ")
    assert directories.startswith("nothing left on the hosts: no link, no directory of a VM (")
    # Loop devices stay with the volumes, where the lab has some.
    assert re.match(r"(9|10) of \d+ checks FAILED", out.splitlines()[-1])


def test_missing_executables_end_the_story(tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    lab.mkdir()
    code, out = run(lab, "--drivers", str(tmp_path / "nowhere"))
    assert code == 1
    assert "FAILED  the story goes on" in out
    assert "No such file or directory" in out


def test_interrupt_takes_everything_down(tmp_path: Path) -> None:
    """As at a terminal, where Ctrl-C reaches all processes of the job."""
    process = demo(tmp_path)
    assert process.stdout is not None
    for line in process.stdout:
        if "onevm deploy 1" in line:
            break
    for number in (signal.SIGINT, signal.SIGINT):
        os.killpg(process.pid, number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "")
    assert "Interrupted" in out
    assert list(tmp_path.iterdir()) == []
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
