# SPDX-License-Identifier: Apache-2.0
"""The machines of the lab."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab.hosts import loops, processes, rewrite, tools
from lab.hosts.devices import HostDevices
from lab.hosts.domains import Domains
from lab.hosts.faults import FaultPlan
from lab.hosts.guest import Guest
from lab.hosts.layout import PROGRAMS, Layout
from lab.hosts.libvirt import Libvirt
from lab.hosts.namespaces import Namespaces, NamespaceUnavailable
from lab.hosts.session import SYSTEM_PATH, Session, environment


class Hosts:
    """Hosts with devices, a home and datastores of their own, reached by the lab's ``ssh``; and their
    front-end.

    root:
        directory of the lab's state; contents of volumes stay there after ``close``.
    datastores:
        absolute path at which every host sees its own datastores; on the front-end it is what it is.
    shared:
        names of directories in ``datastores`` that are one for all hosts and the front-end, as over NFS. A
        symbolic link in them is followed by each host in its own /dev.
    ``mode`` and ``isolation`` are the strictest that the system permits, unless the environment variables
    LAB_DEVICES (``block``, ``file``) and LAB_ISOLATION (``namespace``, ``rewrite``) name one. Raises
    OSError when that is not possible, ValueError for another word.
    """

    def __init__(
        self,
        root: Path,
        names: Sequence[str],
        datastores: str,
        front_end: str = "frontend",
        *,
        shared: Sequence[str] = (),
    ) -> None:
        self.layout = Layout(Path(root).resolve(), Path(datastores), tuple(shared))
        self.names = tuple(names)
        self.front_end = front_end
        self.bin_dir = self.layout.bin
        self.faults = FaultPlan(self.layout.faults)
        self._guests: list[Guest] = []
        wanted_mode = _wanted("LAB_DEVICES", "block", "file")
        self._remove_leftovers()
        self._make_directories()
        self._namespaces = self._start_namespaces()
        self.isolation = "namespace" if self._namespaces else "rewrite"
        self.mode = self._choose_mode(wanted_mode)
        tools.install(self.layout, block=self.mode == "block")
        if self.isolation == "rewrite":
            rewrite.install(self.layout, self.names)
        self.devices = HostDevices(self.layout, block=self.mode == "block")
        self.domains = Domains()
        self._libvirt = Libvirt(self.domains)
        self._sessions = {name: self._make_session(name) for name in (*self.names, front_end)}
        for name, session in self._sessions.items():
            session.write(self.layout.session(name))

    def environment(self) -> dict[str, str]:
        """What programs of the lab need besides ``bin_dir`` at the head of their PATH."""
        return {"LAB_ROOT": str(self.layout.root)}

    def set_power(self, name: str, on: bool) -> None:
        """Off: every process on the host is dead, ssh gets no answer. Devices and files stay as they are."""
        self.set_link(name, "up" if on else "down")
        if not on:
            self.domains.end_all(name)
            processes.kill_all(self.layout.root, name)
            for guest in self._guests:
                if guest.host == name:
                    guest.close()

    def set_link(self, name: str, state: str) -> None:
        """``up``; ``down``: nothing passes, what runs goes on; ``refused``: nothing listens to ssh."""
        if state not in ("up", "down", "refused"):
            raise ValueError(f"no such state of a link: {state}")
        self._session(name)
        self.layout.link(name).write_text(state)

    def set_client_alive(self, name: str, seconds: float) -> None:
        """How long the host's sshd keeps the session of a client from which nothing comes (ClientAliveInterval);
        for ever, unless this is set."""
        self._session(name)
        self.layout.client_alive(name).write_text(str(seconds))

    def set_delay(self, name: str, seconds: float) -> None:
        """Time that passes before an ssh connection to the host is there."""
        self._session(name)
        self.layout.delay(name).write_text(str(seconds))

    def path(self, name: str, absolute: str | os.PathLike[str]) -> Path:
        """Where a file in the host's datastores, home or /dev stands for a process outside of the host."""
        path = Path(absolute)
        if name == self.front_end:
            return path
        self._session(name)
        for seen, real in (
            *((self.layout.datastores / one, self.layout.datastores / one) for one in self.layout.shared),
            (self.layout.datastores, self.layout.host_datastores(name)),
            (Path("/dev"), self.layout.dev(name)),
            (self.layout.home(name), self.layout.home(name)),
        ):
            if path == seen or seen in path.parents:
                return real / path.relative_to(seen)
        raise ValueError(f"{absolute} is not a path of the host's own")

    def readlink(self, name: str, absolute: str | os.PathLike[str]) -> str:
        """The text of a symbolic link on the host, as the host reads it."""
        text = os.readlink(self.path(name, absolute))
        return text if self._namespaces else rewrite.inside(self.layout, name, text)

    def run(
        self, name: str, script: str, *, stdin: bytes = b"", check: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run a bash script on the host, whatever its power and link; not recorded."""
        command = [*self._session(name).enter, "bash", "-c", f"cd; {script}"]
        done = subprocess.run(
            command, env=dict(self._session(name).environment), input=stdin, capture_output=True, check=check
        )
        return subprocess.CompletedProcess(
            command,
            done.returncode,
            *(text.decode("utf-8", "surrogateescape") for text in (done.stdout, done.stderr)),
        )

    def open_disk(self, name: str, path: str, *, write: bool = True) -> Guest:
        """Hold a disk open as a virtual machine does. Raises OSError or DeviceBusy when that is refused."""
        dead = [known for known in self._guests if not known.alive]
        self._guests = [known for known in self._guests if known not in dead]
        for known in dead:
            known.close()
        opened = path if self._namespaces else rewrite.outside(self.layout, name, path)
        guest = Guest(self._session(name), self.devices, opened, write=write)
        self._guests.append(guest)
        return guest

    def frozen_domains(self) -> set[str]:
        """Names of the domains whose guests wait for a thaw."""
        return self.domains.frozen()

    @property
    def calls(self) -> list[dict[str, Any]]:
        """Every ssh call that ended, in that order.

        Keys: host, argv, stdin and stdout (numbers of bytes), rc (None: no answer), seconds, fault.
        """
        if not self.layout.calls.exists():
            return []
        return [json.loads(line) for line in self.layout.calls.read_text().splitlines()]

    def close(self) -> None:
        """End all processes on hosts, take devices and mounts away. May be called again."""
        self.domains.close()
        self._libvirt.close()
        for name in self.names:
            # A client whose caller was killed would wait for the network for ever.
            self.layout.link(name).unlink(missing_ok=True)
        processes.kill_all(self.layout.root)
        for guest in self._guests:
            guest.close()
        self.devices.close()
        if self._namespaces:
            self._namespaces.close()

    def __enter__(self) -> Hosts:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _session(self, name: str) -> Session:
        """Raises ValueError for an unknown host."""
        if name not in self._sessions:
            raise ValueError(f"there is no host {name}")
        return self._sessions[name]

    def _make_session(self, name: str) -> Session:
        home = self.layout.home(name)
        if name == self.front_end:
            return Session([], environment(name, self.layout.root, home, f"{self.bin_dir}:{SYSTEM_PATH}"))
        path = rewrite.real_path(self.layout)
        variables = environment(name, self.layout.root, home, path)
        variables["LAB_LIBVIRT"] = self._libvirt.address
        if self.mode == "file":
            variables.update(BASH_ENV=str(PROGRAMS / "host_env.bash"), LAB_REAL_PATH=path)
        if self._namespaces:
            return Session(self._namespaces.enter(name), variables)
        variables.update(rewrite.environment(self.layout, name))
        return Session(rewrite.enter(self.layout, name), variables)

    def _remove_leftovers(self) -> None:
        """What a lab that was killed left behind."""
        processes.kill_all(self.layout.root)
        loops.detach_all(self.layout.contents)
        for path in (self.layout.contents, self.layout.root / "hosts", self.layout.calls, self.layout.faults):
            tools.remove(path)

    def _make_directories(self) -> None:
        for directory in (self.layout.datastores, *map(self.layout.datastores.joinpath, self.layout.shared)):
            directory.mkdir(parents=True, exist_ok=True)
        self.layout.home(self.front_end).mkdir(parents=True)
        for directory in (self.layout.bin, self.layout.host_bin):
            directory.mkdir(exist_ok=True)
        for name in self.names:
            for directory in (
                self.layout.dev(name),
                self.layout.host_datastores(name),
                self.layout.home(name),
            ):
                directory.mkdir(parents=True)

    def _start_namespaces(self) -> Namespaces | None:
        wanted = _wanted("LAB_ISOLATION", "namespace", "rewrite")
        if wanted == "rewrite":
            return None
        try:
            return Namespaces(self.layout, self.names)
        except NamespaceUnavailable as error:
            if wanted == "namespace":
                raise OSError(f"mount namespaces are asked for, but: {error}") from error
            return None

    def _choose_mode(self, wanted: str | None) -> str:
        if wanted == "file":
            return "file"
        if self._namespaces and self._namespaces.privileged and loops.available():
            return "block"
        if wanted == "block":
            if self._namespaces:
                self._namespaces.close()
            raise OSError(
                "block devices are asked for, but loop devices or root's mount namespaces are not available"
            )
        return "file"


def _wanted(variable: str, *choices: str) -> str | None:
    word = os.environ.get(variable)
    if word and word not in choices:
        raise ValueError(f"{variable}={word}: it can be {' or '.join(choices)}")
    return word
