# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.hosts import Hosts, loops
from lab.hosts.layout import Layout
from lab.hosts.namespaces import Namespaces, NamespaceUnavailable


def _namespaces_work(tmp_path: Path) -> bool:
    layout = Layout(tmp_path / "probe", tmp_path / "probe" / "datastores")
    for directory in (layout.dev("a"), layout.home("a"), layout.host_datastores("a"), layout.host_bin):
        directory.mkdir(parents=True)
    try:
        Namespaces(layout, ["a"]).close()
    except NamespaceUnavailable:
        return False
    return True


class Ssh:
    """Calls the lab's ssh as a driver does."""

    def __init__(self, hosts: Hosts) -> None:
        self.environment = {
            **os.environ,
            **hosts.environment(),
            "PATH": f"{hosts.bin_dir}:{os.environ['PATH']}",
        }

    def __call__(
        self, *words: str, stdin: bytes = b"", timeout: float = 20
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["ssh", *words],
            env=self.environment,
            input=stdin,
            capture_output=True,
            timeout=timeout,
            check=False,
        )

    def script(self, host: str, text: str) -> subprocess.CompletedProcess[bytes]:
        return self("-o", "BatchMode=yes", host, "bash", "-s", stdin=text.encode())


def _build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, devices: str, isolation: str) -> Hosts:
    if isolation == "namespace" and not _namespaces_work(tmp_path):
        pytest.skip("mount namespaces are not permitted here")
    if devices == "block" and not loops.available():
        pytest.skip("loop devices are not permitted here")
    monkeypatch.setenv("LAB_DEVICES", devices)
    monkeypatch.setenv("LAB_ISOLATION", isolation)
    root = tmp_path / "lab"
    datastores = str(root / "one" / "var" / "datastores")
    return Hosts(root, ["alice", "bob", "charlie"], datastores, shared=["105"])


@pytest.fixture(params=["block-namespace", "file-namespace", "file-rewrite"])
def hosts(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosts]:
    """Hosts in every kind that the machine permits."""
    with _build(tmp_path, monkeypatch, *request.param.split("-")) as made:
        yield made


@pytest.fixture
def best_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosts]:
    """Hosts of the kind that the lab chooses, for what does not depend on the kind."""
    monkeypatch.delenv("LAB_DEVICES", raising=False)
    monkeypatch.delenv("LAB_ISOLATION", raising=False)
    root = tmp_path / "lab"
    with Hosts(root, ["alice", "bob"], str(root / "one" / "var" / "datastores")) as made:
        yield made


@pytest.fixture
def ssh(hosts: Hosts) -> Ssh:
    return Ssh(hosts)


@pytest.fixture
def best_ssh(best_hosts: Hosts) -> Ssh:
    return Ssh(best_hosts)
