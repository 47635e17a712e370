# SPDX-License-Identifier: Apache-2.0
"""What the hosts run for the directories of VMs, by the shell that runs it there."""

from __future__ import annotations

import os
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from linstor_helper import host_commands

MIB = 1 << 20


def packing(directory: Path) -> subprocess.Popen[bytes]:
    """It waits when the pipe is full: what the test does before it reads on happens in the middle."""
    script = host_commands.pack(str(directory), "probe").render()
    process = subprocess.Popen(
        ["bash", "-s"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin
    process.stdin.write(script)
    process.stdin.close()
    return process


@pytest.mark.parametrize("change", ["grows", "goes"])
def test_a_file_changes_while_it_is_packed(tmp_path: Path, change: str) -> None:
    """The VM runs, and writes its log; what is there is packed all the same."""
    (tmp_path / "log").write_bytes(b"x" * MIB)
    with packing(tmp_path) as process:
        assert process.stdout
        assert process.stderr
        begun = process.stdout.read(len(host_commands.PACKED) + 10_000)
        assert begun.startswith(host_commands.PACKED.encode())
        with open(tmp_path / "log", "ab") as log:
            if change == "grows":
                log.write(b"more")
            else:
                log.truncate(0)
        archive = begun[len(host_commands.PACKED) :] + process.stdout.read()
        complaints = process.stderr.read().decode()
    assert process.returncode == 0, complaints
    assert "file changed as we read it" in complaints or "shrank" in complaints
    with tarfile.open(fileobj=BytesIO(archive)) as packed:
        assert packed.getmember("./log").size == MIB


def test_an_archive_that_is_not_whole_is_a_failure(tmp_path: Path) -> None:
    """Any other status of tar: the target must not be taken for complete."""
    tar = tmp_path / "bin" / "tar"
    tar.parent.mkdir()
    tar.write_text("#!/bin/sh\necho 'tar: ./log: Read error' >&2\nexit 2\n")
    tar.chmod(0o755)
    script = host_commands.pack(str(tmp_path), "probe").render()
    path = f"{tar.parent}:{os.environ['PATH']}"
    done = subprocess.run(["bash", "-s"], input=script, capture_output=True, env={"PATH": path}, check=False)
    assert done.returncode != 0
    assert done.stderr == b"tar: ./log: Read error\n"
