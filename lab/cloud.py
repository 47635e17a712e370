# SPDX-License-Identifier: Apache-2.0
"""A cloud in a box: LINSTOR controller, hosts and OpenNebula, started together.

    with Cloud() as cloud:
        image = cloud.one.image_create("os", path=cloud.images_dir / "os.img")
        vm = cloud.one.vm_instantiate([image], host="alice")

Hosts and nodes are alice, bob, charlie (pool "thin") and dave (diskless only); the front-end is none of them.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from lab.controller import ControllerServer, standard_cluster
from lab.hosts import Guest, Hosts
from lab.one import Call, Oned
from lab.one.captures import CapturedCall, Replayer
from lab.one.install import CHECKOUT

HOSTS = ("alice", "bob", "charlie", "dave")
FRONT_END = "frontend"


class Cloud:
    """Starts on `__enter__` (or `start`), stops on `__exit__` (or `stop`).

    `root` holds all state; without it a temporary directory that `stop` removes. `drivers` is the directory
    with the executables in ``datastore/`` and ``tm/``. Further keywords go to `standard_cluster`.

    Datastores: 100 images (resource group "one"), 101 system ("one"), 102 system ("one-three"),
    103 system with OpenNebula's ssh driver, 104 images ("one-three"), 105 system with OpenNebula's shared driver,
    whose directory is one for all hosts and the front-end.
    """

    def __init__(
        self,
        root: Path | None = None,
        *,
        one_version: str = "7.4.0",
        rest_version: str = "1.28.0",
        provider: str = "LVM_THIN",
        drivers: Path = CHECKOUT,
        **cluster_options: Any,
    ) -> None:
        self._own_root = root is None
        self.root = Path(tempfile.mkdtemp(prefix="lab-")) if root is None else root
        self._one_version = one_version
        self._drivers = drivers
        self._cluster_options = {"rest_version": rest_version, "provider": provider, **cluster_options}
        self.images_dir = self.root / "images"

    def start(self) -> Cloud:
        """Start all parts; on a failure those that run already are stopped again."""
        self.images_dir.mkdir(parents=True, exist_ok=True)
        location = self.root / "one"
        datastores = str(location / "var" / "datastores")
        self.hosts = Hosts(self.root, HOSTS, datastores, FRONT_END, shared=("105",))
        try:
            self.cluster = standard_cluster(self.hosts.devices, **self._cluster_options)
            self.controller = ControllerServer(self.cluster)
            self.controller.start()
            self.one = Oned(
                location,
                _Reachable(self.hosts),
                hosts=HOSTS,
                version=self._one_version,
                drivers=self._drivers,
                front_end=FRONT_END,
                first_in_path=[self.hosts.bin_dir],
                environment=self.hosts.environment(),
            )
            self._add_datastores()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop everything; guests are powered off, devices and mounts released."""
        for name, end in (("one", "close"), ("controller", "stop"), ("hosts", "close")):
            part = self.__dict__.pop(name, None)
            if part is not None:
                getattr(part, end)()
        if self._own_root:
            shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self) -> Cloud:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def controllers(self) -> str:
        """LINSTOR_CONTROLLERS of the datastores: host and port."""
        return urlsplit(self.controller.url).netloc

    def env(self) -> dict[str, str]:
        """What a driver finds in its environment: export it to run drivers by hand."""
        return dict(self.one.executor.environment)

    def call(
        self, executable: str, *args: object, stdin: str = "", extra: Mapping[str, str] | None = None
    ) -> Call:
        """Run a driver executable such as ``tm/clone`` or ``datastore/cp`` with the given arguments."""
        kind, action = executable.split("/")
        path = self.one.tree.remotes / kind / "linstor" / action
        return self.one.executor.run(path, [str(one) for one in args], stdin, extra)

    def replay(self, call: CapturedCall) -> Call:
        """Run a captured call: host0 to host2 are alice, bob and charlie, /srv/images is `images_dir`.

        Both LINSTOR datastores of the capture get the lab's controller and the resource group "one".
        """
        replayer = Replayer(
            self.one,
            dict(zip(("host0", "host1", "host2"), HOSTS)),
            {"/srv/images": str(self.images_dir)},
            {
                "LINSTOR_CONTROLLERS": self.controllers,
                "LINSTOR_RESOURCE_GROUP": "one",
                "BRIDGE_LIST": " ".join(HOSTS[:2]),
            },
        )
        return replayer.replay(call)

    def _add_datastores(self) -> None:
        def linstor(group: str) -> dict[str, str]:
            names = {"LINSTOR_CONTROLLERS": self.controllers, "LINSTOR_RESOURCE_GROUP": group}
            return {**names, "DISK_TYPE": "BLOCK"}

        safe = {"SAFE_DIRS": f"{self.images_dir} /var/tmp"}
        add = self.one.add_datastore
        add(100, "linstor images", TYPE="IMAGE_DS", **linstor("one"), **safe)
        add(101, "linstor system", TYPE="SYSTEM_DS", **linstor("one"))
        add(102, "linstor system three", TYPE="SYSTEM_DS", **linstor("one-three"))
        add(103, "ssh system", TYPE="SYSTEM_DS", TM_MAD="ssh")
        add(104, "linstor images three", TYPE="IMAGE_DS", **linstor("one-three"), **safe)
        add(105, "shared system", TYPE="SYSTEM_DS", TM_MAD="shared")


class _Reachable:
    """Hosts as the hypervisor driver meets them: those whose link is not up can not be reached."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self.domains = hosts.domains

    def run(self, name: str, script: str) -> subprocess.CompletedProcess[str]:
        if not self._is_up(name):
            return subprocess.CompletedProcess([], 255, "", f"{name} does not answer")
        # The words of a command are limited to 128 KiB, its standard input is not.
        return self._hosts.run(name, 'eval "$(cat)"', stdin=script.encode())

    def open_disk(self, name: str, path: str, *, write: bool) -> Guest:
        if not self._is_up(name):
            raise ConnectionError(f"{name} does not answer")
        return self._hosts.open_disk(name, path, write=write)

    def _is_up(self, name: str) -> bool:
        link = self._hosts.layout.link(name)
        return not link.exists() or link.read_text() == "up"
