# SPDX-License-Identifier: Apache-2.0
"""What ``python3 -m lab`` and the lab's document offer to paste does what it is said to do."""

from __future__ import annotations

import re
import subprocess
import sys
from textwrap import dedent

import pytest

from lab.__main__ import driver_calls, sample_images
from lab.cloud import Cloud
from lab.one.install import CHECKOUT


@pytest.mark.parametrize("version", ["5.12.0", "7.4.0"])
def test_lines_can_be_pasted(version: str) -> None:
    with Cloud(one_version=version) as cloud:
        _, packed = sample_images(cloud.images_dir)
        places = []
        for line in driver_calls(cloud, packed):
            done = subprocess.run(
                ["bash", "-c", line],
                cwd=cloud.one.tree.var,
                env=cloud.env(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, (line, done.stderr)
            if line.startswith("ssh"):
                places.append((line.split()[1], done.stdout.count(" -> /dev/drbd/by-res/")))
        assert places == [("alice", 2), ("dave", 2)]
        assert not cloud.cluster.rds
        tops = [cloud.hosts.layout.host_datastores(host) for host in cloud.hosts.names]
        assert not [path for top in tops for path in top.glob("*/*")]


def test_the_documents_example_runs() -> None:
    text = (CHECKOUT / "docs" / "lab.md").read_text()
    blocks = re.findall(r"(?:(?: {4}.*)?\n)+", text)
    (example,) = (dedent(block) for block in blocks if "with Cloud" in block)
    promised = re.findall(r"print\(.*  # (.*)", example)
    done = subprocess.run([sys.executable, "-c", example], cwd=CHECKOUT, capture_output=True, text=True)
    assert (done.stdout.splitlines(), done.stderr) == (promised, "")
    assert promised
