# SPDX-License-Identifier: Apache-2.0
"""From executables and records of the lab to one sample for each driver call."""

from __future__ import annotations

import shlex
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from lab.cloud import FRONT_END, Cloud
from lab.counting import Cost, Meter
from lab.one import Call

LAUNCHER = Path(__file__).resolve().with_name("launcher.py")
SSH_LOOKS = 5


class ActionFailed(Exception):
    """A driver call failed; the text is its standard error."""


@dataclass(frozen=True)
class Sample:
    """One driver call. ``waiting``: seconds in which the controller or a host worked for it."""

    wall: float
    waiting: float
    requests: int
    received: int
    peak_kib: int


def launched_drivers(directory: Path, drivers: Path, records: Path) -> Path:
    """Make a directory of drivers in which each executable starts that of ``drivers`` by the launcher.

    Raises OSError when there are none.
    """
    for kind in ("datastore", "tm"):
        (directory / kind).mkdir(parents=True)
        for real in sorted((drivers / kind).iterdir()):
            command = shlex.join([sys.executable, "-IS", str(LAUNCHER), str(records), str(real)])
            script = directory / kind / real.name
            script.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
            script.chmod(0o755)
    return directory


def launch(records: Path, command: list[str], environment: dict[str, str]) -> tuple[float, int]:
    """Run a program by the launcher: its seconds and peak KiB. Raises CalledProcessError."""
    subprocess.run(
        [sys.executable, "-IS", str(LAUNCHER), str(records), *command],
        env=environment,
        stdin=subprocess.DEVNULL,
        check=True,
    )
    return last_record(records)


def last_record(records: Path) -> tuple[float, int]:
    """Seconds and peak KiB of the program that ended last."""
    seconds, peak = records.read_text().splitlines()[-1].split()
    return float(seconds), int(peak)


def ssh_start_seconds(cloud: Cloud) -> float:
    """How long the lab's ssh client takes to start, which its record leaves out."""
    command = [str(cloud.hosts.bin_dir / "ssh"), cloud.hosts.names[0], "true"]
    found = []
    for _ in range(SSH_LOOKS):
        began = time.monotonic()
        subprocess.run(command, env=cloud.env(), stdin=subprocess.DEVNULL, check=True)
        wall = time.monotonic() - began
        found.append(wall - float(cloud.hosts.calls[-1]["seconds"]))
    return statistics.median(found)


class Samples:
    """Gathers a sample of every call of the cloud's LINSTOR driver, by action."""

    def __init__(self, cloud: Cloud, records: Path) -> None:
        self._ssh_start = ssh_start_seconds(cloud)
        self._records = records
        self._meter = Meter(cloud)
        self.by_action: dict[str, list[Sample]] = defaultdict(list)
        cloud.one.executor.watchers.append(self._ended)

    def _ended(self, call: Call) -> None:
        """Raises ActionFailed."""
        if not call.ok:
            raise ActionFailed(f"{call.name}: {call.stderr.strip()}")
        if "/linstor/" not in call.name:
            return
        _, cost = self._meter.taken[-1]
        wall, peak = last_record(self._records)
        self.by_action[action_of(call)].append(
            Sample(wall, self._waiting(cost), cost.requests, cost.received, peak)
        )

    def _waiting(self, cost: Cost) -> float:
        return cost.controller_seconds + cost.ssh_seconds + cost.ssh * self._ssh_start


def action_of(call: Call) -> str:
    """``tm/clone``; where a disk moves, and that it is the VM's directory, makes another action of it."""
    name = call.name.replace("/linstor/", "/")
    if name not in ("tm/mv", "tm/delete"):
        return name
    if "/disk." not in call.argv[0]:
        return f"{name} (directory)"
    return name if name == "tm/delete" else f"{name} ({_direction(*call.argv[:2])})"


def _direction(source: str, target: str) -> str:
    """What OpenNebula does when it moves a disk from one place to the other."""
    if target.startswith(f"{FRONT_END}:"):
        return "stop"
    return "deploy" if source.startswith(f"{FRONT_END}:") else "cold"
